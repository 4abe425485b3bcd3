package edge

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// An exchange is one scrape on its way through the edge. Its one goroutine owns
// all of it.
type exchange struct {
	edge    *Edge
	w       http.ResponseWriter
	r       *http.Request
	mode    mode
	refused *wire.Error // by what the request is; nil: it is a scrape
	start   time.Time

	scrape wire.Scrape
	shown  credential
	asked  bool   // the scraper was
	route  string // where the answer came from, as far as it got
	status int    // of the target
	sent   bool   // the header is out: a failure can only be shown by breaking off
}

// writeGrace is how long after the scraper's own timeout an exchange may still
// be writing: enough for a reason on a busy machine.
const writeGrace = time.Second

// serve sees the exchange through, whatever happens in it. ctx has the scrape's
// deadline.
func (x *exchange) serve(ctx context.Context) {
	m := x.edge.metrics
	m.inflight.Inc()
	defer m.inflight.Dec()

	failure := x.guarded(ctx)
	x.record(failure)
	switch {
	case failure == nil:
	case x.sent:
		abort(x.w, x.r)
	default:
		fail(x.w, x.mode, failure)
	}
}

// guarded runs the exchange, and takes a panic in it for a bug of ours.
func (x *exchange) guarded(ctx context.Context) (failure *wire.Error) {
	defer func() {
		if p := recover(); p != nil {
			failure = x.edge.bug(p)
		}
	}()
	return x.run(ctx)
}

func (x *exchange) run(ctx context.Context) *wire.Error {
	e := x.edge
	if err := x.prepare(ctx); err != nil {
		return err
	}
	x.asked = true
	answer, err := e.Scraper.Scrape(ctx, &x.scrape)
	if answer != nil {
		x.route = cmp.Or(answer.Route, routeNone)
		if x.scrape.Proxy() {
			x.scrape.Agent, x.scrape.Target = answer.Agent, answer.Target
		}
	}
	if err != nil {
		return failureOf(ctx, err)
	}
	defer answer.Body.Close()
	x.status = answer.Status
	failure := x.deliver(ctx, answer)
	if failure == nil && answer.AgentTook != nil {
		e.metrics.own.Observe(max(time.Since(x.start)-answer.AgentTook(), 0).Seconds())
	}
	return failure
}

// prepare makes the request a wire.Scrape, or says why not.
func (x *exchange) prepare(ctx context.Context) *wire.Error {
	e, r := x.edge, x.r
	if x.refused != nil {
		return x.refused
	}
	if e.Scraper.Refusing() {
		return wire.Errorf(wire.Draining, "this replica is about to exit")
	}
	if err := checkMethod(r); err != nil {
		return err
	}
	who, err := e.admit(x.r, tokensOf(r.Header, x.mode)...)
	x.shown = who.shown
	if err != nil {
		return err
	}
	e.warnOfRepeats(r)
	x.scrape.Tenant, x.scrape.Allow = who.tenant, who.allow
	if r.ContentLength != 0 { // also -1, chunked
		return wire.Errorf(wire.BadRequest, "a scrape has no body")
	}
	if e.ours(r.RequestURI) { // the target gets path and query as they came
		return wire.Errorf(wire.BadRequest, "the URL holds a token of this relay, which the target would get: send it in Authorization, or in proxy mode in Proxy-Authorization")
	}
	if err := e.aim(&x.scrape, r, x.mode); err != nil {
		return err
	}
	if x.mode == pathMode && !who.allows(x.scrape.Agent) {
		return wire.UnknownAgent(x.scrape.Agent)
	}
	deadline, _ := ctx.Deadline()
	x.scrape.Header, err = e.targetHeader(r.Header, x.mode, time.Until(deadline))
	return err
}

func checkMethod(r *http.Request) *wire.Error {
	switch r.Method {
	case http.MethodGet:
		return nil
	case http.MethodConnect:
		return wire.Errorf(wire.Method, "CONNECT is not served: give Prometheus an http:// target (scheme: http), or use path mode; "+
			"the agent asks the target by the scheme it was declared with, https included")
	}
	return wire.Errorf(wire.Method, "a scrape is a GET")
}

// failureOf gives an error of the scraper its reason.
func failureOf(ctx context.Context, err error) *wire.Error {
	if failure, ok := errors.AsType[*wire.Error](err); ok {
		return failure
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) || ctx.Err() == context.DeadlineExceeded:
		return wire.Errorf(wire.Deadline, "no answer in time")
	case ctx.Err() != nil:
		return wire.Errorf(wire.Canceled, "the scraper went away")
	}
	return wire.Errorf(wire.Internal, "%v", err)
}

// reason is what a scrape ended with.
func (x *exchange) reason(failure *wire.Error) wire.Reason {
	switch {
	case failure != nil:
		return failure.Reason
	case x.status >= 400:
		return wire.TargetStatus
	}
	return wire.OK
}

// likeness says which failures are like the exchange's.
func (x *exchange) likeness(reason wire.Reason) quietKey {
	s := &x.scrape
	key := quietKey{wire.AgentKey{Tenant: s.Tenant, Agent: s.Agent}, s.Host, reason}
	if reason == wire.AgentUnknown && s.Agent != "" { // a name that the scraper chose
		key.Agent, key.of = "", s.Agent
	}
	if s.Tenant == "" {
		return x.shown.refused(s.Host, reason)
	}
	return key
}

// record counts the exchange and logs it: each at debug, and failures at warn,
// where those of one agent and reason stay within one a minute.
func (x *exchange) record(failure *wire.Error) {
	e, s := x.edge, &x.scrape
	took := time.Since(x.start)
	reason := x.reason(failure)
	e.metrics.done(x.route, reason, x.asked, took)

	level := slog.LevelDebug
	var held int
	if reason != wire.OK && reason != wire.Canceled {
		var show bool
		if held, show = e.dueToLog(x.likeness(reason), x.start); show {
			level = slog.LevelWarn
		}
	}
	if !e.Logger.Enabled(x.r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("tenant", s.Tenant), slog.String("agent", s.Agent), slog.String("target", s.Target),
		slog.String("reason", reason.String()), slog.String("route", x.route), slog.Duration("duration", took),
		slog.String("remote_addr", x.edge.client(x.r)),
	}
	attrs = append(attrs, x.shown.attrs()...)
	if s.Proxy() {
		attrs = append(attrs, slog.String("host", s.Host))
	}
	if x.status != 0 {
		attrs = append(attrs, slog.Int("status", x.status))
	}
	if failure != nil && failure.Detail != "" {
		attrs = append(attrs, slog.String("detail", failure.Detail))
	}
	if held > 0 {
		attrs = append(attrs, slog.Int("like_it_before", held))
	}
	e.Logger.LogAttrs(x.r.Context(), level, "scrape", attrs...)
}

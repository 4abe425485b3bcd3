package agent

import (
	"context"
	"log/slog"
	"net/url"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// request takes a REQUEST off the link: from here on exactly one END or NACK is
// owed for it.
func (l *link) request(life context.Context, f wire.Frame) {
	s := &scrape{
		key: f.Key(), came: time.Now(), out: l.out,
		taken: make(chan struct{}, 1), buffers: &l.agent.pieces,
	}
	q, err := wire.ParseRequest(f.Payload)
	if err != nil {
		s.nack(wire.Errorf(wire.BadRequest, "%v", err), false)
		return
	}
	s.credit.left = int64(q.Credit)
	ctx, cancel := context.WithTimeout(life, q.Remaining)
	s.cancel = cancel
	if !l.add(s) {
		cancel()
		s.nack(wire.Errorf(wire.BadRequest, "scrape %s runs already", s.key.Scrape), false)
		return
	}
	l.scraping.Add(1)
	l.agent.workers.run(func() {
		defer l.scraping.Done()
		defer l.remove(s)
		defer cancel()
		l.serve(ctx, s, q)
	})
}

// serve answers one scrape.
func (l *link) serve(ctx context.Context, s *scrape, q *wire.Request) {
	ack := time.AfterFunc(wire.AckAfter, s.stillHere)
	defer ack.Stop()

	t, address, failure := l.agent.resolve(q)
	if failure != nil {
		l.told(s, q, t, failure)
		s.nack(failure, l.agent.config.Shared)
		return
	}
	if !l.agent.limiter.tryAcquire(t) {
		patience, stop := context.WithTimeout(ctx, q.Remaining/2)
		failure = l.agent.limiter.acquire(patience, t)
		stop()
	}
	switch {
	case failure != nil && ctx.Err() != nil:
		failure = over(ctx)
		s.fail(failure)
	case failure != nil:
		s.nack(failure, l.agent.config.Shared)
	default:
		failure = l.ask(ctx, s, t, address, q.Header, ack)
		l.agent.limiter.release(t)
	}
	l.told(s, q, t, failure)
}

// ask asks the target and passes its answer on. What it returns has been said,
// but for a status of the target's own, which is an answer like any other.
func (l *link) ask(ctx context.Context, s *scrape, t *target, address *url.URL, header []wire.Field, ack *time.Timer) *wire.Error {
	start := time.Now()
	defer func() { l.agent.metrics.fetchDuration.Observe(time.Since(start).Seconds()) }()
	r, failure := t.fetch(ctx, address, header)
	if failure != nil {
		s.fail(failure)
		return failure
	}
	defer r.Body.Close()
	head, failure := answerHead(r)
	if failure == nil {
		s.begin(&head)
		ack.Reset(wire.AckAfter) // HEAD waits no longer than that for the body
		failure = s.pump(ctx, r.Body)
	}
	switch {
	case failure != nil:
		s.fail(failure)
		return failure
	case head.Status > 299:
		return wire.Errorf(wire.TargetStatus, "status %d", head.Status)
	}
	return nil
}

// resolve finds the target that q means and the URL to ask, which that target's
// declaration must cover.
func (a *Agent) resolve(q *wire.Request) (*target, *url.URL, *wire.Error) {
	if q.Agent != a.name {
		return nil, nil, wire.Errorf(wire.AgentUnknown, "this is agent %s", a.name)
	}
	t := a.catalog.get().find(q.Target)
	if t == nil {
		return nil, nil, wire.Errorf(wire.TargetNotDeclared, "agent %s declares no target %s", a.name, printable(q.Target))
	}
	address, failure := t.address(q.Rest, q.Query)
	return t, address, failure
}

// told counts and logs how a scrape goes. Target names come from declarations
// only: what a request calls one is no metric label.
func (l *link) told(s *scrape, q *wire.Request, t *target, failure *wire.Error) {
	name, reason, detail := "", wire.OK, ""
	if t != nil {
		name = t.Name
	}
	if failure != nil {
		reason, detail = failure.Reason, failure.Detail
	}
	l.agent.metrics.scrapes.WithLabelValues(name, reason.String()).Inc()
	if log := l.logger(); log.Enabled(context.Background(), slog.LevelDebug) { // its arguments cost more than asking
		log.Debug("scrape done", "scrape", s.key.Scrape, "target", printable(q.Target), "reason", reason, "detail", detail)
	}
}

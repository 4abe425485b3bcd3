package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/loglimit"
	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A refusal answers an upgrade that is not granted.
type refusal struct {
	status int
	reason wire.Reason
	within time.Duration // come back within; 0: no sooner than the agent's own backoff
	text   string
	cause  token.Cause // for which the credential was not taken, if that is why
}

// unauthorized refuses a credential for that error, and forbidden one that is good, but
// not for this agent or not from there.
func unauthorized(err error, text string) *refusal {
	return &refusal{http.StatusUnauthorized, wire.Unauthorized, 0, text, token.CauseOf(err)}
}

func forbidden(err error, text string) *refusal {
	return &refusal{http.StatusForbidden, wire.Forbidden, 0, text, token.CauseOf(err)}
}

// Connect takes an agent's upgrade request and, unless it refuses, turns the
// connection into a link. It returns as soon as the link's own goroutine has
// it, so that an idle link keeps none of the HTTP server's.
func (t *Links) Connect(w http.ResponseWriter, req *http.Request) {
	claims, cert, name, refused := t.admitAgent(req)
	key := wire.AgentKey{Tenant: claims.Tenant, Agent: name}
	var visit *visit
	if refused == nil {
		visit, refused = t.arrivals.enter(key, claims)
	}
	if refused != nil {
		t.refuse(w, req, claims, refused)
		return
	}
	hijacking := &hijacker{ResponseWriter: w, clock: t.clock}
	var l *Link
	unasked := func(context.Context, []byte) bool { l.unasked(); return true }
	conn, err := websocket.Accept(hijacking, req, &websocket.AcceptOptions{
		Subprotocols:       []string{wire.Subprotocol},
		InsecureSkipVerify: true,    // the token is what admits, not the Origin: no browser sends one by itself
		OnPingReceived:     unasked, // agents answer PING frames, and send no pings of the library's
		OnPongReceived:     func(ctx context.Context, payload []byte) { unasked(ctx, payload) },
	})
	if err != nil {
		visit.close()
		t.Lines.Of(share.Of(key)).Info("upgrade failed", "agent", name, "remote_addr", req.RemoteAddr, "err", err)
		return
	}
	conn.SetReadLimit(wire.MaxMessage)
	l = newLink(t, conn, hijacking.socket, visit, key, claims, cert, req.RemoteAddr)
	if !t.Go(l.run) {
		_ = conn.CloseNow()
		visit.close()
	}
}

// admitAgent decides from the request's head alone: nothing of an agent that
// is refused is read any further.
func (t *Links) admitAgent(req *http.Request) (c token.Claims, cert *certificate.Credential, name string, refused *refusal) {
	if t.Draining() {
		return c, nil, "", &refusal{http.StatusServiceUnavailable, wire.Draining, time.Second, "this replica is about to exit; another takes the link", token.None}
	}
	if c, cert, refused = t.identify(req); refused != nil {
		return c, nil, "", refused
	}
	if !c.AllowsFrom(req.RemoteAddr) {
		return c, nil, "", forbidden(token.ErrNetwork, fmt.Sprintf("the token is for agents in %s, and this one comes from %s: if that is a load balancer, put it into the relay's FARSCRAPE_TRUSTED_PROXIES", c.From, req.RemoteAddr))
	}
	name = strings.ToLower(req.Header.Get(wire.HeaderAgent))
	if err := wire.CheckAgentName(name); err != nil {
		return c, nil, "", &refusal{http.StatusBadRequest, wire.BadRequest, 0, err.Error(), token.None}
	}
	if t.OwnHosts.Has(name) {
		return c, nil, "", &refusal{http.StatusForbidden, wire.Forbidden, 0, fmt.Sprintf("%q is the relay's own name: no agent is called so", name), token.None}
	}
	if !c.AllowsAgent(name) {
		return c, nil, "", forbidden(token.ErrName, fmt.Sprintf("the token is for %q, and does not allow the name %q", c.Name, name))
	}
	if refused := t.refuseRevoked(c, cert, name); refused != nil {
		return c, nil, "", refused
	}
	held := strings.Split(req.Header.Get(wire.HeaderHeld), ",")
	if slices.Contains(held, string(t.Replica)) {
		return c, nil, "", &refusal{http.StatusConflict, wire.BadRequest, time.Second, "this replica holds a link of yours; dial again to meet another", token.None}
	}
	if !slices.Contains(subprotocols(req), wire.Subprotocol) {
		return c, nil, "", &refusal{http.StatusUpgradeRequired, wire.BadRequest, 0, "this relay speaks " + wire.Subprotocol + " only; update the older side", token.None}
	}
	return c, cert, name, nil
}

// byToken is what the token says that an agent shows.
func (t *Links) byToken(req *http.Request) (c token.Claims, refused *refusal) {
	text, ok := bearer(req)
	if !ok {
		return c, unauthorized(token.ErrNotShown, "no token: set FARSCRAPE_TOKEN or FARSCRAPE_TOKEN_FILE")
	}
	c, err := t.Keys.Verify(text, time.Now())
	switch {
	case errors.Is(err, token.ErrExpired):
		return c, unauthorized(err, fmt.Sprintf("the %v: mint another with farscrape-relay token", err))
	case err != nil:
		return c, unauthorized(err, notOurs(err))
	case c.Role != token.Agent:
		return c, forbidden(token.ErrRole, notAnAgents(c.Role))
	}
	return c, nil
}

// notAnAgents says what to do with a token of another role.
func notAnAgents(role token.Role) string {
	if role == token.Join {
		return "the token is one to join by: farscrape-agent join URL redeems it"
	}
	return "the token is a scraper's: mint one with -agent"
}

// notOurs says why a token is not taken.
func notOurs(err error) string {
	const is = "the token is not one of this relay's"
	if why := strings.TrimPrefix(err.Error(), token.ErrInvalid.Error()); why != "" {
		return is + why
	}
	return is + ": it is damaged or cut short; copy it whole"
}

// bearer is the token that a request shows, good or not.
func bearer(req *http.Request) (token string, ok bool) {
	token, ok = strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	return strings.TrimSpace(token), ok
}

// A shown is what a refused agent says of itself, for the log: behind a balancer all
// have one address. claims are of its token if that is, or was, good. Else nothing of it
// has been checked, and a name that is none is left out: it may be a secret.
type shown struct {
	req    *http.Request
	claims token.Claims
}

// LogValue reads the token once there is a line for it: whoever guesses causes few.
func (s shown) LogValue() slog.Value {
	name := strings.ToLower(s.req.Header.Get(wire.HeaderAgent))
	if wire.CheckAgentName(name) != nil {
		name = ""
	}
	id, key := s.claims.ID, s.claims.Key
	if id == "" {
		text, _ := bearer(s.req)
		id, key = token.Unchecked(text)
	}
	return slog.GroupValue(slog.String("agent", name), slog.String("token_id", id), slog.String("key", key), slog.Bool("token_checked", s.claims.ID != ""))
}

func subprotocols(req *http.Request) []string {
	var all []string
	for _, line := range req.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(p))
		}
	}
	return all
}

func (t *Links) refuse(w http.ResponseWriter, req *http.Request, c token.Claims, f *refusal) {
	t.metrics.refused.WithLabelValues(f.reason.String()).Inc()
	if f.cause != token.None {
		t.CountRefused(token.Agent, f.cause)
	}
	if f.reason == wire.Unauthorized {
		t.HoldRefused(req.Context(), req.RemoteAddr)
	}
	who := share.Member{Tenant: c.Tenant, Name: c.ID}
	if c.ID == "" {
		who = loglimit.Stranger(req.RemoteAddr)
	}
	level := slog.LevelInfo
	if f.within > 0 {
		level = slog.LevelDebug // in the order of things
	}
	t.recordRefusal(req, c, f)
	t.Lines.Of(who).Log(req.Context(), level, "agent refused", slog.Any("", shown{req, c}), "reason", f.reason, "detail", f.text, "remote_addr", req.RemoteAddr)
	h := w.Header()
	h.Set(wire.HeaderError, f.reason.String())
	if f.within > 0 {
		h.Set("Retry-After", fmt.Sprint(int((f.within+time.Second-1)/time.Second)))
	}
	if f.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="farscrape"`)
	}
	http.Error(w, f.text, f.status)
}

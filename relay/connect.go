package relay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

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
}

// Connect takes an agent's upgrade request and, unless it refuses, turns the
// connection into a link. It returns as soon as the link's own goroutine has
// it, so that an idle link keeps none of the HTTP server's.
func (r *Relay) Connect(w http.ResponseWriter, req *http.Request) {
	claims, name, refused := r.admitAgent(req)
	key := wire.AgentKey{Tenant: claims.Tenant, Agent: name}
	var visit *visit
	if refused == nil {
		visit, refused = r.arrivals.enter(key, claims)
	}
	if refused != nil {
		r.refuse(w, req, claims, refused)
		return
	}
	hijacking := &hijacker{ResponseWriter: w}
	var l *link
	unasked := func(context.Context, []byte) bool { l.unasked(); return true }
	conn, err := websocket.Accept(hijacking, req, &websocket.AcceptOptions{
		Subprotocols:       []string{wire.Subprotocol},
		InsecureSkipVerify: true,    // the token is what admits, not the Origin: no browser sends one by itself
		OnPingReceived:     unasked, // agents answer PING frames, and send no pings of the library's
		OnPongReceived:     func(ctx context.Context, payload []byte) { unasked(ctx, payload) },
	})
	if err != nil {
		visit.leave()
		r.lines.of(share.Of(key), r.Logger).Info("upgrade failed", "agent", name, "remote_addr", req.RemoteAddr, "err", err)
		return
	}
	conn.SetReadLimit(wire.MaxMessage)
	l = newLink(r, conn, hijacking.socket, visit, key, claims, req.RemoteAddr)
	runs := r.errand(func() {
		defer visit.leave()
		l.run()
	})
	if !runs {
		_ = conn.CloseNow()
		visit.leave()
	}
}

// A hijacker keeps the connection that is taken from an HTTP server, and gives
// the library smaller buffers than the server's, which are 4 KiB each: they are
// most of what an idle link costs. What does not fit passes them by.
type hijacker struct {
	http.ResponseWriter
	socket *agentConn
}

// What a link's buffers hold, in bytes: most answers' frames up to their body,
// and a few requests.
const (
	readAhead  = 2 << 10
	writeAhead = 1 << 10
)

// WriteHeader gives what the library refuses, an upgrade that is none, a reason.
func (h *hijacker) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		h.Header().Set(wire.HeaderError, wire.BadRequest.String())
	}
	h.ResponseWriter.WriteHeader(status)
}

// An agentConn bounds what its agent can do to a connection. Each write has
// PeerTimeout, or a second more: who has read nothing for so long is dead. And no
// more than maxUnheard is read without a message's end: what is neither its bytes
// nor, by far, its framing.
type agentConn struct {
	net.Conn
	unheard atomic.Int64 // bytes since the last message's end
	timed   time.Time    // when the deadline was set; the library writes one frame at a time
}

const maxUnheard = 2 * wire.MaxMessage

var errUnheard = errors.New("framing without messages")

func (c *agentConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.unheard.Add(int64(n)) > maxUnheard {
		return 0, errUnheard
	}
	return n, err
}

func (c *agentConn) Write(b []byte) (int, error) {
	if now := time.Now(); now.Sub(c.timed) > time.Second { // one serves all writes of a second
		if err := c.SetWriteDeadline(now.Add(wire.PeerTimeout + time.Second)); err != nil {
			return 0, err
		}
		c.timed = now
	}
	return c.Conn.Write(b)
}

// Hijack takes it.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.socket = &agentConn{Conn: conn}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what came with the request
	in := io.MultiReader(bytes.NewReader(bytes.Clone(early)), h.socket)
	buffered := bufio.NewReaderSize(in, max(readAhead, len(early)))
	_, _ = buffered.Peek(len(early))
	return h.socket, bufio.NewReadWriter(buffered, bufio.NewWriterSize(h.socket, writeAhead)), nil
}

// admitAgent decides from the request's head alone: nothing of an agent that
// is refused is read any further.
func (r *Relay) admitAgent(req *http.Request) (c token.Claims, name string, refused *refusal) {
	if r.Draining() {
		return c, "", &refusal{http.StatusServiceUnavailable, wire.Draining, time.Second, "this replica is about to exit; another takes the link"}
	}
	bearer, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return c, "", &refusal{http.StatusUnauthorized, wire.Unauthorized, 0, "no token: set FARSCRAPE_TOKEN or FARSCRAPE_TOKEN_FILE"}
	}
	c, err := r.Keys.Verify(strings.TrimSpace(bearer), time.Now())
	switch {
	case errors.Is(err, token.ErrExpired):
		return c, "", &refusal{http.StatusUnauthorized, wire.Unauthorized, 0, "the token has expired: mint another with farscrape-relay token"}
	case err != nil:
		return c, "", &refusal{http.StatusUnauthorized, wire.Unauthorized, 0, "the token is not one of this relay's"}
	case c.Role != token.Agent:
		return c, "", &refusal{http.StatusForbidden, wire.Forbidden, 0, "the token is a scraper's: mint one with -agent"}
	}
	name = strings.ToLower(req.Header.Get(wire.HeaderAgent))
	if err := wire.CheckAgentName(name); err != nil {
		return c, "", &refusal{http.StatusBadRequest, wire.BadRequest, 0, err.Error()}
	}
	if !c.AllowsAgent(name) || r.OwnHosts.Has(name) {
		return c, "", &refusal{http.StatusForbidden, wire.Forbidden, 0, fmt.Sprintf("the token does not allow the name %q", name)}
	}
	held := strings.Split(req.Header.Get(wire.HeaderHeld), ",")
	if slices.Contains(held, string(r.Replica)) {
		return c, "", &refusal{http.StatusConflict, wire.BadRequest, time.Second, "this replica holds a link of yours; dial again to meet another"}
	}
	if !slices.Contains(subprotocols(req), wire.Subprotocol) {
		return c, "", &refusal{http.StatusUpgradeRequired, wire.BadRequest, 0, "this relay speaks " + wire.Subprotocol + " only; update the older side"}
	}
	return c, name, nil
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

func (r *Relay) refuse(w http.ResponseWriter, req *http.Request, c token.Claims, f *refusal) {
	r.metrics.refused.WithLabelValues(f.reason.String()).Inc()
	who := share.Member{Tenant: c.Tenant, Name: c.ID}
	if c.ID == "" {
		who = stranger(req.RemoteAddr)
	}
	level := slog.LevelInfo
	if f.within > 0 {
		level = slog.LevelDebug // in the order of things
	}
	r.lines.of(who, r.Logger).Log(req.Context(), level, "agent refused", "reason", f.reason, "detail", f.text, "remote_addr", req.RemoteAddr)
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

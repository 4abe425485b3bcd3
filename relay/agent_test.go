package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// An agent is a peer that a test plays frame by frame. It answers pings by
// itself.
type agent struct {
	t        testing.TB
	conn     *websocket.Conn
	socket   net.Conn // beneath conn
	instance wire.InstanceID
	welcome  *wire.Welcome
	notices  chan wire.Frame
	frames   chan wire.Frame // what came, but pings; closed with the link
	closed   chan struct{}
	status   websocket.StatusCode // why, once closed
	reason   string

	mu    sync.Mutex
	mute  bool
	pings []time.Time // when they came
}

type dialOptions struct {
	name     string
	token    string // minted for name if empty
	pattern  string // mint for this pattern
	tenant   string // mint for this tenant
	mum      bool   // say nothing after the upgrade
	instance wire.InstanceID
	shared   bool
	epoch    uint64
	held     string
	cutAfter time.Duration
	targets  []wire.Target
	features []string

	addresses string // mint a token bound to these

	certificate *tls.ConnectionState // what TLS has verified
	tokenless   bool                 // show no token
}

// dial links an agent with the targets node and app and returns once it is
// welcome.
func (r *replica) dial(o dialOptions) *agent {
	r.cluster.t.Helper()
	a, resp, err := r.tryDial(o)
	if err != nil {
		r.cluster.t.Fatalf("dial: %v (%v)", err, resp)
	}
	f := a.next(wire.TypeWelcome)
	if a.welcome, err = wire.ParseWelcome(f.Payload); err != nil {
		a.t.Fatal(err)
	}
	return a
}

func (r *replica) mint(role token.Role, name string) string { return r.mintIn("", role, name) }

func (r *replica) mintIn(tenant string, role token.Role, name string) string {
	return r.mintToken(token.Claims{Tenant: tenant, Role: role, Name: name})
}

func (r *replica) mintToken(c token.Claims) string {
	t, _, err := r.cluster.keys.Current().Mint(c, time.Now())
	if err != nil {
		r.cluster.t.Fatal(err)
	}
	return t
}

func (r *replica) tryDial(o dialOptions) (*agent, *http.Response, error) {
	if o.name == "" {
		o.name = "edge"
	}
	if o.token == "" && !o.tokenless {
		name := o.name
		if o.pattern != "" {
			name = o.pattern
		}
		o.token = r.mintToken(token.Claims{Tenant: o.tenant, Role: token.Agent, Name: name, Addresses: o.addresses})
	}
	if o.instance == "" {
		o.instance = wire.NewID[wire.InstanceID]()
	}
	if o.targets == nil {
		o.targets = []wire.Target{{Name: "node", Scheme: "http", Port: 9100, Path: "/metrics"}, {Name: "app", Scheme: "http", Port: 80, Path: "/a/", Subtree: true}}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var socket net.Conn
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		r.dials <- &showing{theirs, o.certificate}
		socket = ours
		return ours, nil
	}}}
	header := http.Header{wire.HeaderAgent: {o.name}, wire.HeaderHeld: {o.held}}
	if !o.tokenless {
		header.Set("Authorization", "Bearer "+o.token)
	}
	conn, resp, err := websocket.Dial(ctx, "ws://relay"+wire.ConnectPath, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{wire.Subprotocol},
		HTTPHeader: header,
	})
	if err != nil {
		return nil, resp, err
	}
	conn.SetReadLimit(wire.MaxMessage)
	a := &agent{t: r.cluster.t, conn: conn, socket: socket, instance: o.instance, frames: make(chan wire.Frame, 10_000), notices: make(chan wire.Frame, 100), closed: make(chan struct{})}
	done := make(chan struct{})
	go func() { defer close(done); a.read() }()
	a.t.Cleanup(func() {
		_ = conn.CloseNow()
		for range a.frames { // what nobody took
		}
		<-done
	})
	if !o.mum {
		a.introduce(o)
	}
	return a, resp, nil
}

// introduce sends HELLO and the targets.
func (a *agent) introduce(o dialOptions) {
	a.send(hello(o))
	frames, err := wire.MarshalTargets(o.targets)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range frames {
		a.send(f)
	}
}

func hello(o dialOptions) wire.Frame {
	return wire.Frame{Type: wire.TypeHello, Payload: wire.MarshalControl(wire.Hello{
		Agent: o.name, Instance: o.instance, Epoch: o.epoch, Shared: o.shared, Version: "test", CutAfterMillis: o.cutAfter.Milliseconds(), Features: o.features,
	})}
}

func (a *agent) read() {
	defer close(a.closed)
	defer close(a.frames)
	for {
		_, b, err := a.conn.Read(context.Background())
		if err != nil {
			var closed websocket.CloseError
			if errors.As(err, &closed) {
				a.reason = closed.Reason
			}
			a.status = websocket.CloseStatus(err)
			return
		}
		for len(b) > 0 {
			var f wire.Frame
			if f, b, err = wire.Next(b); err != nil {
				a.t.Errorf("the relay sent %v", err)
				return
			}
			if f.Type == wire.TypePing {
				if a.pinged() {
					f.Type = wire.TypePong
					a.send(f)
				}
				continue
			}
			if f.Type == wire.TypeNotice {
				f.Payload = bytes.Clone(f.Payload)
				a.notices <- f
				continue
			}
			a.frames <- f
		}
	}
}

// notice waits for the next NOTICE.
func (a *agent) notice() *wire.Notice {
	a.t.Helper()
	select {
	case f := <-a.notices:
		n, err := wire.ParseNotice(f.Payload)
		if err != nil {
			a.t.Fatal(err)
		}
		return n
	case <-time.After(30 * time.Second):
		a.t.Fatal("no NOTICE came")
	}
	panic("unreachable")
}

// pinged notes a ping, and reports whether it is answered.
func (a *agent) pinged() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pings = append(a.pings, time.Now())
	return !a.mute
}

// pingTimes are when pings have come.
func (a *agent) pingTimes() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.pings)
}

// silence stops the answers to pings.
func (a *agent) silence() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mute = true
}

// send sends frames in one message. A closed link is found out elsewhere.
func (a *agent) send(frames ...wire.Frame) {
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
	}
	_ = a.conn.Write(context.Background(), websocket.MessageBinary, b)
}

// next waits for the next frame, which must be of that type.
func (a *agent) next(t wire.Type) wire.Frame {
	a.t.Helper()
	select {
	case f, ok := <-a.frames:
		if !ok {
			a.t.Fatalf("the link closed with %d before %v", a.status, t)
		}
		if f.Type != t {
			a.t.Fatalf("got %v %q, want %v", f.Type, f.Payload, t)
		}
		return f
	case <-time.After(30 * time.Second):
		a.t.Fatalf("no %v came", t)
	}
	panic("unreachable")
}

// request waits for the next request.
func (a *agent) request() (wire.Frame, *wire.Request) {
	a.t.Helper()
	f := <-a.frames
	for f.Type == wire.TypeCredit { // of another scrape
		f = <-a.frames
	}
	if f.Type != wire.TypeRequest {
		a.t.Fatalf("got %v %q, want a REQUEST", f.Type, f.Payload)
	}
	q, err := wire.ParseRequest(f.Payload)
	if err != nil {
		a.t.Fatal(err)
	}
	return f, q
}

// reply makes a frame that answers f.
func reply(f wire.Frame, t wire.Type, payload []byte) wire.Frame {
	return wire.Frame{Type: t, Attempt: f.Attempt, Scrape: f.Scrape, Payload: payload}
}

func head(f wire.Frame, fields ...wire.Field) wire.Frame {
	h := wire.Head{Status: 200, Header: fields}
	return reply(f, wire.TypeHead, h.Append(nil))
}

func end(f wire.Frame, e *wire.Error) wire.Frame {
	return reply(f, wire.TypeEnd, wire.End{Failure: e, Took: time.Millisecond}.Append(nil))
}

// answer sends a whole small answer.
func (a *agent) answer(f wire.Frame, body string) {
	a.send(head(f), reply(f, wire.TypeData, []byte(body)), end(f, nil))
}

// serve answers every request with body until the link closes.
func (a *agent) serve(body string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for f := range a.frames {
			switch f.Type {
			case wire.TypeRequest:
				a.answer(f, body)
			case wire.TypeCancel:
				a.send(end(f, wire.Errorf(wire.Canceled, "")))
			}
		}
	}()
	a.t.Cleanup(func() { _ = a.conn.CloseNow(); <-done })
}

// closedWith waits for the link to close and checks the cause.
func (a *agent) closedWith(c wire.Cause) {
	a.t.Helper()
	select {
	case <-a.closed:
	case <-time.After(2 * time.Minute):
		a.t.Fatalf("the link did not close, want %s", c)
	}
	if int(a.status) != c.Code() {
		a.t.Errorf("the link closed with %d, want %s", a.status, c)
	}
}

// closedWhen waits for the link to close, which is due at a time and may be so late.
func (a *agent) closedWhen(due time.Time, late time.Duration) {
	a.t.Helper()
	select {
	case <-a.closed:
		if early := time.Until(due); early > 0 {
			a.t.Errorf("the link closed %s before it was due", early)
		}
	case <-time.After(time.Until(due) + late + time.Millisecond):
		a.t.Fatal("the link did not close when it was due")
	}
}

package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A cluster is replicas over in-memory connections, with one directory and a
// bus that a test can break. It runs in a synctest bubble as well as outside.
type cluster struct {
	t         testing.TB
	keys      *token.Keys
	directory *store.Memory
	size      int
	still     bool // no heartbeat runs
	replicas  []*replica
	asked     atomic.Int64
	// delivering are the goroutines of the bus.
	delivering sync.WaitGroup
}

type replica struct {
	*relay.Relay
	cluster *cluster
	bus     *busEnd
	dials   chan net.Conn
	end     func()
}

// newCluster starts n replicas, stopped when the test ends.
func newCluster(t testing.TB, n int, change ...func(*relay.Config)) *cluster {
	t.Helper()
	return startCluster(t, n, false, change...)
}

func startCluster(t testing.TB, n int, still bool, change ...func(*relay.Config)) *cluster {
	t.Helper()
	ring, err := token.ParseKeys([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, size: n, still: still, keys: token.NewKeys(ring), directory: store.NewMemory(store.MemoryConfig{Keep: time.Hour})}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for range n {
		c.start(ctx, &running, change)
	}
	running.Go(func() {
		_ = c.directory.Run(ctx, wire.StoreEvents{
			Registered: func(wire.LinkID, uint64) {},
			Lost: func(id wire.LinkID, why error) {
				for _, r := range c.replicas {
					r.Events().Lost(id, why)
				}
			},
		})
	})
	t.Cleanup(func() { stop(); running.Wait(); c.delivering.Wait() })
	return c
}

func (c *cluster) start(ctx context.Context, running *sync.WaitGroup, change []func(*relay.Config)) {
	id := wire.NewID[wire.ReplicaID]()
	r := &replica{cluster: c, dials: make(chan net.Conn)}
	r.bus = &busEnd{cluster: c, from: id}
	conf := relay.Config{
		Replica: id, Directory: counted{c.directory, c}, Bus: r.bus, Keys: c.keys,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&conf)
	}
	r.Relay = relay.New(conf)
	c.replicas = append(c.replicas, r)
	server := &http.Server{Handler: http.HandlerFunc(r.Connect), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	ctx, r.end = context.WithCancel(ctx)
	running.Go(func() { _ = server.Serve(pipeListener{r.dials, ctx}) })
	running.Go(func() {
		if c.still {
			<-ctx.Done()
		}
		_ = r.Run(ctx)
		_ = server.Close()
		r.bus.kill()
	})
}

// counted is the directory with as many replicas as the cluster has.
type counted struct {
	*store.Memory
	cluster *cluster
}

func (d counted) Replicas() int { return d.cluster.size }

func (d counted) Alone(context.Context) bool { return d.cluster.size == 1 }

func (d counted) Lookup(ctx context.Context, k wire.AgentKey) (*wire.Agent, error) {
	d.cluster.asked.Add(1)
	return d.Memory.Lookup(ctx, k)
}

// lookups is how often any replica asked the directory for an agent.
func (c *cluster) lookups() int64 { return c.asked.Load() }

// pipeListener accepts the connections that agents dial in memory.
type pipeListener struct {
	dials chan net.Conn
	ctx   context.Context
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dials:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}
func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// A busEnd is one replica's end of the test's bus. Frames arrive in the
// sender's own call, which keeps their order.
type busEnd struct {
	cluster *cluster
	from    wire.ReplicaID

	mu   sync.Mutex
	dead bool
	// What is on its way to this end, and whether somebody delivers it.
	inbox      []func()
	delivering bool
	drop       func(to wire.ReplicaID, f wire.Frame) bool // whether a frame is lost
	sent       int                                        // sends that arrived
}

func (b *busEnd) RoundTrip() time.Duration { return time.Millisecond }

func (b *busEnd) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead = true
}

func (b *busEnd) isDead() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dead
}

func (b *busEnd) Send(to wire.ReplicaID, f wire.Frame) error {
	b.mu.Lock()
	drop := b.drop != nil && b.drop(to, f)
	b.sent++
	b.mu.Unlock()
	if drop {
		return nil
	}
	frames := f.Append(nil)
	for _, r := range b.cluster.replicas {
		if r.Replica == to && !r.bus.isDead() {
			// A goroutine a frame would lose the order; a call from the
			// sender's goroutine would run into the locks it holds.
			r.deliver(b.from, frames)
		}
	}
	return nil
}

// deliver hands frames over in order, from a goroutine of the bus that stands
// while there are any.
func (r *replica) deliver(from wire.ReplicaID, frames []byte) {
	b := r.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inbox = append(b.inbox, func() { r.Events().Frames(from, frames) })
	if !b.delivering {
		b.delivering = true
		r.cluster.delivering.Go(b.run)
	}
}

func (b *busEnd) run() {
	for {
		b.mu.Lock()
		if len(b.inbox) == 0 {
			b.delivering, b.inbox = false, nil // a test measures the heap
			b.mu.Unlock()
			return
		}
		next := b.inbox[0]
		b.inbox[0] = nil
		b.inbox = b.inbox[1:]
		b.mu.Unlock()
		next()
	}
}

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

	mu   sync.Mutex
	mute bool
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
	if o.token == "" {
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
		r.dials <- theirs
		socket = ours
		return ours, nil
	}}}
	conn, resp, err := websocket.Dial(ctx, "ws://relay"+wire.ConnectPath, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{wire.Subprotocol},
		HTTPHeader: http.Header{"Authorization": {"Bearer " + o.token}, wire.HeaderAgent: {o.name}, wire.HeaderHeld: {o.held}},
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
				if !a.isMute() {
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

func (a *agent) isMute() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mute
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

// A result is what a scrape came to.
type result struct {
	answer *wire.Answer
	body   []byte
	err    *wire.Error
}

// scrape starts a scrape of the agent edge's target node.
func (r *replica) scrape(timeout time.Duration, change ...func(*wire.Scrape)) chan result {
	s := &wire.Scrape{Tenant: wire.DefaultTenant, Agent: "edge", Target: "node"}
	for _, f := range change {
		f(s)
	}
	done := make(chan result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		var res result
		var err error
		if res.answer, err = r.Scrape(ctx, s); err == nil {
			res.body, err = io.ReadAll(res.answer.Body)
			_ = res.answer.Body.Close()
		}
		if err != nil {
			res.err = err.(*wire.Error)
		}
		done <- res
	}()
	return done
}

func (r result) reason() wire.Reason {
	if r.err == nil {
		return wire.OK
	}
	return r.err.Reason
}

func wantBody(t testing.TB, got result, body string) {
	t.Helper()
	if got.err != nil || string(got.body) != body {
		t.Fatalf("got %d bytes, %v; want %q", len(got.body), got.err, body[:min(len(body), 50)])
	}
}

func wantReason(t *testing.T, got result, want wire.Reason) {
	t.Helper()
	if got.reason() != want {
		t.Fatalf("got %v, want %s", got.err, want)
	}
}

// both runs a test for a scrape through the replica that holds the link, and
// for one over the bus.
func both(t *testing.T, f func(t *testing.T, c *cluster, owner, edge *replica)) {
	for name, i := range map[string]int{"local": 0, "bus": 1} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2)
			f(t, c, c.replicas[0], c.replicas[i])
		})
	}
}

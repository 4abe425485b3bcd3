package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A network is one in memory, so that it works under fake time: dialling any
// address reaches the one server that serves it.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newNetwork() *network {
	return &network{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case n.conns <- far:
		return near, nil
	case <-n.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error   { n.once.Do(func() { close(n.closed) }); return nil }
func (n *network) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// serve serves handler on a network of its own until the test ends.
func serve(t *testing.T, handler http.Handler) *network {
	t.Helper()
	n := newNetwork()
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(n) }()
	t.Cleanup(func() { server.Close(); n.Close(); <-done })
	return n
}

// A fakeRelay is what a replica looks like from the network: it hands every link
// that is opened to the test.
type fakeRelay struct {
	*network
	t     *testing.T
	links chan *fakeLink
	// refuse, if set, answers a dial; false lets it pass.
	refuse func(http.ResponseWriter, *http.Request) bool
	dials  chan time.Time

	mu  sync.Mutex
	all []*fakeLink

	// unhurried keeps it from closing a link as soon as the agent stops.
	unhurried bool
	// backlog is how many messages it reads ahead of the test.
	backlog int
}

func newFakeRelay(t *testing.T) *fakeRelay {
	t.Helper()
	r := &fakeRelay{t: t, links: make(chan *fakeLink, 16), dials: make(chan time.Time, 1024), backlog: 4096}
	r.network = serve(t, r)
	t.Cleanup(r.closeLinks)
	return r
}

func (r *fakeRelay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.dials <- time.Now()
	if r.refuse != nil && r.refuse(w, req) {
		return
	}
	conn, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		r.t.Errorf("accept: %v", err)
		return
	}
	conn.SetReadLimit(wire.MaxMessage)
	l := &fakeLink{t: r.t, conn: conn, header: req.Header, path: req.URL.Path, frames: make(chan []wire.Frame, r.backlog), closed: make(chan struct{})}
	l.unhurried = r.unhurried
	r.mu.Lock()
	r.all = append(r.all, l)
	r.mu.Unlock()
	go l.read()
	r.links <- l
}

func (r *fakeRelay) closeLinks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.all {
		l.conn.CloseNow()
		<-l.closed
	}
}

// link is the next link that is opened, after its HELLO and TARGETS.
func (r *fakeRelay) link() *fakeLink {
	r.t.Helper()
	select {
	case l := <-r.links:
		l.introduced()
		return l
	case <-time.After(time.Hour):
		r.t.Fatal("no link was opened")
		return nil
	}
}

// A fakeLink is a replica's end of a link.
type fakeLink struct {
	t      *testing.T
	conn   *websocket.Conn
	header http.Header
	path   string
	frames chan []wire.Frame // of each message
	closed chan struct{}
	err    error // why it closed

	unhurried bool

	hello   *wire.Hello
	targets []wire.Target
	pending []wire.Frame // of the message that next is in
	last    wire.ScrapeID
}

func (l *fakeLink) read() {
	defer close(l.closed)
	for {
		_, message, err := l.conn.Read(context.Background())
		if err != nil {
			l.err = err
			return
		}
		var frames []wire.Frame
		for len(message) > 0 {
			f, rest, err := wire.Next(message)
			if err != nil {
				l.t.Errorf("the agent sent: %v", err)
				return
			}
			frames, message = append(frames, f), rest
			if p, err := wire.ParsePing(f.Payload); f.Type == wire.TypePong && err == nil && p.Token == heartbeat {
				frames = frames[:len(frames)-1]
			}
			if d, err := wire.ParseDrain(f.Payload); f.Type == wire.TypeDrain && err == nil && d.Cause == "stopping" && !l.unhurried {
				go l.close(wire.CauseAgentStopped)
			}
		}
		if len(frames) == 0 {
			continue
		}
		select {
		case l.frames <- frames:
		case <-l.t.Context().Done():
			return
		}
	}
}

// next is the next frame; the agent must send one, or close the link with false.
func (l *fakeLink) next() (wire.Frame, bool) {
	l.t.Helper()
	if len(l.pending) == 0 {
		select {
		case l.pending = <-l.frames:
		default:
			select {
			case l.pending = <-l.frames:
			case <-l.closed:
				return wire.Frame{}, false
			case <-time.After(time.Hour):
				l.t.Fatal("the agent is silent")
			}
		}
	}
	f := l.pending[0]
	l.pending = l.pending[1:]
	return f, true
}

func (l *fakeLink) expect(want wire.Type) wire.Frame {
	l.t.Helper()
	f, ok := l.next()
	if !ok {
		l.t.Fatalf("the agent closed the link (%v), want %v", l.err, want)
	}
	if f.Type != want {
		l.t.Fatalf("got %v %q, want %v", f.Type, f.Payload, want)
	}
	return f
}

func (l *fakeLink) introduced() {
	l.t.Helper()
	var err error
	if l.hello, err = wire.ParseHello(l.expect(wire.TypeHello).Payload); err != nil {
		l.t.Fatal(err)
	}
	l.targets = l.expectTargets()
}

func (l *fakeLink) expectTargets() []wire.Target {
	l.t.Helper()
	var list wire.TargetList
	for {
		whole, err := list.Add(l.expect(wire.TypeTargets).Payload)
		if err != nil {
			l.t.Fatal(err)
		}
		if !whole {
			continue
		}
		targets, err := list.Take()
		if err != nil {
			l.t.Fatal(err)
		}
		return targets
	}
}

func (l *fakeLink) send(frames ...wire.Frame) {
	l.t.Helper()
	var message []byte
	for _, f := range frames {
		message = f.Append(message)
	}
	if err := l.conn.Write(context.Background(), websocket.MessageBinary, message); err != nil {
		l.t.Errorf("write: %v", err)
	}
}

// welcome says WELCOME as a replica of so many.
func (l *fakeLink) welcome(replicas int, change ...func(*wire.Welcome)) wire.Welcome {
	l.t.Helper()
	w := wire.Welcome{
		Replica: wire.NewID[wire.ReplicaID](), Link: wire.NewID[wire.LinkID](), Epoch: 7, Registered: true,
		HeartbeatMillis: wire.Heartbeat.Milliseconds(), PeerTimeoutMillis: wire.PeerTimeout.Milliseconds(),
		MaxInflightTarget: 64, MaxInflightAgent: 256, Replicas: replicas,
	}
	for _, c := range change {
		c(&w)
	}
	l.send(wire.Frame{Type: wire.TypeWelcome, Payload: wire.MarshalControl(&w)})
	return w
}

// heartbeat is the token of pings whose pongs a test does not want to see.
const heartbeat = 99

// stayAlive pings as a replica of so many does, until the link closes.
func (l *fakeLink) stayAlive(replicas uint16) {
	ping := wire.Frame{Type: wire.TypePing, Payload: wire.Ping{Token: heartbeat, Replicas: replicas}.Append(nil)}.Append(nil)
	go func() {
		for l.conn.Write(context.Background(), websocket.MessageBinary, ping) == nil {
			select {
			case <-l.closed:
				return
			case <-time.After(wire.Heartbeat):
			}
		}
	}()
}

func (l *fakeLink) ping(replicas uint16) {
	l.t.Helper()
	l.send(wire.Frame{Type: wire.TypePing, Payload: wire.Ping{Token: 1, Replicas: replicas}.Append(nil)})
	l.expect(wire.TypePong)
}

// request asks for a target with a second to answer and a local window, unless
// change says otherwise.
func (l *fakeLink) request(target string, change ...func(*wire.Request)) wire.ScrapeID {
	l.t.Helper()
	l.last++
	q := wire.Request{Remaining: time.Second, Credit: wire.LocalWindow, Agent: l.hello.Agent, Tenant: wire.DefaultTenant, Target: target}
	for _, c := range change {
		c(&q)
	}
	l.send(wire.Frame{Type: wire.TypeRequest, Attempt: 1, Scrape: l.last, Payload: q.Append(nil)})
	return l.last
}

func (l *fakeLink) cancel(id wire.ScrapeID) {
	l.t.Helper()
	l.send(wire.Frame{Type: wire.TypeCancel, Attempt: 1, Scrape: id})
}

func (l *fakeLink) credit(id wire.ScrapeID, n uint32) {
	l.t.Helper()
	l.send(wire.Frame{Type: wire.TypeCredit, Attempt: 1, Scrape: id, Payload: wire.AppendCredit(nil, n)})
}

// A reply is all that an agent said to one request.
type reply struct {
	head  *wire.Head
	body  []byte
	acks  int
	end   *wire.Error // nil: whole
	nack  *wire.Nack
	datas int
}

// reason is how it ended.
func (r *reply) reason() wire.Reason {
	switch {
	case r.nack != nil:
		return r.nack.Reason
	case r.end != nil:
		return r.end.Reason
	}
	return wire.OK
}

func (r *reply) detail() string {
	switch {
	case r.nack != nil:
		return r.nack.Detail
	case r.end != nil:
		return r.end.Detail
	}
	return ""
}

func (r *reply) header(name string) string {
	for _, f := range r.head.Header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// reply is the answer to the scrape id, up to its END or NACK.
func (l *fakeLink) reply(id wire.ScrapeID) *reply {
	l.t.Helper()
	r := new(reply)
	for {
		f, ok := l.next()
		if !ok {
			l.t.Fatalf("the agent closed the link: %v", l.err)
		}
		if f.Scrape != id || f.Attempt != 1 {
			l.t.Fatalf("%v of scrape %v, attempt %d, within the answer to %v", f.Type, f.Scrape, f.Attempt, id)
		}
		var err error
		switch f.Type {
		case wire.TypeAck:
			r.acks++
		case wire.TypeHead:
			if r.head != nil {
				l.t.Fatal("two HEADs")
			}
			r.head, err = wire.ParseHead(f.Payload)
		case wire.TypeData:
			if r.head == nil {
				l.t.Fatal("DATA before HEAD")
			}
			r.datas++
			r.body = append(r.body, f.Payload...)
		case wire.TypeEnd:
			var end wire.End
			end, err = wire.ParseEnd(f.Payload)
			r.end = end.Failure
		case wire.TypeNack:
			r.nack, err = wire.ParseNack(f.Payload)
		default:
			l.t.Fatalf("unexpected %v", f.Type)
		}
		if err != nil {
			l.t.Fatal(err)
		}
		if f.Type == wire.TypeEnd || f.Type == wire.TypeNack {
			return r
		}
	}
}

// cause is what the agent closed the link for, once it has.
func (l *fakeLink) cause() wire.Cause {
	l.t.Helper()
	select {
	case <-l.closed:
		return wire.CauseOf(int(websocket.CloseStatus(l.err)))
	case <-time.After(time.Hour):
		l.t.Fatal("the agent keeps the link")
		return 0
	}
}

// close closes the link as a replica does.
func (l *fakeLink) close(cause wire.Cause) {
	l.conn.Close(websocket.StatusCode(cause.Code()), cause.String())
}

// start runs an agent against relay until the test ends. Its targets are all
// served by the network targets; nil is none at all.
func start(t *testing.T, relay, targets *network, change ...func(*Config)) *Agent {
	t.Helper()
	o := Options{dialRelay: relay.dial}
	if targets != nil {
		o.dialTarget = targets.dial
	}
	return startAgent(t, o, change...)
}

// startAgent runs an agent until the test ends.
func startAgent(t testing.TB, o Options, change ...func(*Config)) *Agent {
	t.Helper()
	c := Config{
		RelayURL: "http://relay.example.com", Token: "secret-token", Name: "edge-1",
		Targets: "app=http://app.internal:8080/metrics", Links: 2, LogLevel: "info", LogFormat: "text",
	}
	for _, f := range change {
		f(&c)
	}
	a, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a
}

// text is a target that answers with s.
func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) })
}

func writeFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

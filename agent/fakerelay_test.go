package agent

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// refuseWith answers dials with a status, as a replica does.
func refuseWith(status int, retryAfter string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, "not now", status)
		return true
	}
}

// noMoreLinks checks that the agent is content for a second.
func (r *fakeRelay) noMoreLinks() {
	r.t.Helper()
	select {
	case l := <-r.links:
		r.t.Fatalf("one link too many, with %v", l.header)
	case <-time.After(time.Second):
	}
}

func (l *fakeLink) drain(cause string) {
	l.t.Helper()
	l.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(&wire.Drain{Cause: cause})})
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
	var list wire.TargetParts
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
		return targets.All()
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

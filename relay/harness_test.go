package relay_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	lacks     atomic.Bool // another replica lacks the key that signs
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
		Replica: id, Directory: counted{c.directory, c}, Bus: r.bus, Journal: c.directory, Keys: c.keys,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&conf)
	}
	r.Relay = relay.New(conf)
	c.replicas = append(c.replicas, r)
	server := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, shownKey{}, c) }
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if c, ok := req.Context().Value(shownKey{}).(*showing); ok {
			req.TLS = c.certificate
		}
		r.Connect(w, req)
	})
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

func (d counted) AllHave(string) bool { return !d.cluster.lacks.Load() }

func (d counted) Alone(context.Context) bool { return d.cluster.size == 1 }

func (d counted) Lookup(ctx context.Context, k wire.AgentKey) (*wire.Agent, error) {
	d.cluster.asked.Add(1)
	return d.Memory.Lookup(ctx, k)
}

// lookups is how often any replica asked the directory for an agent.
func (c *cluster) lookups() int64 { return c.asked.Load() }

// A showing connection has a client's certificate, as if TLS had verified it.
type showing struct {
	net.Conn
	certificate *tls.ConnectionState
}

type shownKey struct{}

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

package link

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A Link is one WebSocket to an agent, from its upgrade to its end. Its run
// reads; a writer goroutine stands only while there is something to write.
type Link struct {
	links      *Links
	conn       *websocket.Conn
	socket     *agentConn // beneath conn
	visit      *visit     // owned by run
	id         wire.LinkID
	key        wire.AgentKey
	claims     token.Claims
	remoteAddr string
	connected  time.Time
	log        *slog.Logger
	hello      *wire.Hello // set by run before the link is in the table

	heard     atomic.Int64 // when the last byte came, by the replica's clock, nanoseconds
	roundTrip atomic.Int64 // by the last ping, nanoseconds; 0 before
	beat      beat
	list      wire.TargetList // owned by run: one that is not yet whole

	// Owned by run: how long to rest before anything more is read, for how long it
	// has rested without catching up, and when it last did.
	pause, rested time.Duration
	lastRest      time.Time

	hungUp chan struct{} // closed when the close that was begun is over

	mu       sync.Mutex // guards what follows
	epoch    uint64
	targets  []wire.Target // set by run
	streams  map[wire.AttemptKey]*stream
	silence  silenceWatch
	phase    phase
	released bool       // the directory was told that it leaves
	cause    wire.Cause // why, once closed
	noticed  string     // the NOTICE that was sent last
	out      outbox
}

// ID is the link's own.
func (l *Link) ID() wire.LinkID { return l.id }

// Agent is whose link it is.
func (l *Link) Agent() wire.AgentKey { return l.key }

// Hello is what the agent said of itself.
func (l *Link) Hello() *wire.Hello { return l.hello }

// Pattern reports whether the agent's token is for a pattern of names.
func (l *Link) Pattern() bool { return l.claims.IsGlob() }

// Connected is when the upgrade was granted.
func (l *Link) Connected() time.Time { return l.connected }

// RoundTrip is the last ping's; 0 before one was answered.
func (l *Link) RoundTrip() time.Duration { return time.Duration(l.roundTrip.Load()) }

// What is due when, from the upgrade on, however slowly it drips.
const (
	helloTimeout     = 5 * time.Second
	handshakeTimeout = 10 * time.Second // the whole target list
)

// registerTimeout bounds the wait for the directory before a link is welcomed
// as local only.
const registerTimeout = time.Second

func newLink(t *Links, conn *websocket.Conn, socket *agentConn, v *visit, k wire.AgentKey, c token.Claims, remoteAddr string) *Link {
	id := wire.NewID[wire.LinkID]()
	l := &Link{
		links: t, conn: conn, socket: socket, visit: v, id: id, key: k, claims: c, remoteAddr: remoteAddr, connected: time.Now(),
		log:     t.Lines.Of(share.Of(k)).With("agent", k.Agent, "tenant", k.Tenant, "link", id),
		list:    wire.TargetList{Limits: t.TargetLimits},
		streams: make(map[wire.AttemptKey]*stream), hungUp: make(chan struct{}),
	}
	l.heard.Store(int64(t.clock.at(l.connected)))
	return l
}

// run serves the link until it is closed from either side.
func (l *Link) run() {
	// The library would watch a context anew with every frame, so it is given
	// none that ends: what ends the link's life closes its socket.
	ended := context.AfterFunc(l.links.ended, func() { _ = l.socket.Close() })
	defer ended()
	err := l.introduce()
	if err == nil {
		l.visit.arrive()
	}
	for err == nil {
		if err = l.read(l.handleInTurn); err == nil {
			err = l.rest()
		}
	}
	l.closeFor(err)
	l.depart()
}

// handleInTurn takes a frame once those before it, of the same message, are paid.
func (l *Link) handleInTurn(f wire.Frame) error {
	if err := l.rest(); err != nil {
		return err
	}
	return l.handle(f)
}

// introduce reads HELLO and the targets, registers the link and welcomes it.
func (l *Link) introduce() error {
	late := time.AfterFunc(helloTimeout, func() { l.close(wire.CauseTimeout) })
	defer late.Stop()
	for whole := false; !whole; {
		err := l.read(func(f wire.Frame) (err error) {
			switch {
			case f.Type == wire.TypeHello && l.hello == nil:
				err = l.greet(f.Payload)
				late.Reset(handshakeTimeout - time.Since(l.connected))
			case f.Type == wire.TypeTargets && l.hello != nil && !whole:
				whole, _, err = l.declare(f.Payload)
			case f.Type < wire.FirstOptional:
				err = errors.New("a frame before HELLO and TARGETS")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return l.register()
}

// declare takes a TARGETS frame, and the list once it is whole. It says whether it
// is, and whether it is another than before.
func (l *Link) declare(payload []byte) (whole, changed bool, err error) {
	l.owe(max(float64(len(payload)), l.links.arrivals.lists.idle()))
	whole, err = l.list.Add(payload)
	switch {
	case err == nil && whole:
		l.owe(l.links.arrivals.lists.least() - float64(l.list.Bytes()))
		changed, err = l.visit.declare(&l.list)
		l.visit.finish()
	case err == nil:
		return false, false, l.awaitPlace(l.visit.begin)
	}
	if err != nil {
		return false, false, &refusedError{err}
	}
	if changed {
		l.mu.Lock()
		l.targets = l.visit.list.targets
		l.mu.Unlock()
	}
	return whole, changed, nil
}

func (l *Link) greet(payload []byte) error {
	hello, err := wire.ParseHello(payload)
	if err == nil && hello.Agent != l.key.Agent {
		err = errors.New("HELLO: another name than the upgrade's")
	}
	if err != nil {
		return &refusedError{err}
	}
	l.hello = hello
	return nil
}

// register enters the link into the directory and welcomes it. From here on it
// is found.
func (l *Link) register() error {
	lease := wire.Lease{
		AgentKey: l.key, Instance: l.hello.Instance, Epoch: l.hello.Epoch,
		Link: l.id, Replica: l.links.Replica,
		Shared: l.hello.Shared, Ephemeral: l.hello.Ephemeral, Features: l.hello.Features, Yielding: l.claims.IsGlob(), Addresses: l.claims.Addresses,
		Version: l.hello.Version, RemoteAddr: l.remoteAddr,
		Connected: l.connected, TokenExpiry: l.claims.Expires, Targets: l.targets,
	}
	l.links.add(l)
	ctx, cancel := context.WithTimeout(l.links.ended, registerTimeout)
	defer cancel()
	epoch, err := l.links.Directory.Register(ctx, lease)
	switch {
	case errors.Is(err, wire.ErrSuperseded):
		l.links.metrics.conflicts.Inc()
		l.close(wire.CauseSuperseded)
		return err
	case errors.Is(err, wire.ErrNameTaken):
		l.links.metrics.conflicts.Inc()
		l.close(wire.CauseNameTaken)
		return err
	case errors.As(err, new(*wire.LimitError)):
		return &refusedError{err}
	case err != nil:
		l.log.Warn("linked, but local only until the directory is back", "err", err)
	}
	l.links.Changed(l.key, l.targets)
	l.welcome(epoch, err == nil)
	l.log.Info("linked", "instance", l.hello.Instance, "epoch", epoch, "targets", len(l.targets),
		"version", l.hello.Version, "remote_addr", l.remoteAddr, "token", l.claims.ID)
	return nil
}

// welcome tells the agent where it stands. The directory's word may come before
// the time-out of asking it does: then it stays.
func (l *Link) welcome(epoch uint64, registered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.advanceLocked(serving) && !registered {
		return
	}
	l.epoch = epoch
	l.sendLocked(wire.Frame{Type: wire.TypeWelcome, Payload: wire.MarshalControl(wire.Welcome{
		Replica: l.links.Replica, Link: l.id, Epoch: epoch, Registered: registered,
		HeartbeatMillis:   wire.Heartbeat.Milliseconds(),
		PeerTimeoutMillis: wire.PeerTimeout.Milliseconds(),
		MaxInflightTarget: l.links.MaxInflightTarget,
		MaxInflightAgent:  l.links.MaxInflightAgent,
		Replicas:          l.links.Directory.Replicas(),
		Features:          wire.Features(),
	})})
}

// handle takes a frame from a welcomed agent.
func (l *Link) handle(f wire.Frame) error {
	switch f.Type {
	case wire.TypeHead, wire.TypeData, wire.TypeEnd, wire.TypeAck, wire.TypeNack:
		l.answer(f)
	case wire.TypePong:
		p, err := wire.ParsePing(f.Payload)
		if err != nil {
			return err
		}
		sent := l.beat.sent.Load()
		if uint64(sent) != p.Token {
			l.owe(l.links.arrivals.lists.idle())
			return nil
		}
		l.roundTrip.Store(int64(l.links.clock.now()) - sent)
	case wire.TypeTargets:
		return l.retarget(f.Payload)
	case wire.TypeDrain:
		d, err := wire.ParseDrain(f.Payload)
		if err != nil {
			return err
		}
		l.leave(d.Cause)
	default:
		if f.Type < wire.FirstOptional {
			return errors.New("an agent does not send " + f.Type.String())
		}
		l.owe(l.links.arrivals.lists.idle())
	}
	return nil
}

// retarget takes a changed target list while the link is up.
func (l *Link) retarget(payload []byte) error {
	_, changed, err := l.declare(payload)
	if err == nil && changed {
		l.links.Directory.Update(l.id, l.targets)
		l.links.Changed(l.key, l.targets)
		l.log.Info("targets changed", "targets", len(l.targets))
	}
	return err
}

// leave takes the link out of every route, at the agent's wish: it has moved,
// or is stopping. The streams on it go on.
func (l *Link) leave(cause string) {
	l.mu.Lock()
	leaves := l.advanceLocked(leaving)
	l.released = l.released || leaves
	idle := len(l.streams) == 0
	l.mu.Unlock()
	if !leaves {
		l.owe(l.links.arrivals.lists.idle())
		return
	}
	released := wire.CauseDrained
	if cause == "stopping" {
		released = wire.CauseAgentStopped
	}
	l.links.Directory.Release(l.id, released.String())
	l.links.Changed(l.key, nil)
	l.log.Debug("link leaves", "cause", cause)
	if idle {
		l.close(released)
	}
}

// Current returns what may change while the link is up, and whether it takes
// requests.
func (l *Link) Current() (epoch uint64, targets []wire.Target, usable bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch, l.targets, l.phase == serving
}

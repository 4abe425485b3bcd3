package link

import (
	"container/ring"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A Link is one WebSocket to an agent, from its upgrade to its end. One goroutine
// reads, run and then serve; a writer goroutine stands only while there is something to write.
type Link struct {
	links      *Links
	conn       *websocket.Conn
	socket     *agentConn // beneath conn
	visit      *visit     // owned by the reader
	id         wire.LinkID
	key        wire.AgentKey
	claims     token.Claims
	cert       *certificate.Credential // that has to stay good beside the claims; nil: a token is all
	remoteAddr string
	connected  time.Time
	log        *slog.Logger
	hello      *wire.Hello // set before the link is in the table

	judged    atomic.Pointer[token.TakenBack] // by what it was last held against what is taken back
	heard     atomic.Int64                    // when the last byte came, by the replica's clock, nanoseconds
	roundTrip atomic.Int64                    // by the last ping, nanoseconds; 0 before
	beat      beat
	seat      ring.Ring        // in the wheel, and guarded by its mu
	parts     wire.TargetParts // owned by the reader: of a list that is not yet whole

	// Owned by the reader: how long to rest before anything more is read, for how long it
	// has rested without catching up, and when it last did.
	pause, rested time.Duration
	lastRest      time.Time

	unwatch func() bool   // base no longer ends the link
	hungUp  chan struct{} // closed when the close that was begun is over

	mu       sync.Mutex // guards what follows
	epoch    uint64
	list     *wire.TargetList // set by the reader
	streams  map[wire.AttemptKey]*stream
	watch    watch
	phase    phase
	linked   bool       // it was welcomed
	released bool       // the directory was told that it leaves
	cause    wire.Cause // why, once closed
	tenure   tenure
	trusted  certificate.Trust // by what its certificate was last held against it
	noticed  string            // the NOTICE that was sent last
	out      sendQueue
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

func newLink(t *Links, conn *websocket.Conn, socket *agentConn, v *visit, k wire.AgentKey, c token.Claims, cert *certificate.Credential, remoteAddr string) *Link {
	id := wire.NewID[wire.LinkID]()
	l := &Link{
		links: t, conn: conn, socket: socket, visit: v, id: id, key: k, claims: c, cert: cert, remoteAddr: remoteAddr, connected: time.Now(),
		log:     t.Lines.Of(share.Of(k)).With("agent", k.Agent, "tenant", k.Tenant, "link", id),
		parts:   wire.TargetParts{Limits: t.TargetLimits},
		tenure:  newTenure(c),
		streams: make(map[wire.AttemptKey]*stream), hungUp: make(chan struct{}),
	}
	l.heard.Store(int64(t.clock.at(l.connected)))
	return l
}

// run takes the link from its upgrade to its welcome. The reading goes on in
// another goroutine: the stack of one that has been through a handshake is larger,
// and stays so.
func (l *Link) run() {
	// The library would watch a context anew with every frame, so it is given
	// none that ends: what ends the link's life closes its socket.
	l.unwatch = context.AfterFunc(l.links.base, func() { _ = l.socket.Close() })
	if err := l.introduce(); err != nil {
		l.end(err)
		return
	}
	l.visit.arrive()
	l.links.active.Go(l.serve)
}

// serve reads what a welcomed agent sends.
func (l *Link) serve() {
	var err error
	for err == nil {
		if err = l.read(l.handleInTurn); err == nil {
			err = l.rest()
		}
	}
	l.end(err)
}

// end ends the link for the error that ended the reading.
func (l *Link) end(err error) {
	l.closeFor(err)
	l.unlink()
	l.unwatch()
	l.visit.close()
}

// handleInTurn takes a frame once those before it, of the same message, are paid.
func (l *Link) handleInTurn(f wire.Frame) error {
	if err := l.rest(); err != nil {
		return err
	}
	return l.handle(f)
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
	case wire.TypeChange:
		return l.change(f.Payload)
	case wire.TypeKept:
		return l.keptCame(f.Payload)
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
	return l.epoch, l.list.All(), l.phase == serving
}

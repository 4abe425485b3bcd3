package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// welcomeWithin is how long a replica may take from the HELLO to its
	// WELCOME, which waits for the directory.
	welcomeWithin = 10 * time.Second
	// stopWithin is how long scrapes in flight may take when the agent stops.
	stopWithin = 5 * time.Second
	// linger is how long a link without scrapes stays after the agent said that
	// it stops: the replica closes it once it has taken it out of every route,
	// and until then scrapes may still be on their way.
	linger = time.Second
)

// errProtocol ends a link whose replica breaks the protocol.
var errProtocol = errors.New("broken protocol")

// A link is one WebSocket to a replica, from its upgrade to its end.
type link struct {
	agent *Agent
	conn  *websocket.Conn
	sock  *socket
	out   *writer
	// changed tells the connector that one of the link's guarded fields has.
	changed func()

	parting string // the replica's last words; set by run

	scraping sync.WaitGroup
	files    chan struct{} // has an element for each thing that it has to do with files
	removed  chan struct{} // has one element if a scrape has been removed since it was read

	mu       sync.Mutex
	log      *slog.Logger                // names the link and its replica once they are known
	scrapes  map[wire.AttemptKey]*scrape // a cancelled attempt may not have ended yet when the next comes
	welcome  *wire.Welcome               // the last one; nil until there is one
	since    time.Time                   // of the first
	draining bool                        // the replica wants to be rid of it
	exiting  bool                        // because it is about to exit
	moved    bool                        // another link has taken over, and the replica was told
}

func newLink(a *Agent, conn *websocket.Conn, sock *socket, changed func()) *link {
	conn.SetReadLimit(wire.MaxMessage)
	return &link{
		agent: a, log: a.log, conn: conn, sock: sock, out: newWriter(conn, sock, &a.writing), changed: changed,
		files: make(chan struct{}, mostAside), removed: make(chan struct{}, 1), scrapes: make(map[wire.AttemptKey]*scrape),
	}
}

// run is the link's life. It returns once the link and all its scrapes have
// ended, with the reason; at the end of stop it says goodbye first.
func (l *link) run(stop context.Context, held []wire.LinkID, cut time.Duration) wire.Cause {
	life, end := context.WithCancel(context.WithoutCancel(stop))
	defer end()
	var group sync.WaitGroup
	wrote, read := make(chan error, 1), make(chan error, 1)
	group.Go(func() { wrote <- l.out.run(life) })
	group.Go(func() { read <- l.read(life) })
	l.hello(held, cut)
	cause := l.watch(stop, wrote, read)
	l.agent.catalog.remove(l)
	l.close(cause, end)
	group.Wait()
	l.scraping.Wait()
	return cause
}

// hello introduces the agent. Each frame is a message of its own.
func (l *link) hello(held []wire.LinkID, cut time.Duration) {
	a := l.agent
	l.out.send(outgoing{alone: true, Frame: wire.Frame{Type: wire.TypeHello, Payload: wire.MarshalControl(&wire.Hello{
		Agent: a.name, Instance: a.instance, Epoch: a.epoch.Load(), Version: a.version,
		Shared: a.config.Shared, Ephemeral: a.config.Ephemeral, Held: held, CutAfterMillis: cut.Milliseconds(), Features: wire.AgentFeatures(),
	})}})
	a.catalog.add(l)
}

// declare tells the replica the agent's targets, or what of them has changed.
func (l *link) declare(frames []wire.Frame) {
	for _, f := range frames {
		l.out.send(outgoing{alone: true, Frame: f})
	}
}

// watch waits for what ends the link: that writing or reading does, silence, or
// stop.
func (l *link) watch(stop context.Context, wrote, read <-chan error) wire.Cause {
	silence := time.NewTimer(wire.PeerTimeout)
	defer silence.Stop()
	unwelcome := time.NewTimer(welcomeWithin)
	defer unwelcome.Stop()
	var broken <-chan time.Time
	for {
		select {
		case err := <-read:
			return l.causeOf(err)
		case err := <-wrote:
			if errors.Is(err, errSlow) || errors.Is(err, os.ErrDeadlineExceeded) {
				return wire.CauseSlow
			}
			// A replica that closes the link says why, and that is still to be
			// read.
			broken = time.After(time.Second)
		case <-broken:
			return wire.CauseLost
		case <-silence.C:
			left := l.peerTimeout() - l.sock.silence()
			if left <= 0 {
				return wire.CauseTimeout
			}
			silence.Reset(left)
		case <-unwelcome.C:
			if l.welcomed() == nil {
				return wire.CauseTimeout
			}
		case <-stop.Done():
			return l.goodbye(read)
		}
	}
}

// goodbye lets the scrapes in flight end, and the replica close the link.
func (l *link) goodbye(read <-chan error) wire.Cause {
	l.drain("stopping")
	lingering := time.After(linger)
	latest := time.After(stopWithin)
	for lingering != nil || l.inflight() > 0 {
		select {
		case <-read:
			return wire.CauseAgentStopped
		case <-lingering:
			lingering = nil
		case <-l.removed:
		case <-latest:
			return wire.CauseAgentStopped
		}
	}
	return wire.CauseAgentStopped
}

// drain tells the replica to send nothing new this way.
func (l *link) drain(cause string) {
	payload := wire.MarshalControl(&wire.Drain{Cause: cause})
	l.out.send(outgoing{Frame: wire.Frame{Type: wire.TypeDrain, Payload: payload}})
}

// close ends the connection, and the link's life. A peer that can still listen
// is sent what is queued and told why.
func (l *link) close(cause wire.Cause, end context.CancelFunc) {
	switch cause {
	case wire.CauseProtocol, wire.CauseAgentStopped:
		// Close waits for the peer's word, 5 s long; CloseNow would wait with it.
		impatient := time.AfterFunc(time.Second, func() { l.sock.Close() })
		defer impatient.Stop()
		end()
		<-l.out.done
		l.conn.Close(websocket.StatusCode(cause.Code()), cause.String())
	}
	l.sock.Close() // first, or TLS would wait to say goodbye
	l.conn.CloseNow()
	end()
}

// causeOf is the cause that the end of reading means.
func (l *link) causeOf(err error) wire.Cause {
	if errors.Is(err, errProtocol) || websocket.CloseStatus(err) == websocket.StatusProtocolError {
		l.logger().Error("the replica and this agent do not understand each other", "err", err)
		return wire.CauseProtocol
	}
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		l.parting = printable(wire.CloseDetail(closed.Reason))
	}
	cause := wire.CauseOf(int(websocket.CloseStatus(err)))
	if cause == wire.CauseAgentStopped {
		return wire.CauseLost // a plain goodbye of something in between: it was not us
	}
	return cause
}

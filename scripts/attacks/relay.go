package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// A hostileRelay is what the agent dials in place of one.
type hostileRelay struct {
	*trial
	addr  string
	links chan *hostileLink
	// refuse, if set, answers a dial in place of the 101.
	refuse http.HandlerFunc

	mu     sync.Mutex
	dialed []time.Time
}

// A hostileLink is its end of a link.
type hostileLink struct {
	*trial
	conn     *websocket.Conn
	frames   chan wire.Frame // what the agent says after its targets, but PONGs
	ended    chan struct{}
	status   string
	scrape   wire.ScrapeID
	lastPong atomic.Uint64 // the token of it
}

// follower is the agent that the hostile relay has.
const follower = "follower"

// startRelay serves a hostile relay until the trial ends.
func (t *trial) startRelay(refuse http.HandlerFunc) *hostileRelay {
	r := &hostileRelay{trial: t, links: make(chan *hostileLink, 1000), refuse: refuse}
	r.addr = t.Serve(r)
	return r
}

func (r *hostileRelay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.dialed = append(r.dialed, time.Now())
	r.mu.Unlock()
	if r.refuse != nil {
		r.refuse(w, req)
		return
	}
	conn, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return
	}
	conn.SetReadLimit(1 << 20)
	l := &hostileLink{trial: r.trial, conn: conn, frames: make(chan wire.Frame, 100_000), ended: make(chan struct{})}
	reading := make(chan struct{})
	go func() { defer close(reading); l.read(r.links) }()
	r.Cleanup(func() { _ = conn.CloseNow(); <-reading })
}

// dials are the times at which the agent came.
func (r *hostileRelay) dials() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.dialed)
}

// read hands the link over once the agent has said who it is and what it has.
func (l *hostileLink) read(to chan<- *hostileLink) {
	defer close(l.ended)
	var list wire.TargetParts
	for {
		_, message, err := l.conn.Read(context.Background())
		if err != nil {
			l.status = closing(err)
			return
		}
		for len(message) > 0 {
			f, rest, err := wire.Next(message)
			if err != nil {
				l.status = "the agent sent " + err.Error()
				return
			}
			message = rest
			switch f.Type {
			case wire.TypeHello:
			case wire.TypePong:
				if p, err := wire.ParsePing(f.Payload); err == nil {
					l.lastPong.Store(p.Token)
				}
			case wire.TypeTargets:
				if whole, err := list.Add(f.Payload); err == nil && whole {
					list.Drop()
					to <- l
				}
			default:
				f.Payload = append([]byte(nil), f.Payload...)
				select {
				case l.frames <- f:
				default: // nobody looks at so many
				}
			}
		}
	}
}

func (l *hostileLink) send(frames ...wire.Frame) {
	var message []byte
	for _, f := range frames {
		message = f.Append(message)
	}
	l.write(message)
}

func (l *hostileLink) write(message []byte) {
	ctx, cancel := context.WithTimeout(l.Ctx, rig.Patience)
	defer cancel()
	_ = l.conn.Write(ctx, websocket.MessageBinary, message)
}

// welcome is what an honest relay says.
func welcome() wire.Welcome {
	return wire.Welcome{Replica: wire.NewID[wire.ReplicaID](), Link: wire.NewID[wire.LinkID](), Epoch: 7, Registered: true,
		HeartbeatMillis: wire.Heartbeat.Milliseconds(), PeerTimeoutMillis: wire.PeerTimeout.Milliseconds(),
		MaxInflightTarget: 64, MaxInflightAgent: 256, Replicas: 1}
}

func (l *hostileLink) welcome(w wire.Welcome) *hostileLink {
	l.send(wire.Frame{Type: wire.TypeWelcome, Payload: wire.MarshalControl(w)})
	return l
}

// request asks for a target, with a second to answer.
func (l *hostileLink) request(q wire.Request) wire.ScrapeID {
	l.scrape++
	if q.Remaining == 0 {
		q.Remaining = time.Second
	}
	if q.Tenant == "" {
		q.Tenant = wire.DefaultTenant
	}
	if q.Agent == "" {
		q.Agent = follower
	}
	l.send(wire.Frame{Type: wire.TypeRequest, Attempt: 1, Scrape: l.scrape, Payload: q.Append(nil)})
	return l.scrape
}

// answered is how the agent ended a scrape: the reason of its END or NACK, and how
// much came before.
func (l *hostileLink) answered(id wire.ScrapeID) string {
	size := 0
	for {
		select {
		case f := <-l.frames:
			if f.Scrape != id {
				continue
			}
			switch f.Type {
			case wire.TypeData:
				size += len(f.Payload)
			case wire.TypeNack:
				if n, err := wire.ParseNack(f.Payload); err == nil {
					return "NACK " + n.Reason.String()
				}
			case wire.TypeEnd:
				e, _ := wire.ParseEnd(f.Payload)
				if e.Failure != nil {
					return "END " + e.Failure.Reason.String()
				}
				return fmt.Sprintf("END ok after %d bytes", size)
			}
		case <-l.ended:
			return "closed " + l.status
		case <-time.After(10 * time.Second):
			return "no answer"
		}
	}
}

func (l *hostileLink) closes(within time.Duration) string {
	select {
	case <-l.ended:
		return l.status
	case <-time.After(within):
		return "open"
	}
}

// follow starts an agent that dials a hostile relay.
func (t *trial) follow(r *hostileRelay) *agent {
	return t.agentDialing(follower, r.addr, "FARSCRAPE_TARGETS="+t.stack.targets.urls(follower))
}

// linked starts an agent and returns its first link, before any WELCOME.
func (t *trial) linked() (*hostileRelay, *agent, *hostileLink) {
	r := t.startRelay(nil)
	a := t.follow(r)
	return r, a, r.next()
}

// next is the next link.
func (r *hostileRelay) next() *hostileLink {
	select {
	case l := <-r.links:
		return l
	case <-time.After(rig.Patience):
		r.Fatal("the agent does not link")
	case <-r.Ctx.Done():
		r.Fatal("interrupted")
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// attacker is the name of the agent whose token the attacker holds.
const attacker = "mallory"

// ofAttacker is what the attacker's targets answer, if nothing else is said.
const (
	ofAttacker = "# mallory's\n"
	ofHonest   = "# honest's\n"
)

// A guise is what a hostile agent shows of itself. The zero value is the
// attacker as an honest agent with one target would be.
type guise struct {
	name    string // attacker, if empty
	pattern string // the token is for, not for the name
	tenant  string
	token   string // instead of one that is minted

	certificate *certtest.Pair // shown beside the token; nil: none
	tokenless   bool           // show no token
	instance    wire.InstanceID
	epoch       uint64
	shared      bool
	targets     []wire.Target
	fields      http.Header // of the upgrade, in place of the usual
	mute        bool        // no pongs
	deaf        bool        // reads nothing after the WELCOME
}

// A peer is a hostile agent's link.
type peer struct {
	*trial
	guise
	conn    *websocket.Conn
	socket  net.Conn // beneath it
	welcome chan *wire.Welcome
	ended   chan struct{}
	status  string        // why, once it has ended
	told    string        // and what the relay said to it
	over    chan struct{} // closed with the trial
	credit  chan int64    // what came by CREDIT, of whatever scrape

	mu     sync.Mutex
	answer func(*peer, wire.Frame) // to a REQUEST; nil: a small body
	asked  int
	pings  int
}

// upgrade opens a link to a replica up to the 101. Else p is nil, and seen says
// how it was refused.
func (t *trial) upgrade(replica int, g guise) (p *peer, seen string) {
	return t.upgradeAt(t.stack.Replicas[replica].Addr, g)
}

func (t *trial) upgradeAt(addr string, g guise) (p *peer, seen string) {
	if g.name == "" {
		g.name = attacker
	}
	if g.instance == "" {
		g.instance = wire.NewID[wire.InstanceID]()
	}
	if g.token == "" && !g.tokenless {
		name := g.name
		if g.pattern != "" {
			name = g.pattern
		}
		g.token = t.stack.mint(token.Claims{Role: token.Agent, Name: name, Tenant: g.tenant})
	}
	if g.targets == nil {
		g.targets = []wire.Target{{Name: small, Scheme: "http", Port: 9100, Path: "/metrics"}}
	}
	header := http.Header{wire.HeaderAgent: {g.name}}
	if g.token != "" {
		header.Set("Authorization", "Bearer "+g.token)
	}
	for name, values := range g.fields {
		header[name] = values
	}
	p = &peer{trial: t, guise: g, welcome: make(chan *wire.Welcome, 16), ended: make(chan struct{}), over: make(chan struct{}), credit: make(chan int64, 1000)}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		if conn, err = new(net.Dialer).DialContext(ctx, network, addr); err == nil {
			p.socket, err = t.stack.secured(ctx, conn, g.certificate)
		}
		return p.socket, err
	}}}
	ctx, cancel := context.WithTimeout(t.Ctx, 15*time.Second)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, "ws://"+addr+wire.ConnectPath, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{wire.Subprotocol}, HTTPHeader: header,
	})
	if err != nil {
		return nil, refused(resp, err)
	}
	p.conn = conn
	conn.SetReadLimit(1 << 20)
	reading := make(chan struct{})
	go func() { defer close(reading); p.read() }()
	t.Cleanup(func() { close(p.over); _ = conn.CloseNow(); <-reading })
	return p, "101"
}

func refused(resp *http.Response, err error) string {
	switch {
	case resp == nil && ofTLS(err):
		return "TLS refuses"
	case resp == nil:
		return "no answer: " + err.Error()
	}
	reason := resp.Header.Get(wire.HeaderError)
	if reason == "" {
		reason = "-"
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, reason)
}

// introduce says HELLO and TARGETS.
func (p *peer) introduce() {
	p.hello(p.name)
	frames, err := wire.MarshalTargets(p.targets)
	p.Must(err)
	for _, f := range frames {
		p.send(f)
	}
}

func (p *peer) hello(name string) {
	p.send(wire.Frame{Type: wire.TypeHello, Payload: wire.MarshalControl(wire.Hello{
		Agent: name, Instance: p.instance, Epoch: p.epoch, Shared: p.shared, Version: "attacks"})})
}

// link links a hostile agent, which must succeed, if not at once: an agent that
// has come and gone has to wait for a while.
func (t *trial) link(replica int, g guise) *peer {
	p, seen := t.tryLink(replica, g)
	for until := time.Now().Add(15 * time.Second); p == nil && seen == "503 overloaded" && time.Now().Before(until); {
		t.Wait(500 * time.Millisecond)
		p, seen = t.tryLink(replica, g)
	}
	if p == nil {
		t.Fatalf("no link: %s", seen)
	}
	return p
}

// tryLink links a hostile agent up to the WELCOME. Else p is nil, and seen says
// why not.
func (t *trial) tryLink(replica int, g guise) (p *peer, seen string) {
	p, seen = t.upgrade(replica, g)
	if p == nil {
		return nil, seen
	}
	p.introduce()
	select {
	case <-p.welcome:
		return p, "linked"
	case <-p.ended:
		return nil, p.status
	case <-time.After(rig.Patience):
		return nil, "no WELCOME"
	case <-t.Ctx.Done():
		return nil, "interrupted"
	}
}

// send sends frames in one message. That the link may be closed is not its
// business.
func (p *peer) send(frames ...wire.Frame) {
	var message []byte
	for _, f := range frames {
		message = f.Append(message)
	}
	p.write(message)
}

// write sends a message as it is, and reports whether it could.
func (p *peer) write(message []byte) bool {
	ctx, cancel := context.WithTimeout(p.Ctx, rig.Patience)
	defer cancel()
	return p.conn.Write(ctx, websocket.MessageBinary, message) == nil
}

// read serves the link until it ends.
func (p *peer) read() {
	defer close(p.ended)
	for {
		_, message, err := p.conn.Read(context.Background())
		if err != nil {
			p.status, p.told = closing(err), err.Error()
			return
		}
		for len(message) > 0 {
			f, rest, err := wire.Next(message)
			if err != nil {
				p.status = "the relay sent " + err.Error()
				return
			}
			message = rest
			p.take(f)
		}
		if p.deaf {
			<-p.over
		}
	}
}

func (p *peer) take(f wire.Frame) {
	p.mu.Lock()
	answer := p.answer
	switch f.Type {
	case wire.TypeRequest:
		p.asked++
	case wire.TypePing:
		p.pings++
	}
	p.mu.Unlock()
	switch f.Type {
	case wire.TypePing:
		if !p.mute {
			p.send(wire.Frame{Type: wire.TypePong, Payload: f.Payload})
		}
	case wire.TypeWelcome:
		if w, err := wire.ParseWelcome(f.Payload); err == nil {
			select {
			case p.welcome <- w:
			default:
			}
		}
	case wire.TypeCredit:
		if n, err := wire.ParseCredit(f.Payload); err == nil {
			select {
			case p.credit <- int64(n):
			default:
			}
		}
	case wire.TypeRequest:
		if answer == nil {
			answer = sayHello
		}
		answer(p, f)
	}
}

// sayHello answers with a body of the attacker's own.
func sayHello(p *peer, f wire.Frame) {
	p.send(head(f, http.StatusOK), reply(f, wire.TypeData, []byte(ofAttacker)), end(f))
}

// answers has requests answered so from now on.
func (p *peer) answers(with func(*peer, wire.Frame)) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = with
	return p
}

// requests is how many came.
func (p *peer) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// closing is how a link ended: the WebSocket status and the word before any
// further text.
func closing(err error) string {
	closed, ok := errors.AsType[websocket.CloseError](err)
	if !ok {
		return "lost"
	}
	word, _, _ := strings.Cut(closed.Reason, ":")
	return strings.TrimSpace(fmt.Sprintf("%d %s", closed.Code, word))
}

// closes waits for the relay to end the link, and says how it did.
func (p *peer) closes(within time.Duration) string {
	select {
	case <-p.ended:
	case <-time.After(within):
	case <-p.Ctx.Done():
		return "interrupted"
	}
	return p.now()
}

// now is how the relay has ended the link, or that it has not.
func (p *peer) now() string {
	select {
	case <-p.ended:
		return p.status
	default:
		return "open"
	}
}

package rig

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// CrowdTarget is the one target that each of a crowd's agents has.
const CrowdTarget = "t"

// A Crowd is thousands of agents in one process: as much of an agent as the
// protocol asks for, with one link and one target each.
type Crowd struct {
	Size   int
	Linked atomic.Int64 // now
	Dials  atomic.Int64 // in all
	PutOff atomic.Int64 // dials that were to be made again later

	url     string
	tokens  []string
	client  *http.Client
	body    func(agent string) []byte
	running sync.WaitGroup
}

// CrowdName is what number i of a crowd is called; crowd-* are all of them.
func CrowdName(i int) string { return fmt.Sprintf("crowd-%d", i) }

// StartCrowd starts n agents, which dial the relay or balancer at addr a little
// apart, by TLS if there is a conf: as many in a row with each token. Body is what an agent's target answers: no more
// than fits any first credit.
func (r *Rig) StartCrowd(n int, addr string, conf *tls.Config, tokens []string, body func(agent string) []byte) *Crowd {
	scheme := "ws://"
	if conf != nil {
		scheme = "wss://"
	}
	c := &Crowd{Size: n, url: scheme + addr + wire.ConnectPath, tokens: tokens, body: body,
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: conf}}}
	ctx, stop := context.WithCancel(r.Ctx)
	r.Cleanup(func() { stop(); c.running.Wait() })
	for i := range n {
		a := &crowdAgent{Crowd: c, name: CrowdName(i), token: tokens[i*len(tokens)/n], instance: wire.NewID[wire.InstanceID]()}
		c.running.Go(func() { a.run(ctx, time.Duration(i)*time.Millisecond) })
	}
	return c
}

// Whole reports whether all are linked.
func (c *Crowd) Whole() bool { return c.Linked.Load() == int64(c.Size) }

type crowdAgent struct {
	*Crowd
	name     string
	token    string
	instance wire.InstanceID
	epoch    uint64
	conn     *websocket.Conn
}

// run keeps a link, after a while, with the real agent's backoff: eager for 5 s
// after a loss, and then twice as long each time, up to 30 s.
func (a *crowdAgent) run(ctx context.Context, after time.Duration) {
	wait, lost := after, time.Now()
	for failures := 0; ; failures++ {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		within, was := a.link(ctx)
		if was {
			lost, failures = time.Now(), 0
		}
		switch {
		case within > 0:
			wait = rand.N(within)
		case time.Since(lost) < 5*time.Second:
			wait = rand.N(time.Second)
		default:
			wait = rand.N(min(30*time.Second, 500*time.Millisecond<<min(failures, 6)))
		}
	}
}

// link dials once and serves until the link ends. It says when a replica wants
// it back, and whether it was linked.
func (a *crowdAgent) link(ctx context.Context) (within time.Duration, was bool) {
	a.Dials.Add(1)
	dialing, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, resp, err := websocket.Dial(dialing, a.url, &websocket.DialOptions{
		HTTPClient: a.client, Subprotocols: []string{wire.Subprotocol},
		HTTPHeader: http.Header{"Authorization": {"Bearer " + a.token}, wire.HeaderAgent: {a.name}},
	})
	if err != nil {
		if resp != nil {
			if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
				a.PutOff.Add(1)
				return time.Duration(s) * time.Second, false
			}
		}
		return 0, false
	}
	defer conn.CloseNow()
	conn.SetReadLimit(wire.MaxMessage)
	a.conn = conn
	if a.introduce(ctx) != nil || a.next(ctx) != nil { // up to the WELCOME
		return 0, false
	}
	a.Linked.Add(1)
	defer a.Linked.Add(-1)
	for a.next(ctx) == nil {
	}
	return 0, true
}

func (a *crowdAgent) introduce(ctx context.Context) error {
	hello := wire.MarshalControl(&wire.Hello{Agent: a.name, Instance: a.instance, Epoch: a.epoch, Version: "crowd"})
	targets, err := wire.MarshalTargets([]wire.Target{{Name: CrowdTarget, Scheme: "http", Path: "/metrics", Port: 1}})
	if err != nil {
		return err
	}
	return a.send(ctx, append([]wire.Frame{{Type: wire.TypeHello, Payload: hello}}, targets...)...)
}

func (a *crowdAgent) send(ctx context.Context, frames ...wire.Frame) error {
	var message []byte
	for _, f := range frames {
		message = f.Append(message)
	}
	return a.conn.Write(ctx, websocket.MessageBinary, message)
}

// next reads one message and answers its frames.
func (a *crowdAgent) next(ctx context.Context) error {
	_, message, err := a.conn.Read(ctx)
	for err == nil && len(message) > 0 {
		var f wire.Frame
		if f, message, err = wire.Next(message); err != nil {
			break
		}
		switch f.Type {
		case wire.TypePing:
			err = a.send(ctx, wire.Frame{Type: wire.TypePong, Payload: f.Payload})
		case wire.TypeWelcome:
			var w *wire.Welcome
			if w, err = wire.ParseWelcome(f.Payload); err == nil && w.Epoch != 0 {
				a.epoch = w.Epoch
			}
		case wire.TypeRequest:
			err = a.answer(ctx, f)
		}
	}
	return err
}

// answer answers at once: the body fits any first credit.
func (a *crowdAgent) answer(ctx context.Context, f wire.Frame) error {
	frame := func(t wire.Type, payload []byte) wire.Frame {
		return wire.Frame{Type: t, Attempt: f.Attempt, Scrape: f.Scrape, Payload: payload}
	}
	head := wire.Head{Status: http.StatusOK, Header: []wire.Field{{Name: "Content-Type", Value: "text/plain"}}}
	return a.send(ctx, frame(wire.TypeHead, head.Append(nil)),
		frame(wire.TypeData, a.body(a.name)), frame(wire.TypeEnd, wire.End{}.Append(nil)))
}

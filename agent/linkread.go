package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// read takes messages off the socket until it ends. It holds a buffer only
// while there is a message.
func (l *link) read(life context.Context) error {
	for {
		kind, r, err := l.conn.Reader(context.Background())
		if err != nil {
			return err
		}
		if kind != websocket.MessageBinary {
			return fmt.Errorf("%w: a text message", errProtocol)
		}
		buffer := l.agent.messages.Get().(*[wire.MaxMessage]byte)
		n, err := fill(r, buffer[:])
		if err == nil { // as long as may be: only its end may follow
			if n, _ := r.Read(make([]byte, 1)); n > 0 {
				return fmt.Errorf("%w: a message of more than %d bytes", errProtocol, wire.MaxMessage)
			}
			err = io.EOF
		}
		if errors.Is(err, io.EOF) {
			err = l.frames(life, buffer[:n])
		}
		l.agent.messages.Put(buffer)
		if err != nil {
			return err
		}
	}
}

// frames handles the frames of one message, of which nothing is kept.
func (l *link) frames(life context.Context, message []byte) error {
	for len(message) > 0 {
		f, rest, err := wire.Next(message)
		if err == nil {
			err = l.frame(life, f)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		message = rest
	}
	return nil
}

func (l *link) frame(life context.Context, f wire.Frame) error {
	switch f.Type {
	case wire.TypePing:
		return l.ping(f.Payload)
	case wire.TypeWelcome:
		return l.welcomeCame(f.Payload)
	case wire.TypeDrain:
		return l.drainCame(f.Payload)
	case wire.TypeToken:
		return l.tokenCame(f.Payload)
	case wire.TypeNotice:
		return l.noticeCame(f.Payload)
	case wire.TypeRequest:
		l.request(life, f)
	case wire.TypeCredit:
		n, err := wire.ParseCredit(f.Payload)
		if s := l.scrape(f); s != nil && err == nil {
			s.credit.add(n)
		}
		return err
	case wire.TypeCancel:
		if s := l.scrape(f); s != nil {
			s.cancel()
		}
	default:
		if f.Type < wire.FirstOptional {
			return fmt.Errorf("%v is not for agents", f.Type)
		}
	}
	return nil
}

// ping answers a PING, and learns from it how many replicas there are.
func (l *link) ping(payload []byte) error {
	p, err := wire.ParsePing(payload)
	if err != nil {
		return err
	}
	l.out.answer(payload)
	l.agent.connector.replicasAlive(int(p.Replicas))
	return nil
}

// welcomeCame takes a WELCOME: the link works, or is now in the directory.
func (l *link) welcomeCame(payload []byte) error {
	w, err := wire.ParseWelcome(payload)
	if err != nil {
		return err
	}
	l.mu.Lock()
	first := l.welcome == nil
	l.welcome = w
	if first {
		l.since = time.Now()
		l.log = l.log.With("link", printable(string(w.Link)), "replica", printable(string(w.Replica)))
	}
	l.mu.Unlock()
	if w.Epoch != 0 {
		l.agent.epoch.Store(w.Epoch)
	}
	l.agent.limiter.limit(w.MaxInflightAgent, w.MaxInflightTarget)
	if first {
		l.logger().Info("linked", "registered", w.Registered, "epoch", w.Epoch)
		l.aside(l.tellUnwritten)
	} else {
		l.logger().Info("welcomed again", "registered", w.Registered, "epoch", w.Epoch)
	}
	l.agent.connector.replicasAlive(w.Replicas)
	l.changed()
	return nil
}

// drainCame takes a DRAIN: the connector opens another link.
func (l *link) drainCame(payload []byte) error {
	d, err := wire.ParseDrain(payload)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.draining, l.exiting = true, d.Cause == "shutdown"
	l.mu.Unlock()
	l.logger().Info("the replica drains this link", "cause", printable(d.Cause), "within_ms", d.WithinMillis)
	l.changed()
	return nil
}

package link

import (
	"context"
	"errors"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// What is due when, from the upgrade on, however slowly it drips.
const (
	helloTimeout     = 5 * time.Second
	handshakeTimeout = 10 * time.Second // the whole target list
)

// registerTimeout bounds the wait for the directory before a link is welcomed
// as local only.
const registerTimeout = time.Second

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
			case f.Type < wire.FirstOptional, f.Type == wire.TypeChange:
				err = errors.New("a frame before HELLO and TARGETS, or of a change of these")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return l.register()
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
	entry := wire.Entry{
		AgentKey: l.key, Instance: l.hello.Instance, Epoch: l.hello.Epoch,
		Link: l.id, Replica: l.links.Replica,
		Shared: l.hello.Shared, Ephemeral: l.hello.Ephemeral, Features: l.hello.Features, Yielding: l.claims.IsGlob(), Addresses: l.claims.Addresses,
		Version: l.hello.Version, RemoteAddr: l.remoteAddr,
		Connected: l.connected, TokenExpiry: l.toldExpiry(l.claims.Expires), List: l.list,
	}
	l.startBeat()
	l.links.add(l)
	l.takeBack(l.links.Revoked.Now()) // since it was admitted, when nobody found it here
	l.unlist(l.links.currentTrust())
	if l.isClosed() {
		return errClosed
	}
	ctx, cancel := context.WithTimeout(l.links.base, registerTimeout)
	defer cancel()
	epoch, err := l.links.Directory.Register(ctx, entry)
	switch {
	case errors.Is(err, wire.ErrSuperseded), errors.Is(err, wire.ErrNameTaken):
		l.outdone(err)
		return err
	case errors.As(err, new(*wire.LimitError)):
		return &refusedError{err}
	case err != nil:
		l.log.Warn("linked, but local only until the directory is back", "err", err)
	}
	l.links.Changed(l.key, l.list.All())
	l.welcome(epoch, err == nil)
	l.recordLinked(err == nil)
	l.log.Info("linked", "instance", l.hello.Instance, "epoch", epoch, "targets", l.list.Len(),
		"version", l.hello.Version, "remote_addr", l.remoteAddr, "token_id", l.claims.ID)
	return nil
}

// welcome tells the agent where it stands. The directory's word may come before
// the time-out of asking it does: then it stays.
func (l *Link) welcome(epoch uint64, registered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.advanceLocked(serving) {
		l.linked = true
	} else if !registered {
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
		Features:          wire.ReplicaFeatures(),
	})})
}

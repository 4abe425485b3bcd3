package e2e

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// comeAndGo opens and closes n links with random names, so many at once: a
// third says goodbye, a third just goes, and a third goes before HELLO.
func (s *stack) comeAndGo(t *testing.T, addr, token string, n, at int) {
	t.Helper()
	var all sync.WaitGroup
	places := make(chan struct{}, at)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if err := comeAndGoOnce(client, addr, token, i%3); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func comeAndGoOnce(client *http.Client, addr, token string, how int) error {
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	name := "x" + string(wire.NewID[wire.LinkID]()) + "x"
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+wire.ConnectPath, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{wire.Subprotocol},
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}, wire.HeaderAgent: {name}},
	})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	if how == 0 {
		return nil
	}
	hello := wire.Frame{Type: wire.TypeHello, Payload: wire.MarshalControl(wire.Hello{
		Agent: name, Instance: wire.NewID[wire.InstanceID](), Version: "e2e", Ephemeral: how == 2,
	})}.Append(nil)
	if err := conn.Write(ctx, websocket.MessageBinary, wire.Frame{Type: wire.TypeTargets, Payload: []byte(`{"targets":[]}`)}.Append(hello)); err != nil {
		return err
	}
	if _, _, err := conn.Read(ctx); err != nil { // WELCOME
		return err
	}
	if how == 1 {
		return nil
	}
	drain := wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "stopping"})}
	if err := conn.Write(ctx, websocket.MessageBinary, drain.Append(nil)); err != nil {
		return err
	}
	if _, _, err := conn.Read(ctx); err != nil && !strings.Contains(err.Error(), "agent_stopped") {
		return err
	}
	return nil
}

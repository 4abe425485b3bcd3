package agent

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestAPongComesBeforeAllElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.backlog = 0
		start(t, relay.network, serve(t, text(strings.Repeat("x", 20*dataSize))))
		l := relay.link()
		l.welcome(1)
		l.request("app", func(q *wire.Request) { q.Credit, q.Remaining = wire.MaxWindow, time.Minute })
		synctest.Wait()
		ping := wire.Ping{Token: 42, Replicas: 1}.Append(nil)
		l.send(wire.Frame{Type: wire.TypePing, Payload: ping})
		synctest.Wait()
		for i := range 4 { // what is in the socket goes first
			message := <-l.frames
			if message[0].Type == wire.TypePong {
				if string(message[0].Payload) != string(ping) {
					t.Errorf("the payload is %x", message[0].Payload)
				}
				return
			}
			if i == 3 {
				t.Error("no PONG in four messages")
			}
		}
	})
}

func TestAReplicaThatReadsNothingDoesNotMakeTheQueueGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.backlog = 0
		a := start(t, relay.network, serve(t, text("up")))
		l := relay.link()
		l.welcome(1)
		for range 200 {
			var frames []byte
			for range 100 {
				frames = wire.Frame{Type: wire.TypeRequest, Scrape: wire.NewScrapeID(), Attempt: 1, Payload: []byte("bad")}.Append(frames)
			}
			if l.conn.Write(context.Background(), websocket.MessageBinary, frames) != nil {
				break
			}
		}
		go func() {
			for range l.frames { // the writer finds out once it can write again
			}
		}()
		<-l.closed
		close(l.frames)
		synctest.Wait()
		if got := reconnects(t, a); !strings.Contains(got, `cause="slow"} 1`) {
			t.Errorf("counted %s", got)
		}
	})
}

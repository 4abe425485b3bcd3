package agent

import (
	"testing"
	"testing/synctest"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestAScrapeIsAnsweredInOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, serve(t, text("up 1\n")))
		l := relay.link()
		l.welcome(1)
		id := l.request("app")
		message := <-l.frames
		if len(message) != 3 {
			t.Fatalf("%d frames in the first message, want HEAD, DATA and END", len(message))
		}
		l.pending = message
		r := l.reply(id)
		if r.reason() != wire.OK || r.head.Status != 200 || string(r.body) != "up 1\n" || r.header("Content-Length") != "5" || r.acks != 0 {
			t.Errorf("got %+v", r)
		}
	})
}

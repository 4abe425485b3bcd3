package agent

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestDataKeepsWithinItsCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("0123456789", 10_000)
		l := linked(t, text(body))
		id := l.request("app", func(q *wire.Request) { q.Credit = 10 })
		l.expect(wire.TypeHead)
		var got []byte
		for _, grant := range []uint32{0, 1, 5_000, 60_000} {
			l.credit(id, grant)
			synctest.Wait()
			want := len(got) + int(grant)
			if len(got) == 0 {
				want = 10
			}
			for len(got) < want {
				got = append(got, l.expect(wire.TypeData).Payload...)
			}
			if len(got) != want || len(l.frames) > 0 {
				t.Fatalf("%d bytes came, %d were granted", len(got), want)
			}
		}
		l.credit(id, 1<<31)
		for len(got) < len(body) {
			got = append(got, l.expect(wire.TypeData).Payload...)
		}
		if end, err := wire.ParseEnd(l.expect(wire.TypeEnd).Payload); end.Failure != nil || err != nil || string(got) != body {
			t.Errorf("%v, %v after %d bytes", end, err, len(got))
		}
	})
}

func TestABodyAsLongAsItsCreditNeedsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, text(strings.Repeat("x", 3*dataSize)))
		r := l.reply(l.request("app", func(q *wire.Request) { q.Credit = 3 * dataSize }))
		if r.reason() != wire.OK || len(r.body) != 3*dataSize {
			t.Errorf("%v after %d bytes", r.reason(), len(r.body))
		}
	})
}

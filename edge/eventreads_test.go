package edge

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// fill puts so many numbered events into the default tenant's journal.
func (j *fakeJournal) fill(n int) {
	for i := range n {
		j.happen("default", "edge-1", wire.EventLinked, i)
	}
}

// Who reads the journal from its beginning again and again reads no more of it than a
// token may, by streams and lists together, and slowly so; others read as before.
func TestReplaysOfEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := pipeBench(t)
		b.journal.fill(10_000)
		began := time.Now()
		for range 50 {
			r := follow(t, b.client, "http://relay", b.narrow, "", "0-0")
			_, _ = r.next()
			time.Sleep(time.Millisecond) // it writes what it may
			r.cut()
			synctest.Wait()
		}
		list := func(token, query string) (status int, reason string) {
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://relay/api/v1/events"+query, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := b.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			return resp.StatusCode, resp.Header.Get(wire.HeaderError)
		}
		refused := 0
		for i := range 50 { // each reads all of it, for nothing
			if status, reason := list(b.narrow, fmt.Sprintf("?agent=nobody-%d", i)); status != 200 {
				if refused++; reason != "overloaded" {
					t.Errorf("%d %s", status, reason)
				}
			}
		}
		most := eventReadsEach + int64(time.Since(began).Seconds()*2000)
		if n := b.journal.read.Load(); refused == 0 || n > most {
			t.Errorf("%d events were read, %d are the most; %d of 50 lists were refused", n, most, refused)
		}
		if got := follow(t, b.client, "http://relay", b.scraper, "", "0-0").numbers(10_000); len(got) == 0 {
			t.Error("another reads nothing")
		}
		r := follow(t, b.client, "http://relay", b.narrow, "", "0-0") // as it may
		if got := r.numbers(10_000); len(got) == 0 {
			t.Error("it never goes on")
		}
		if took := time.Since(began); took < time.Second || took > 20*time.Second {
			t.Errorf("it went on within %v", took)
		}
		r.cut()
		time.Sleep(time.Minute)
		if status, reason := list(b.narrow, ""); status != 200 {
			t.Errorf("later: %d %s", status, reason)
		}
	})
}

// A replica that drains does not wait for who reads the whole journal slowly.
func TestADrainEndsAReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, drain := pipeBench(t)
		b.journal.fill(10_000)
		r := follow(t, b.client, "http://relay", b.narrow, "", "0-0")
		_ = r.numbers(1)
		synctest.Wait() // its writes wait
		drain()
		n := 0
		for {
			if _, ok := r.next(); !ok {
				break
			}
			n++
		}
		if r.lines.Err() != nil || n > 1000 {
			t.Errorf("%d events more, then %v", n, r.lines.Err())
		}
	})
}

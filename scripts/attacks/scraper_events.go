package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// What one token reads of journals at a replica: the numbers of edge/eventreads.go.
const (
	readsAtOnce    = 80_000
	readsPerSecond = 1850
)

// replayAttacks are of scrapers that read a journal from its beginning all the time.
func replayAttacks() []attack {
	return []attack{{name: "streams-replayed", sent: "100 streams of events from the first of 10,000 on, 8 at once, each for 200 ms",
		expected: "no more events came than one token reads", run: replayJournal}}
}

func replayJournal(t *trial) string {
	const fill = `for i = 1, 10000 do redis.call('XADD', KEYS[1], '*', 'event', ARGV[1]) end return 1`
	t.Must(t.redis().Eval(t.Ctx, fill, []string{"farscrape:events:default"}, `{"kind":"closed","tenant":"default","agent":"victim","age_ms":0}`).Err())
	var events atomic.Int64
	began := time.Now()
	t.Note("%s", t.many(100, 8, func(int) string {
		ctx, cancel := context.WithTimeout(t.Ctx, 200*time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", t.stack.Replicas[0].URL("/api/v1/events?after=0-0"), nil)
		t.Must(err)
		req.Header = http.Header{"Authorization": {"Bearer " + t.token}, "Accept": {"text/event-stream"}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "no answer"
		}
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if bytes.HasPrefix(lines.Bytes(), []byte("data:")) {
				events.Add(1)
			}
		}
		return fmt.Sprint(resp.StatusCode)
	}))
	t.Note("%d events", events.Load())
	if n := events.Load(); float64(n) > readsAtOnce+readsPerSecond*time.Since(began).Seconds() {
		return fmt.Sprintf("%d events came", n)
	}
	return "no more events came than one token reads"
}

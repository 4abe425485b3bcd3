package edge

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// A block is what stands between two empty lines of a stream.
type block struct{ id, event, data, comment, retry string }

// A reader reads a stream of events as a browser does.
type reader struct {
	t      *testing.T
	resp   *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
	lastID string
}

// follow opens a stream, going on after lastID unless that is empty.
func follow(t *testing.T, client *http.Client, base, token, query, lastID string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/api/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, resp: resp, lines: bufio.NewScanner(resp.Body), cancel: cancel, lastID: lastID}
	t.Cleanup(r.cut)
	return r
}

// cut breaks the connection.
func (r *reader) cut() {
	r.cancel()
	_ = r.resp.Body.Close()
}

// next reads a block; false at the end of the stream.
func (r *reader) next() (b block, ok bool) {
	for r.lines.Scan() {
		line := r.lines.Text()
		if line == "" {
			return b, true
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			b.id, r.lastID = value, value
		case "event":
			b.event = value
		case "data":
			b.data = value
		case "retry":
			b.retry = value
		case "":
			b.comment = value
		default:
			r.t.Errorf("the stream has a line %q", line)
		}
	}
	return b, false
}

// numbers reads so many events, and tells their numbers; reset is one.
func (r *reader) numbers(n int) string {
	r.t.Helper()
	var all []string
	for len(all) < n {
		b, ok := r.next()
		if !ok {
			r.t.Fatalf("the stream has ended after %q: %v", all, r.lines.Err())
		}
		var e wire.Event
		switch {
		case b.data == "":
		case b.event != "":
			all = append(all, b.event)
		case json.Unmarshal([]byte(b.data), &e) != nil || e.ID.String() != b.id:
			r.t.Fatalf("%+v", b)
		default:
			all = append(all, e.Detail)
		}
	}
	return strings.Join(all, " ")
}

// placed reads until the stream has said where it begins.
func (r *reader) placed() {
	r.t.Helper()
	for {
		b, ok := r.next()
		if !ok {
			r.t.Fatal("the stream has ended")
		}
		if b.id != "" {
			return
		}
	}
}

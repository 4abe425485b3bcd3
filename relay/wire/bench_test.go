package wire_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// What the codec costs:
//
//	go test -run - -bench Codec -benchmem -count 10 ./relay/wire | tee new.txt; benchstat old.txt new.txt
func BenchmarkCodec(b *testing.B) {
	request := &wire.Request{
		Remaining: 10 * time.Second, Credit: wire.LocalWindow, Link: wire.NewID[wire.LinkID](),
		Tenant: wire.DefaultTenant, Agent: "edge-1.example.com", Target: "node",
		Header: []wire.Field{{Name: "Accept", Value: "text/plain"}, {Name: "Accept-Encoding", Value: "gzip"}, {Name: "User-Agent", Value: "Prometheus/3.5"}},
	}
	head := &wire.Head{Status: 200, Header: []wire.Field{
		{Name: "Content-Type", Value: "text/plain; version=0.0.4"}, {Name: "Content-Encoding", Value: "gzip"}, {Name: "Content-Length", Value: "2300"},
	}}
	data := bytes.Repeat([]byte("x"), 31<<10)
	for _, c := range []struct {
		name    string
		kind    wire.Type
		payload func(b []byte) []byte
		parse   func(payload []byte) error
	}{
		{"REQUEST", wire.TypeRequest, request.Append, func(p []byte) error { _, err := wire.ParseRequest(p); return err }},
		{"HEAD", wire.TypeHead, head.Append, func(p []byte) error { _, err := wire.ParseHead(p); return err }},
		{"DATA", wire.TypeData, func(b []byte) []byte { return append(b, data...) }, func([]byte) error { return nil }},
		{"END", wire.TypeEnd, wire.End{Took: time.Millisecond}.Append, func(p []byte) error { _, err := wire.ParseEnd(p); return err }},
	} {
		payload := c.payload(nil)
		frame := wire.Frame{Type: c.kind, Attempt: 1, Scrape: wire.NewScrapeID(), Payload: payload}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			var buffer, scratch []byte
			for b.Loop() {
				scratch = c.payload(scratch[:0])
				frame.Payload = scratch
				buffer = frame.Append(buffer[:0])
				f, _, err := wire.Next(buffer)
				if err == nil {
					err = c.parse(f.Payload)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

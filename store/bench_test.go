package store

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
)

// What it takes to read the record of an agent with two links and 10,000 targets,
// the first time and again:
//
//	go test -run - -bench Record ./store
func BenchmarkRecord(b *testing.B) {
	first := storetest.NewEntry("t", "a")
	var targets []wire.Target
	for i := range 10_000 {
		targets = append(targets, wire.Target{Name: fmt.Sprintf("target-%05d", i), Scheme: "http", Port: 9100, Path: "/metrics",
			Address: fmt.Sprintf("10.1.%d.%d:9100", i/250, i%250),
			Labels:  map[string]string{"job": "node", "site": "berlin", "rack": fmt.Sprint(i % 40), "team": "storage", "env": "production"}})
	}
	first.List = wire.NewTargetList(targets)
	second := first
	second.Link = wire.NewID[wire.LinkID]()
	line := func(l *wire.Entry) string { return fmt.Sprintf("%s 5 20 10 0 %s %s", l.Link, l.Instance, l.Replica) }
	fields := map[string]string{
		"links":                    line(&first) + "\n" + line(&second),
		"d:" + string(first.Link):  string(marshalEntry(&first, true)),
		"d:" + string(second.Link): string(marshalEntry(&second, true)),
	}
	lists := newTargetLists(maxTargetLists)
	read := func(b *testing.B) {
		r := reader{lists: lists}
		if got := r.decode(first.AgentKey, 15, fields); len(got.flaws) > 0 || len(got.agent.Links) != 2 {
			b.Fatal(got.flaws)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			lists = newTargetLists(maxTargetLists)
			read(b)
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			read(b)
		}
	})
}

// What it takes to write an event of a link that closed, in a pipeline of many, and
// what it takes in Redis:
//
//	go test -run - -bench Events -benchtime 200x ./store
func BenchmarkEvents(b *testing.B) {
	server := storetest.StartRedis(b)
	s, err := NewRedis(RedisConfig{URL: server.URL(), Replica: wire.NewID[wire.ReplicaID]()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.clients.close()
	part := journalPart{tenant: "t"}
	for i := range journalCall {
		part.events = append(part.events, storetest.NewEvent("t", fmt.Sprintf("edge-%d.example.com", i), i))
	}
	for b.Loop() {
		if !s.writeParts(b.Context(), []journalPart{part}) {
			b.Fatal("not written")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*journalCall), "ns/event")
	var kept, bytes float64
	if _, err := fmt.Sscan(server.Do("XLEN", "events:t")+" "+server.Do("MEMORY", "USAGE", "events:t"), &kept, &bytes); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(bytes/kept, "B/event")
}

// A benchKey is a Keyring of one key.
type benchKey string

func (k benchKey) KeyIDs() []string { return []string{string(k)} }

func (k benchKey) Derive(id, purpose string) []byte {
	derived := sha256.Sum256([]byte(id + purpose))
	return derived[:]
}

func BenchmarkSeal(b *testing.B) {
	from, to := wire.NewID[wire.ReplicaID](), wire.NewID[wire.ReplicaID]()
	for name, n := range map[string]int{"1KiB": 1 << 10, "64KiB": 64 << 10, "256KiB": 256 << 10} {
		e := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1, Seq: 1, From: from, Frames: make([]byte, n)}
		s := sealer{self: from}
		s.use(benchKey("aaaaaaaa"))
		chunk := e.Append(make([]byte, 0, maxChunk+wire.SealSize))
		b.Run("seal/"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				s.seal(chunk, to, nil)
			}
		})
		c := checker{self: to}
		c.use(s.keys, time.Now())
		b.Run("check/"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			sealed := s.seal(chunk, to, nil)
			got, err := wire.ParseEnvelope(sealed)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := c.check(got, sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

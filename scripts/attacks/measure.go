package main

import (
	"bytes"
	"os"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A usage is what all replicas use; memory is that of the largest.
type usage struct {
	goroutines, descriptors int
	resident                int // bytes
	live                    int // bytes of the heap after a collection
}

// usage measures, after a collection of garbage.
func (s *stack) usage() (u usage) {
	for _, r := range s.Replicas {
		r.CollectGarbage()
		u.goroutines += int(rig.Metric(r.Ops, "go_goroutines"))
		u.descriptors += r.Descriptors()
		u.resident = max(u.resident, r.Memory("VmRSS"))
		u.live = max(u.live, int(rig.Metric(r.Ops, "go_memstats_heap_alloc_bytes")))
	}
	return u
}

// What else may be left of an attack: connections that bystanders keep come and
// go, and a replica's pool of connections to Redis has grown (by 20 a client, where
// two processors are).
const (
	spareGoroutines  = 12
	spareDescriptors = 80
)

// back reports whether all is as it was before.
func (u usage) back(before usage, b bound) bool {
	return u.goroutines <= before.goroutines+spareGoroutines &&
		u.descriptors <= before.descriptors+spareDescriptors && u.live <= before.live+b.left<<20
}

// peak is the most that any one replica has had in memory since it was reset.
func (s *stack) peak() (most int) {
	for _, r := range s.Replicas {
		most = max(most, r.Memory("VmHWM"))
	}
	return most
}

// logged counts the lines in the logs of all replicas.
func (s *stack) logged() (lines int) {
	for _, r := range s.Replicas {
		b, _ := os.ReadFile(r.Log)
		lines += bytes.Count(b, []byte("\n"))
	}
	return lines
}

// A window is how bystanders fared in a span of time.
type window struct {
	fewest, asked, failed int // scrapes of the one with the fewest; of all, pages with them
	slowest               time.Duration
	why                   map[string]int
}

// window looks at all bystanders, or at those only who scrape.
func (s *stack) window(from, to time.Time, scrapesOnly bool) (w window) {
	w.why, w.fewest = make(map[string]int), -1
	for _, b := range s.load {
		if scrapesOnly && b.least != scrapeLeast {
			continue
		}
		all := b.between(from, to)
		if b.least == scrapeLeast && (w.fewest < 0 || len(all) < w.fewest) {
			w.fewest = len(all)
		}
		w.asked += len(all)
		w.slowest = max(w.slowest, p99(all))
		for _, a := range all {
			if a.err != nil {
				w.failed++
				w.why[b.name+": "+a.err.Error()]++
			}
		}
	}
	return w
}

// enough waits until every bystander has asked often enough since then.
func (s *stack) enough(since time.Time) {
	s.Poll(rig.Patience, func() bool {
		for _, b := range s.load {
			if len(b.between(since, time.Now())) < b.least {
				return false
			}
		}
		return true
	})
}

package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
)

func FuzzRecord(f *testing.F) {
	l := storetest.NewEntry("t", "a")
	f.Add(int64(1500), string(l.Link)+" 1000 2000 1000 0 "+string(l.Instance)+" "+string(l.Replica), string(l.Link), string(marshalEntry(&l, true)), "1200", "drained")
	l.List = wire.NewTargetList([]wire.Target{{Name: "../sd"}, {Name: "a", Address: `[::1%x "y/..]:80`}})
	f.Add(int64(1500), string(l.Link)+" 1000 2000 99999999999999999 0 "+string(l.Instance)+" "+string(l.Replica), string(l.Link), string(marshalEntry(&l, true)), "9223372036854775807", "\xff")
	f.Add(int64(1500), string(l.Link)+" 1000 4503599627370497 1000 0 "+string(l.Instance)+" "+string(l.Replica), string(l.Link), string(marshalEntry(&l, true)), "1200", "drained")
	f.Add(int64(1500), string(l.Link)+" 1000 2000 1000 0 "+string(l.Instance)+" "+string(l.Replica), string(l.Link), string(marshalEntry(&l, false)), "1200", "drained")
	f.Add(int64(0), "a 1 2 3 1 b c\na 1 2 3 0 b c\n\n x", "a", `{"targets":[{"labels":null}]}`, "", "")
	f.Fuzz(func(t *testing.T, now int64, links, link, details, seen, cause string) {
		now = max(min(now, maxMillis), 0) // Redis's clock is good
		key := wire.AgentKey{Tenant: "t", Agent: "a"}
		r := reader{lists: newTargetLists(maxTargetLists), judge: func(id leaseID) (verdict, time.Time) { return verdict(id % 3), time.Now() }}
		read := r.decode(key, now, map[string]string{"links": links, "d:" + link: details, "seen": seen, "close": cause, "claims": seen + " a:1"})
		a := read.agent
		if a == nil {
			return
		}
		if len(read.doubtful) > len(a.Links) {
			t.Errorf("%d links are doubtful, and %d live", len(read.doubtful), len(a.Links))
		}
		for _, l := range append(a.Links, a.Last) {
			if wire.CheckTargets(l.List.All()) != nil || !wire.ValidID(string(l.Link)) || !wire.ValidID(string(l.Instance)) || !wire.ValidID(string(l.Replica)) {
				t.Errorf("entry %+v", l)
			}
		}
		if a.AgentKey != key || a.Last.AgentKey != key {
			t.Errorf("agent %v, last entry %v", a.AgentKey, a.Last.AgentKey)
		}
		for i := range a.Links {
			if i > 0 && byEpoch(a.Links[i-1], a.Links[i]) > 0 {
				t.Error("links are not in the order they are asked in")
			}
			if younger(&a.Links[i], &a.Last) {
				t.Error("a live entry is younger than the last")
			}
		}
		a.Targets()
		if _, err := json.Marshal(a); err != nil {
			t.Error(err)
		}
	})
}

func FuzzNudge(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if links := splitLinks(b); len(links) != len(b)/wire.IDSize {
			t.Errorf("%d links of %d bytes", len(links), len(b))
		}
	})
}

func FuzzJournalEntry(f *testing.F) {
	e := storetest.NewEvent("t", "a", 1)
	f.Add(uint64(1500), string(marshalEvent(&e)))
	f.Add(uint64(1<<63), `{"kind":"later","tenant":"t","agent":"a","age_ms":1,"id":"9-9","time":"2000-01-01T00:00:00Z"}`)
	f.Fuzz(func(t *testing.T, millis uint64, text string) {
		id := wire.EventID{Millis: millis}
		e, err := unmarshalEvent("t", id, text)
		if err != nil {
			return
		}
		if e.ID != id || e.Tenant != "t" || e.Check() != nil || e.Time.UnixMilli() > int64(millis) {
			t.Errorf("%q is %+v", text, e)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Error(err)
		}
		again, err := unmarshalEvent("t", id, string(marshalEvent(&e)))
		if again.Time = e.Time; err != nil && time.Since(e.Time) < maxEventAge || err == nil && again != e {
			t.Errorf("%+v is written and read as %+v, %v", e, again, err)
		}
	})
}

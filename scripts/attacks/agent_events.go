package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// manyNames is how many made-up agents are refused at each of two replicas: more than a journal
// has events. otherEvents is how many refusals it has of one token: relay/recorder's.
const (
	manyNames   = 6000
	otherEvents = 250
)

// eventAttacks are of agents that would fill their tenant's journal.
func eventAttacks() []attack {
	return []attack{{name: "crowd-events", sent: "an agent links and goes 50 times; 12,000 made-up agents of one token are refused", bound: bound{lines: 120},
		expected: "no more than a token's part is told; another agent's event is still there", run: fillJournal}}
}

func fillJournal(t *trial) string {
	t.link(0, guise{name: "remembered"})
	t.Until(rig.Patience, "it is told", func() bool { return t.told("remembered", wire.EventLinked) == 1 })
	t.Note("flapping: %s", t.many(50, 1, func(i int) string {
		p, seen := t.tryLink(i%2, guise{name: "flapping"})
		if p != nil {
			_ = p.conn.CloseNow()
		}
		return seen
	}))
	client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	crowd := t.crowd()
	t.Note("crowd: %s", t.many(2*manyNames, 8, func(i int) string {
		req, err := http.NewRequest("GET", "http://"+t.stack.Replicas[i%2].Addr+wire.ConnectPath, nil)
		t.Must(err)
		req.Header = http.Header{"Authorization": {"Bearer " + crowd.token}, wire.HeaderAgent: {fmt.Sprint("crowd-", i)}}
		resp, err := client.Do(req)
		if err != nil {
			return "no answer"
		}
		_ = resp.Body.Close()
		return fmt.Sprint(resp.StatusCode)
	}))
	t.Until(rig.Patience, "the crowd is told of", func() bool { return t.told("crowd-*", wire.EventRefused) > 0 })
	t.Wait(listings) // the last is written
	part, still := "no more than a token's part is told", "another agent's event is still there"
	if n := t.told("crowd-*", wire.EventRefused); n > otherEvents {
		part = fmt.Sprintf("%d or more are told", n)
	}
	if t.told("remembered", wire.EventLinked) != 1 {
		still = "another agent's event has gone"
	}
	return part + "; " + still
}

// told is how many events of that kind the journal has of those agents, 1,000 at most.
func (t *trial) told(agents string, kind wire.EventKind) int {
	o := t.get(fmt.Sprintf("/api/v1/events?limit=1000&agent=%s&kind=%s", agents, kind))
	var list struct{ Events []wire.Event }
	if err := json.Unmarshal(o.body, &list); err != nil {
		t.Fatalf("events: %v", o)
	}
	return len(list.Events)
}

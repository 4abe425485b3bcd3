package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	attackFor      = 8 * time.Second
	changers       = 8
	changedTargets = 8000
	// supersededLists is how many times the lists of agents those may take in Redis that
	// they have just superseded.
	supersededLists = 3
)

// changeAttacks are of agents whose target lists change all the time.
func changeAttacks() []attack {
	return []attack{
		{name: "crowd-changes", sent: "8 made-up agents replace one target of their 8,000 after the other, as fast as it goes, for 8 s",
			expected: "no more changes were taken than of so many agents; Redis holds no more lists than it may",
			bound:    bound{memory: 160, left: 60, lines: 600}, run: changeLists},
		{name: "change-of-addresses", sent: "of 10,000 addresses 800 are others each time, as fast as it goes, for 8 s", expected: "open",
			bound: bound{memory: 160, left: 60, lines: 200}, run: changeAddresses},
		{name: "change-of-nothing", sent: "a change that removes a target that is not there", expected: "4008 refused", run: change(`{"removed":["nobody"]}`)},
		{name: "change-deep-json", sent: "a change of 60,000 brackets", expected: "4008 refused", run: change(strings.Repeat("[", 60_000))},
		{name: "change-doubled", sent: "a change with two targets of one name", expected: "4008 refused", run: change(`{"targets":[{"name":"a"},{"name":"a"}]}`)},
	}
}

func change(payload string) func(t *trial) string {
	return func(t *trial) string {
		p := t.link(0, guise{targets: manyTargets(10, 2)})
		p.send(wire.Frame{Type: wire.TypeChange, Payload: []byte(payload)})
		return p.closes(2 * time.Second)
	}
}

// changeLists replaces a target of each of some long lists, by another each time, as fast
// as the relay reads it.
func changeLists(t *trial) string {
	crowd := t.crowd()
	in, bytes := make([]*peer, changers), 0
	for i := range in {
		one := crowd
		one.name, one.targets = fmt.Sprintf("%s-%d", t.name, i), manyTargets(changedTargets, 2)
		one.targets[0].Path = fmt.Sprint("/of/", i) // so that each has a list of its own
		in[i], bytes = t.link(0, one), wire.NewTargetList(one.targets).Bytes()
	}
	before, began := t.stack.listsTaken(), time.Now()
	most, watched := t.listsInRedis(began.Add(attackFor))
	ended := t.many(len(in), len(in), func(i int) string {
		_ = in[i].socket.SetWriteDeadline(began.Add(attackFor))
		last := "t00001"
		for n := 0; ; n++ {
			c := wire.ListChange{Removed: []string{last}, Targets: []wire.Target{{Name: fmt.Sprint("new-", n)}}}
			last = c.Targets[0].Name
			f, _ := c.Frame()
			if _, err := in[i].socket.Write(message(f.Append(nil))); err != nil {
				return in[i].closes(time.Until(began.Add(attackFor)))
			}
		}
	})
	<-watched
	taken := t.stack.listsTaken() - before
	t.Note("%d changes, %s; %.1f MB of lists in Redis", taken, ended, float64(most.Load())/1e6)
	// Each counts for an eighth of its list, of 16 MiB and 512 KiB/s of each agent.
	may := float64(changers) * (16<<20 + 512<<10*time.Since(began).Seconds()) / (float64(bytes) / 8)
	switch {
	case float64(taken) > may+float64(3*changers):
		return fmt.Sprintf("%d changes were taken, of %.0f", taken, may)
	case most.Load() > int64((1+supersededLists)*changers*bytes):
		return fmt.Sprintf("Redis holds %d bytes of lists", most.Load())
	}
	return "no more changes were taken than of so many agents; Redis holds no more lists than it may"
}

// changeAddresses has the directory look through all that an agent claims, as often as
// it may.
func changeAddresses(t *trial) string {
	address := func(n, round int) wire.Target {
		return wire.Target{Name: fmt.Sprintf("t%05d", n), Address: fmt.Sprintf("host-%d-%d:9100", n, round), Path: "/"}
	}
	var all []wire.Target
	for n := range wire.MaxTargets {
		all = append(all, address(n, 0))
	}
	p, until := t.link(0, guise{targets: all}), time.Now().Add(attackFor)
	_ = p.socket.SetWriteDeadline(until)
	for round := 1; ; round++ {
		var c wire.ListChange
		for n := range 800 {
			c.Targets = append(c.Targets, address((round*800+n)%wire.MaxTargets, round))
		}
		f, ok := c.Frame()
		if !ok {
			t.Fatalf("a change of %d bytes", len(f.Payload))
		}
		if _, err := p.socket.Write(message(f.Append(nil))); err != nil {
			return p.closes(time.Until(until))
		}
	}
}

// listsInRedis watches until then how many bytes the target lists have that stand alone.
func (t *trial) listsInRedis(until time.Time) (most *atomic.Int64, watched <-chan struct{}) {
	c, done := t.redis(), make(chan struct{})
	most = new(atomic.Int64)
	go func() {
		defer close(done)
		for time.Now().Before(until) {
			var bytes int64
			for _, key := range c.Keys(t.Ctx, "farscrape:list:*").Val() {
				n, _ := c.HGet(t.Ctx, key, "bytes").Int64()
				bytes += n
			}
			most.Store(max(most.Load(), bytes))
			time.Sleep(100 * time.Millisecond)
		}
	}()
	return most, done
}

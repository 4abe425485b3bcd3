package agent

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// declaring has an agent declare these targets.
func (a *Agent) declaring(names ...string) {
	var targets []string
	for _, name := range names {
		targets = append(targets, name+"=http://host:9100/"+name)
	}
	a.config.Targets = strings.Join(targets, ",")
	a.reload()
}

func hundred(but ...string) (names []string) {
	for i := range 100 {
		names = append(names, fmt.Sprint("t", i))
	}
	return append(names, but...)
}

// A replica that can take it is told what has changed, any other the whole list.
func TestAChangeIsToldToWhomCanTakeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		a := start(t, relay.network, nil)
		older := relay.link()
		older.welcome(2)
		younger := relay.link()
		younger.welcome(2, func(w *wire.Welcome) { w.Features = []string{"extensions", wire.FeatureChanges} })

		a.declaring(hundred()...)
		older.expectTargets()
		younger.expectTargets() // all of it has changed
		time.Sleep(announceEvery)
		a.declaring(hundred("new")...)
		if targets := older.expectTargets(); len(targets) != 102 {
			t.Errorf("the older replica is told of %d targets", len(targets))
		}
		f := younger.expect(wire.TypeChange)
		c, err := wire.ParseChange(f.Payload)
		if err != nil || len(c.Removed) != 0 || len(c.Targets) != 1 || c.Targets[0].Name != "new" {
			t.Errorf("the younger one is told %s, %v", f.Payload, err)
		}

		time.Sleep(announceEvery)
		a.declaring(hundred()[:90]...)
		if c, err := wire.ParseChange(younger.expect(wire.TypeChange).Payload); err != nil || len(c.Removed) != 11 || len(c.Targets) != 0 {
			t.Errorf("the younger one is told %+v, %v", c, err)
		}
	})
}

// However often the targets change, the relay hears of it every five seconds at the most,
// and of what has changed back not at all.
func TestChangesAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		a := start(t, relay.network, nil)
		l := relay.link()
		l.welcome(1)
		l.stayAlive(1)
		began := time.Now()
		a.declaring("first")
		l.expectTargets()
		if late := time.Since(began); late > 0 {
			t.Errorf("the first change is told after %v", late)
		}
		for range 4 {
			time.Sleep(time.Second)
			a.declaring(fmt.Sprint("at-", time.Since(began)))
		}
		if targets := l.expectTargets(); len(targets) != 2 || targets[0].Name != "at-4s" || time.Since(began) != announceEvery {
			t.Errorf("after %v it is told %v", time.Since(began), targets)
		}
		a.declaring("to")
		a.declaring("at-4s") // and fro
		time.Sleep(announceEvery)
		a.declaring("last")
		if targets := l.expectTargets(); targets[1].Name != "last" {
			t.Errorf("it is told %v", targets)
		}
	})
}

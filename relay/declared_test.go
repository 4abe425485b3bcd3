package relay_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// watched counts what is written to the directory, and keeps the last.
type watched struct {
	counted
	updates atomic.Int64
	last    atomic.Pointer[wire.TargetList]
}

func (d *watched) Register(ctx context.Context, l wire.Entry) (uint64, error) {
	d.last.Store(l.List)
	return d.counted.Register(ctx, l)
}

func (d *watched) Update(link wire.LinkID, list *wire.TargetList) {
	d.updates.Add(1)
	d.last.Store(list)
	d.counted.Update(link, list)
}

func (d *watched) watch(c *relay.Config) {
	d.counted = c.Directory.(counted)
	c.Directory = d
}

// declare sends the list so often, or until the link is closed.
func (a *agent) declare(times int, lists ...[]wire.Target) {
	var messages [][]wire.Frame
	for _, list := range lists {
		frames, err := wire.MarshalTargets(list)
		if err != nil {
			a.t.Fatal(err)
		}
		messages = append(messages, frames)
	}
	for i := range times {
		for _, f := range messages[i%len(messages)] {
			a.send(f)
		}
	}
}

func TestAListThatIsTheSameIsNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d watched
		j := new(journal)
		r := newCluster(t, 1, d.watch, j.keep).replicas[0]
		one, two := []wire.Target{{Name: "one"}}, []wire.Target{{Name: "two"}}
		a := r.dial(dialOptions{targets: one})
		a.declare(50, one)
		a.declare(50, two)
		synctest.Wait()
		if n := d.updates.Load(); n != 1 {
			t.Errorf("%d changes were written to the directory", n)
		}
		if n := len(j.lines("targets changed")); n != 1 {
			t.Errorf("%d changes were logged", n)
		}
	})
}

func large(tag string) []wire.Target {
	all := make([]wire.Target, 2000)
	for i := range all {
		all[i] = wire.Target{Name: fmt.Sprintf("%s-%d", tag, i), Labels: make(map[string]string)}
		for l := range 20 {
			all[i].Labels[fmt.Sprint("l", l)] = fmt.Sprint(tag, i, l)
		}
	}
	return all
}

func TestLinksThatDeclareTheSameShareIt(t *testing.T) {
	var d watched
	r := newCluster(t, 1, d.watch).replicas[0]
	first := r.dial(dialOptions{targets: large("x")})
	one := d.last.Load()
	before := heapInUse()
	for range 3 {
		r.dial(dialOptions{targets: large("x"), instance: first.instance, epoch: first.welcome.Epoch})
		if d.last.Load() != one {
			t.Error("a second link's list is a list of its own")
		}
	}
	if after := heapInUse(); after > before+3<<20 {
		t.Errorf("three more links take %d KiB", (after-before)>>10)
	}
	runtime.KeepAlive(one)
}

func TestAnAgentsListsTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0] // 2 MiB a list
		var in []*agent
		for i := range 8 {
			time.Sleep(time.Minute)
			a, _, err := r.tryDial(dialOptions{shared: true, targets: large(fmt.Sprint(i))})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			select {
			case <-a.closed:
				a.closedWith(wire.CauseRefused)
			default:
				in = append(in, a)
			}
		}
		if len(in) != 6 { // of 0.68 MB each
			t.Errorf("%d lists were taken", len(in))
		}
		// One that goes makes room.
		_ = in[0].conn.CloseNow()
		time.Sleep(time.Minute)
		r.dial(dialOptions{shared: true, targets: large("y")})
		in[1].declare(1, large("z")) // in place of its own
		synctest.Wait()
		select {
		case <-in[1].closed:
			t.Errorf("a list in place of another is not taken: %s", in[1].reason)
		default:
		}
	})
}

// A new list that all links declare at the same time counts once, whichever of them
// is the first to have it decoded.
func TestLinksThatChangeTogetherShareIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1, func(c *relay.Config) { c.TargetLimits.Bytes = 800_000 }).replicas[0]
		first := r.dial(dialOptions{targets: large("x")})
		links := []*agent{first}
		for range 2 {
			links = append(links, r.dial(dialOptions{targets: large("x"), instance: first.instance, epoch: first.welcome.Epoch}))
		}
		list := large("y")
		for _, a := range links {
			go a.declare(1, list)
		}
		synctest.Wait()
		for _, a := range links {
			select {
			case <-a.closed:
				t.Errorf("a link is closed: %s", a.reason)
			default:
			}
		}
	})
}

// One token for a pattern makes up names, and each agent's lists are bounded: so
// must be all of them that are never whole.
func TestListsThatAreNeverWholeAreBoundedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		frames, err := wire.MarshalTargets(large("x"))
		if err != nil || len(frames) < 8 {
			t.Fatal(len(frames), err)
		}
		pattern := r.mint(token.Agent, "x-*")
		var read atomic.Int64
		var sending sync.WaitGroup
		hostile := r.mum(40, func(i int) dialOptions { return dialOptions{name: fmt.Sprint("x-", i), token: pattern} })
		for i, a := range hostile {
			sending.Go(func() {
				a.send(hello(dialOptions{name: fmt.Sprint("x-", i), instance: a.instance}))
				for _, f := range frames[:len(frames)-1] {
					if a.conn.Write(context.Background(), websocket.MessageBinary, f.Append(nil)) != nil {
						return
					}
					read.Add(1)
				}
			})
		}
		time.Sleep(4 * time.Second)
		if n, most := read.Load(), int64(16*len(frames)+24*2); len(hostile) != 40 || n > most {
			t.Errorf("%d frames of %d lists that are not whole were read, of one token; want %d at most", n, len(hostile), most)
		}
		r.dial(dialOptions{name: "neighbour", targets: large("n")})
		r.dial(dialOptions{name: "stranger", tenant: "another", targets: large("s")})
		for _, a := range hostile {
			<-a.closed
		}
		sending.Wait()
		r.dial(dialOptions{name: "x-1", token: pattern, targets: large("x")})
	})
}

// The directory counts what a tenant has. Nobody does while it is away, but each
// replica for itself.
func TestATenantsListsAreBoundedWithoutTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1, func(c *relay.Config) {
			c.Directory = away{c.Directory.(counted)}
			c.LinkLimits.TenantBytes = 4 << 20
		}).replicas[0]
		pattern := r.mint(token.Agent, "x-*")
		others := func(o *dialOptions) { o.targets = large(o.name) } // of 0.68 MB
		in := r.welcomed(pattern, 8, others)
		if len(in) != 4 {
			t.Errorf("%d lists of a pattern's agents were taken, in 3 MiB", len(in))
		}
		r.dial(dialOptions{name: "neighbour", targets: large("n")})
		r.dial(dialOptions{name: "stranger", tenant: "another", targets: large("s")})
		in[0].declare(1, large("z")) // in place of its own
		in[1].declare(1, append(large("x-1"), large("y")...))
		in[1].closedWith(wire.CauseRefused)
		if !strings.Contains(in[1].reason, "FARSCRAPE_TENANT_MAX_BYTES") {
			t.Errorf("it was told %q", in[1].reason)
		}
		_ = in[2].conn.CloseNow()
		time.Sleep(time.Second)
		if n := len(r.welcomed(pattern, 1, func(o *dialOptions) { o.name = "x-9" }, others)); n != 1 {
			t.Error("the room of links that closed is not given again")
		}
		select {
		case <-in[0].closed:
			t.Errorf("a list in place of another is not taken: %s", in[0].reason)
		default:
		}
	})
}

// Places for lists and places for long messages are not waited for in a circle: a
// fleet that has one token, and long lists, comes back at once.
func TestLongListsOfManyAgentsAllArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		pattern := r.mint(token.Agent, "x-*")
		var parts []wire.Frame
		for i, more := range []bool{true, true, false} {
			var targets []string
			for n := range 30 {
				targets = append(targets, fmt.Sprintf(`{"name":"target-of-a-name-that-fills-the-frame-%d-%d"}`, i, n))
			}
			parts = append(parts, wire.Frame{Type: wire.TypeTargets, Payload: fmt.Appendf(nil, `{"targets":[%s],"more":%v}`, strings.Join(targets, ","), more)})
		}
		var in []*agent
		for i := range 700 {
			o := dialOptions{name: fmt.Sprint("x-", i), token: pattern}
			a := r.mum(1, func(int) dialOptions { return o })
			if len(a) == 0 {
				t.Fatalf("agent %d is refused", i)
			}
			a[0].introduce(dialOptions{name: o.name, instance: a[0].instance, targets: []wire.Target{{Name: "one"}}})
			a[0].next(wire.TypeWelcome)
			in = append(in, a[0])
		}
		for _, part := range parts { // the first of all, then the second of all
			for _, a := range in {
				go a.send(part)
			}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(15 * time.Second)
		for i, a := range in {
			select {
			case <-a.closed:
				t.Fatalf("the link of agent %d is closed: %d %s", i, a.status, a.reason)
			default:
			}
		}
	})
}

// change is what makes one list of another.
func change(before, after []wire.Target) wire.Frame {
	f, _ := wire.NewTargetList(after).ChangesFrom(wire.NewTargetList(before)).Frame()
	return f
}

// What has changed of a list takes the place of the whole, is shared by the links as that
// is, and is what a new link declares.
func TestAChangeOfAListIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d watched
		r := newCluster(t, 1, d.watch).replicas[0]
		before, after := large("x"), append(large("x")[1:], wire.Target{Name: "new"})
		first := r.dial(dialOptions{targets: before})
		second := r.dial(dialOptions{targets: before, instance: first.instance, epoch: first.welcome.Epoch})
		if !slices.Contains(first.welcome.Features, wire.FeatureChanges) {
			t.Errorf("the replica can do %v", first.welcome.Features)
		}
		first.send(change(before, after))
		synctest.Wait()
		one := d.last.Load()
		if want := wire.NewTargetList(after); one.Hash() != want.Hash() || d.updates.Load() != 1 {
			t.Errorf("the list has %d targets, after %d updates", one.Len(), d.updates.Load())
		}
		second.send(change(before, after))
		r.dial(dialOptions{targets: after, instance: first.instance, epoch: first.welcome.Epoch})
		synctest.Wait()
		if d.last.Load() != one {
			t.Error("another link's list is a list of its own")
		}
		first.send(change(after, after))
		first.declare(1, after)
		synctest.Wait()
		if n := d.updates.Load(); n != 2 {
			t.Errorf("%d updates", n)
		}
	})
}

// A change that cannot be, or makes too much of a list, is refused as a list is.
func TestAChangeThatCannotBeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1, func(c *relay.Config) { c.TargetLimits.Targets = 2001 }).replicas[0]
		list := large("x")
		frames, err := wire.MarshalTargets(list)
		if err != nil {
			t.Fatal(err)
		}
		for what, send := range map[string][]wire.Frame{
			"a target that is not there": {{Type: wire.TypeChange, Payload: []byte(`{"removed":["y"]}`)}},
			"no JSON":                    {{Type: wire.TypeChange, Payload: []byte(`{`)}},
			"too many":                   {change(list, append(slices.Clone(list), wire.Target{Name: "y"}, wire.Target{Name: "z"}))},
			"within a list":              {frames[0], change(list, list[1:])},
		} {
			time.Sleep(time.Minute)
			a := r.dial(dialOptions{targets: list})
			for _, f := range send {
				a.send(f)
			}
			a.closedWith(wire.CauseRefused)
			if what == "too many" && !strings.Contains(a.reason, "FARSCRAPE_AGENT_MAX_TARGETS") {
				t.Errorf("%s: it was told %q", what, a.reason)
			}
		}
		one, err := wire.MarshalTargets(list[:1])
		if err != nil {
			t.Fatal(err)
		}
		for _, before := range [][]byte{nil, one[0].Append(nil)} { // before the list, and before the welcome
			a := r.mum(1, func(int) dialOptions { return dialOptions{name: "edge-1"} })[0]
			a.send(hello(dialOptions{name: "edge-1", instance: a.instance}))
			if err := a.conn.Write(t.Context(), websocket.MessageBinary, change(list[:1], nil).Append(before)); err != nil {
				t.Fatal(err)
			}
			a.closedWith(wire.CauseProtocol)
		}
	})
}

// Links that change together by the same CHANGE count once, as those that declare.
func TestLinksThatChangeTogetherByAChangeShareIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1, func(c *relay.Config) { c.TargetLimits.Bytes = 800_000 }).replicas[0]
		list := large("x")
		first := r.dial(dialOptions{targets: list})
		links := []*agent{first}
		for range 2 {
			links = append(links, r.dial(dialOptions{targets: list, instance: first.instance, epoch: first.welcome.Epoch}))
		}
		for _, a := range links {
			a.send(change(list, append(slices.Clone(list), wire.Target{Name: "y"})))
			synctest.Wait()
		}
		for _, a := range links {
			select {
			case <-a.closed:
				t.Errorf("a link is closed: %s", a.reason)
			default:
			}
		}
	})
}

// To change a long list all the time is as dear as to declare it: the replica rests.
func TestChangesOfLongListsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d watched
		r := newCluster(t, 1, d.watch).replicas[0]
		list := append(large("x"), large("y")...) // 1.3 MB, which counts for an eighth
		a := r.dial(dialOptions{targets: list})
		began := time.Now()
		changes := [][]byte{change(list[1:], list).Append(nil), change(list, list[1:]).Append(nil)}
		go func() {
			for i := 0; ; i++ {
				if a.conn.Write(context.Background(), websocket.MessageBinary, changes[i%2]) != nil {
					return
				}
			}
		}()
		time.Sleep(9 * time.Second)
		if n, most := d.updates.Load(), int64((16<<20+9<<19)/(1_300_000/8)); n < 20 || n > most {
			t.Errorf("%d changes of %d bytes were taken in %v, want %d at most", n, wire.NewTargetList(list).Bytes(), time.Since(began), most)
		}
		_ = a.conn.CloseNow()
	})
}

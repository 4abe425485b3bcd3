package wire_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// declare sends a list through a TargetList.
func declare(t *testing.T, limits wire.TargetLimits, targets []wire.Target) (decoded *wire.TargetList, bytes int, err error) {
	t.Helper()
	frames, err := wire.MarshalTargets(targets)
	if err != nil {
		t.Fatal(err)
	}
	list := wire.TargetParts{Limits: limits}
	for _, f := range frames {
		if _, err := list.Add(f.Payload); err != nil {
			return nil, 0, err
		}
	}
	bytes = list.Bytes()
	decoded, err = list.Take()
	return decoded, bytes, err
}

// labelled makes n targets with so many labels of the shortest kind each.
func labelled(n, labels int) []wire.Target {
	const names = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	all := make([]wire.Target, n)
	for i := range all {
		all[i].Name = fmt.Sprint(i)
		all[i].Labels = make(map[string]string)
		for l := range labels {
			all[i].Labels[names[l:l+1]] = ""
		}
	}
	return all
}

func TestTargetListsAreLimited(t *testing.T) {
	limits := wire.TargetLimits{Targets: 10, Labels: 3, Bytes: 1000}
	if _, _, err := declare(t, limits, labelled(10, 3)); err != nil {
		t.Errorf("a list at the limits: %v", err)
	}
	for want, targets := range map[string][]wire.Target{
		"11 targets; FARSCRAPE_AGENT_MAX_TARGETS is 10":            labelled(11, 3),
		"4 labels; FARSCRAPE_AGENT_MAX_LABELS is 3":                labelled(10, 4),
		"1035 bytes of targets; FARSCRAPE_AGENT_MAX_BYTES is 1000": {{Name: "a", Path: "/" + strings.Repeat("x", 998)}},
	} {
		var limit *wire.LimitError
		if _, _, err := declare(t, limits, targets); !errors.As(err, &limit) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// What is declared by default fits: 10,000 targets as people have them.
func TestTenThousandOrdinaryTargetsFit(t *testing.T) {
	_, bytes, err := declare(t, wire.TargetLimits{Targets: wire.MaxTargets, Labels: 32, Bytes: 2 << 20}, thousands(10_000))
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d bytes", bytes)
}

func TestWhatATargetListCosts(t *testing.T) {
	const most = 13 // times its encoding, or 512 bytes a target if it says next to nothing
	for _, labels := range []int{0, 1, 8, 9, 27, 32} {
		targets := labelled(10_000, labels)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		decoded, bytes, err := declare(t, wire.TargetLimits{}, targets)
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		heap := int(after.HeapAlloc) - int(before.HeapAlloc)
		t.Logf("%d labels a target: %d bytes encoded, %d in memory, %.1f times", labels, bytes, heap, float64(heap)/float64(bytes))
		if heap > max(most*bytes, 512*decoded.Len()) {
			t.Errorf("%d labels a target: a list of %d bytes takes %d in memory", labels, bytes, heap)
		}
		if size := decoded.Size(); size < heap*2/3 || size > heap*3/2 {
			t.Errorf("%d labels a target: Size is %d", labels, size)
		}
		runtime.KeepAlive(decoded)
		runtime.KeepAlive(targets)
	}
}

func TestSizeCountsAllText(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, target := range map[string]wire.Target{
		"path": {Path: long}, "address": {Address: long}, "value": {Labels: map[string]string{"a": long}}, "name": {Labels: map[string]string{long: ""}},
	} {
		if n := wire.NewTargetList([]wire.Target{target}).Size(); n < len(long) {
			t.Errorf("a %s of %d bytes counts for %d", name, len(long), n)
		}
	}
}

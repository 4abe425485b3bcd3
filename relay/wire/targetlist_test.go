package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// drawn is a list of some of 40 names, with targets of a few kinds.
func drawn(random *rand.Rand) []wire.Target {
	var all []wire.Target
	for _, n := range random.Perm(40)[:random.IntN(40)] {
		t := wire.Target{Name: fmt.Sprint("t", n), Scheme: "http", Port: uint16(random.IntN(3))}
		if random.IntN(2) == 0 {
			t.Labels = map[string]string{"odd": "\"\\\n<é\u2028" + strings.Repeat("x", random.IntN(200))}
		}
		all = append(all, t)
	}
	return all
}

func sorted(targets []wire.Target) []wire.Target {
	return slices.SortedFunc(slices.Values(targets), func(a, b wire.Target) int { return strings.Compare(a.Name, b.Name) })
}

// spliced applies a patch as Redis does: to text.
func spliced(t *testing.T, before string, patch []byte) string {
	t.Helper()
	var pieces []any
	if err := json.Unmarshal(patch, &pieces); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, piece := range pieces {
		switch p := piece.(type) {
		case string:
			b.WriteString(p)
		case []any:
			b.WriteString(before[int(p[0].(float64)):int(p[1].(float64))])
		}
	}
	return b.String()
}

// A list is the same however one came to it: declared in any order, by a change, by a
// patch of what it was or of its text, or read from its encoding.
func TestAListIsNamedByItsContent(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		targets := drawn(random)
		before, want := wire.NewTargetList(drawn(random)), wire.NewTargetList(targets)
		if !slices.EqualFunc(want.All(), sorted(targets), func(a, b wire.Target) bool { return reflect.DeepEqual(a, b) }) || want.Bytes() != len(want.Encode()) {
			t.Fatalf("seed %d: the list is %v, of %d bytes", seed, want.All(), want.Bytes())
		}
		same := func(how string, got *wire.TargetList, err error) {
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: %s: %v, want %v; %v", seed, how, got.All(), want.All(), err)
			}
		}
		targets = slices.Clone(targets)
		random.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
		same("in another order", wire.NewTargetList(targets), nil)
		read, err := wire.ParseTargetList(string(want.Encode()))
		same("encoded", read, err)

		frame, ok := want.ChangesFrom(before).Frame()
		if !ok {
			t.Fatalf("seed %d: the change does not fit", seed)
		}
		change, err := wire.ParseChange(frame.Payload)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := before.Changed(change, wire.TargetLimits{})
		same("changed", changed, err)
		if count := wire.CountChanges(before, want); count.Added+count.Changed != len(change.Targets) || count.Removed != len(change.Removed) {
			t.Errorf("seed %d: %v of %s", seed, count, frame.Payload)
		}
		if patch, ok := want.Patch(before); ok {
			patched, err := before.Patched(string(patch))
			same("patched", patched, err)
			if text := spliced(t, string(before.Encode()), patch); text != string(want.Encode()) {
				t.Fatalf("seed %d: the text is\n%s\nwant\n%s", seed, text, want.Encode())
			}
		}
	}
}

// thousands is a list as people have it.
func thousands(n int) []wire.Target {
	all := make([]wire.Target, n)
	for i := range all {
		all[i] = wire.Target{
			Name: fmt.Sprintf("node-exporter-%d", i), Scheme: "http", Address: fmt.Sprintf("10.0.%d.%d:9100", i/250, i%250), Port: 9100, Path: "/metrics",
			Labels: map[string]string{"env": "production", "job": "node", "rack": fmt.Sprint("r", i%40), "site": "berlin", "team": "infra"},
		}
	}
	return all
}

// Of 10,000 targets one is replaced: that is little to say, to the relay and to Redis.
func TestALittleChangeIsLittleToSay(t *testing.T) {
	targets := thousands(10_000)
	before := wire.NewTargetList(targets)
	targets = slices.Clone(targets)
	targets[5000].Name, targets[5000].Address = "new", "10.1.1.1:9100"
	after := wire.NewTargetList(targets)
	const little = 1 << 10
	if f, ok := after.ChangesFrom(before).Frame(); !ok || f.Size() > little {
		t.Errorf("a change of %d bytes", f.Size())
	}
	if patch, ok := after.Patch(before); !ok || len(patch) > little {
		t.Errorf("a patch of %d bytes", len(patch))
	}
	if patch, ok := wire.NewTargetList(thousands(3)).Patch(before); !ok || len(patch) > little {
		t.Errorf("a patch of %d bytes for three that are left", len(patch))
	}
	if _, ok := before.Patch(wire.NewTargetList(thousands(3))); ok {
		t.Error("a patch as long as the list")
	}
}

// A change keeps to the limits of a list, and to the list that it is of.
func TestAChangeIsChecked(t *testing.T) {
	before := wire.NewTargetList([]wire.Target{{Name: "a"}, {Name: "b"}})
	limits := wire.TargetLimits{Targets: 3, Labels: 1, Bytes: 200}
	for _, test := range []struct {
		change wire.ListChange
		over   string // of what limit; empty: it is malformed
	}{
		{wire.ListChange{Removed: []string{"c"}}, ""},
		{wire.ListChange{Removed: []string{"a"}, Targets: []wire.Target{{Name: "a"}}}, ""},
		{wire.ListChange{Targets: []wire.Target{{Name: "c"}, {Name: "c"}}}, ""},
		{wire.ListChange{Targets: []wire.Target{{Name: "../sd"}}}, ""},
		{wire.ListChange{Targets: []wire.Target{{Name: "c"}, {Name: "d"}}}, "TARGETS"},
		{wire.ListChange{Targets: []wire.Target{{Name: "c", Labels: map[string]string{"x": "", "y": ""}}}}, "LABELS"},
		{wire.ListChange{Targets: []wire.Target{{Name: "c", Path: "/" + strings.Repeat("x", 200)}}}, "BYTES"},
	} {
		_, err := before.Changed(&test.change, limits)
		limit := new(wire.LimitError)
		if over := errors.As(err, &limit); err == nil || over != (test.over != "") || over && !strings.HasSuffix(limit.Setting, test.over) {
			t.Errorf("%+v: %v", test.change, err)
		}
	}
	for _, change := range []wire.ListChange{{}, {Removed: []string{"a", "a"}}, {Removed: []string{"b", "a"}}, {Targets: []wire.Target{{Name: "a", Port: 1}, {Name: "c"}}}} {
		if _, err := before.Changed(&change, limits); err != nil {
			t.Errorf("%+v: %v", change, err)
		}
	}
}

// Whatever a patch is, what comes out is a list as any other.
func FuzzPatch(f *testing.F) {
	before := wire.NewTargetList([]wire.Target{{Name: "a"}, {Name: "b", Labels: map[string]string{"x": "y"}}, {Name: "c"}})
	for _, patch := range []string{
		`[[0,13],[13,40]]`, `[[0,13],"{\"name\":\"aa\"}\n"]`, `["{\"name\":\"z\"}\n"]`, `[[13,0]]`, `[[-1,13]]`, `[[0,5]]`, `[[0,99999]]`,
		`["{\"name\":\"a\"}"]`, `["{\"name\":\"b\"}\n{\"name\":\"a\"}\n"]`, `[[0,13],[0,13]]`, `[1]`, `[null]`, `{}`, `null`, ``, `[[0,13,14]]`, `["{\"name\":\"../sd\"}\n"]`,
	} {
		f.Add(patch)
	}
	f.Fuzz(func(t *testing.T, patch string) {
		list, err := before.Patched(patch)
		if err != nil {
			return
		}
		if err := wire.CheckTargets(list.All()); err != nil {
			t.Errorf("%q: %v", patch, err)
		}
		if _, err := wire.ParseTargetList(string(list.Encode())); err != nil {
			t.Errorf("%q: %v", patch, err)
		}
	})
}

func FuzzParseTargetList(f *testing.F) {
	f.Add("{\"name\":\"a\"}\n{\"name\":\"b\",\"labels\":{\"x\":\"<\\n\"}}\n")
	f.Add("{\"name\":\"b\"}\n{\"name\":\"a\"}\n")
	f.Add(" { \"port\":1,\"name\":\"a\" } \n")
	f.Add("{\"name\":\"a\"}")
	f.Add("\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := wire.ParseTargetList(text)
		if err != nil {
			return
		}
		again, err := wire.ParseTargetList(string(list.Encode()))
		if err != nil || !reflect.DeepEqual(again.All(), list.All()) {
			t.Errorf("%q: %v, and again %v; %v", text, list.All(), again.All(), err)
		}
	})
}

package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestRequestKeepsWhatItWasGiven(t *testing.T) {
	q := wire.Request{
		Remaining: 1500*time.Millisecond + 1, Credit: 16384, Link: "0123456789abcdef", Tenant: "acme", Agent: "edge-1.example",
		Target: "app", Rest: "a%2Fb/c", Query: "match[]=up&match%5B%5D=%7Bjob%3D%22a+b%22%7D",
		Header: []wire.Field{{Name: "Accept", Value: "text/plain"}, {Name: "accept", Value: ""}},
	}
	got, err := wire.ParseRequest(q.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	q.Remaining = 1501 * time.Millisecond // rounded up: some time is never none
	if fmt.Sprint(*got) != fmt.Sprint(q) {
		t.Errorf("got %+v, want %+v", *got, q)
	}
}

func TestRequestsOverTheLimitDoNotFit(t *testing.T) {
	fits := wire.Request{Query: strings.Repeat("q", 60_000)}
	if err := fits.Fits(); err != nil {
		t.Error(err)
	}
	for name, q := range map[string]wire.Request{
		"query":  {Query: strings.Repeat("q", 66_000)},
		"header": {Header: []wire.Field{{Name: "A", Value: strings.Repeat("v", 33_000)}}},
		"fields": {Header: make([]wire.Field, 257)},
	} {
		if err := q.Fits(); !errors.Is(err, wire.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeadRefusesWhatNoHTTPMessageMayHold(t *testing.T) {
	for name, h := range map[string]wire.Head{
		"status 0":          {Status: 0},
		"status 101":        {Status: 101},
		"status 999":        {Status: 999},
		"CRLF in a value":   {Status: 200, Header: []wire.Field{{Name: "A", Value: "b\r\nSet-Cookie: x"}}},
		"NUL in a value":    {Status: 200, Header: []wire.Field{{Name: "A", Value: "\x00"}}},
		"a space in a name": {Status: 200, Header: []wire.Field{{Name: "A b", Value: "c"}}},
		"an empty name":     {Status: 200, Header: []wire.Field{{Name: "", Value: "c"}}},
		"33 KiB":            {Status: 200, Header: []wire.Field{{Name: "A", Value: strings.Repeat("v", 33_000)}}},
	} {
		if _, err := wire.ParseHead(h.Append(nil)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestDetailsAreCutWhenTheyCome(t *testing.T) {
	long := strings.Repeat("d", 60_000)
	str := append([]byte{60_000 >> 8, 60_000 & 0xff}, long...)
	e, err := wire.ParseEnd(append(append([]byte{byte(wire.TargetRefused)}, str...), 0, 0, 0, 0))
	if err != nil || len(e.Failure.Detail) != wire.MaxDetail {
		t.Errorf("END: %d bytes, %v", len(e.Failure.Detail), err)
	}
	n, err := wire.ParseNack(append([]byte{byte(wire.TargetRefused), 0}, str...))
	if err != nil || len(n.Detail) != wire.MaxDetail {
		t.Errorf("NACK: %d bytes, %v", len(n.Detail), err)
	}
}

func TestTargetListsOfAnySizeArriveWhole(t *testing.T) {
	for _, n := range []int{0, 1, 3000} {
		var want []wire.Target
		for i := range n {
			want = append(want, wire.Target{Name: fmt.Sprintf("t%d", i), Scheme: "http", Port: 9100, Path: "/metrics", Labels: map[string]string{"rack": strings.Repeat("r", 50)}})
		}
		frames, err := wire.MarshalTargets(want)
		if err != nil {
			t.Fatal(err)
		}
		var list wire.TargetParts
		for i, f := range frames {
			whole, err := list.Add(f.Payload)
			if err != nil || whole != (i == len(frames)-1) {
				t.Fatalf("frame %d of %d: whole %v, %v", i, len(frames), whole, err)
			}
		}
		if got, err := list.Take(); err != nil || got.Hash() != wire.NewTargetList(want).Hash() {
			t.Errorf("%d targets: another list came out, %v", n, err)
		}
	}
}

func TestACloseReasonFits(t *testing.T) {
	if got := wire.CauseDrained.CloseReason(""); got != "drained" || wire.CloseDetail(got) != "" {
		t.Errorf("without a detail: %q", got)
	}
	for _, detail := range []string{"a: b", strings.Repeat("€", 100), strings.Repeat("x", 200), "\xff"} {
		got := wire.CauseRefused.CloseReason(detail)
		if len(got) > 123 || !utf8.ValidString(got) || !strings.HasPrefix(got, "refused: ") {
			t.Errorf("%q", got)
		}
	}
	if got := wire.CloseDetail(wire.CauseRefused.CloseReason("a: b")); got != "a: b" {
		t.Errorf("%q comes back", got)
	}
}

func TestTargetListsAreChecked(t *testing.T) {
	for name, bad := range map[string][]wire.Target{
		"doubled name":     {{Name: "a"}, {Name: "a"}},
		"name with /":      {{Name: "a/b"}},
		"name ..":          {{Name: ".."}},
		"label with -":     {{Name: "a", Labels: map[string]string{"a-b": ""}}},
		"label __x":        {{Name: "a", Labels: map[string]string{"__x": ""}}},
		"label agent":      {{Name: "a", Labels: map[string]string{"agent": ""}}},
		"label not UTF-8":  {{Name: "a", Labels: map[string]string{"a": "\xff"}}},
		"address no port":  {{Name: "a", Address: "host"}},
		"address with /":   {{Name: "a", Address: "h/x:80"}},
		"scheme file":      {{Name: "a", Scheme: "file"}},
		"subtree not of /": {{Name: "a", Path: "/x", Subtree: true}},
	} {
		if err := wire.CheckTargets(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, good := range []string{"host:80", strings.Repeat("a.", 126) + "a:80", "H1.internal:9100", "10.0.0.1:1", "[::1]:65535", "[fe80::1%eth0.1]:80", "[fe80::1%a_b~c-D]:80"} {
		if err := wire.CheckAddress(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"host", "host:", "host:0", "host:65536", "host:http", ":80", "h/x:80", "h x:80", "a..b:80",
		strings.Repeat("a.", 126) + "aa:80", "host:000080", "[::1%" + strings.Repeat("a", 255) + "]:80",
		"[::1%x \"y/..]:80", "[::1%a/b]:80", "[::1%é]:80", "[::1%\n]:80", "[::1%]:80", "[host]:80", "[10.0.0.1]:80", "::1:80",
	} {
		if err := wire.CheckAddress(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestAgentNames(t *testing.T) {
	for _, good := range []string{"a", "edge-1", "edge-1.example.com", "my_host", "1a", strings.Repeat("a", 63)} {
		if err := wire.CheckAgentName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "*", "A", "a b", "a\nb", "-a", "a-", "a..b", ".a", "раypal", "localhost", "x.localhost",
		"127.0.0.1", "127.1", "0x7f000001", "a.0x7f", "2130706433", "::1", "[::1]", "a:80", "a/b",
		strings.Repeat("a", 64), strings.Repeat("a.", 150) + "a",
	} {
		if err := wire.CheckAgentName(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMatchTarget(t *testing.T) {
	targets := []wire.Target{
		{Name: "node", Port: 9100, Path: "/metrics"},
		{Name: "other", Port: 9100, Path: "/other"},
		{Name: "h1", Port: 9100, Path: "/metrics", Address: "H1.internal:9100"},
		{Name: "h2", Port: 9100, Path: "/metrics", Address: "h2.internal:9100"},
		{Name: "twin1", Port: 8080, Path: "/metrics"},
		{Name: "twin2", Port: 8080, Path: "/metrics"},
		{Name: "tree", Port: 7070, Path: "/a/", Subtree: true},
		{Name: "deep", Port: 7070, Path: "/a/b/", Subtree: true},
		{Name: "exact", Port: 7070, Path: "/a/b/c"},
		{Name: wire.OwnTarget},
	}
	for _, c := range []struct {
		address, path string
		want, rest    string
		reason        wire.Reason
	}{
		{"edge:9100", "/metrics", "node", "", wire.OK},
		{"edge:9100", "/other", "other", "", wire.OK},
		{"edge:9100", "/nothing", "", "", wire.TargetNotDeclared},
		{"edge:9101", "/metrics", "", "", wire.TargetNotDeclared},
		{"h1.internal:9100", "/metrics", "h1", "", wire.OK},
		{"h2.internal:9100", "/metrics", "h2", "", wire.OK},
		{"edge:8080", "/metrics", "", "", wire.TargetAmbiguous},
		{"edge:7070", "/a/x", "tree", "x", wire.OK},
		{"edge:7070", "/a/b/x/y", "deep", "x/y", wire.OK},
		{"edge:7070", "/a/b/c", "exact", "", wire.OK},
		{"edge:7070", "/a", "", "", wire.TargetNotDeclared},
	} {
		got, rest, err := wire.MatchTarget("edge", targets, c.address, c.path)
		if c.reason != wire.OK {
			if err == nil || err.Reason != c.reason {
				t.Errorf("%s%s: got %v, %v, want %s", c.address, c.path, got, err, c.reason)
			}
			continue
		}
		if err != nil || got.Name != c.want || rest != c.rest {
			t.Errorf("%s%s: got %v, rest %q, %v", c.address, c.path, got, rest, err)
		}
	}
}

func TestTargetsOfSharedInstancesAreJoined(t *testing.T) {
	a := wire.Agent{Links: []wire.Entry{
		{Instance: "1", Epoch: 1, List: wire.NewTargetList([]wire.Target{{Name: "a", Port: 1}, {Name: "b"}})},
		{Instance: "1", Epoch: 1, List: wire.NewTargetList([]wire.Target{{Name: "a", Port: 1}, {Name: "b"}})},
		{Instance: "2", Epoch: 2, List: wire.NewTargetList([]wire.Target{{Name: "a", Port: 2}, {Name: "c"}})},
	}}
	var got []string
	for _, t := range a.Targets() {
		got = append(got, fmt.Sprint(t.Name, t.Port))
	}
	if fmt.Sprint(got) != "[a1 b0 c0]" {
		t.Errorf("got %v", got)
	}
}

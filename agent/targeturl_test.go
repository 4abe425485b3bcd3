package agent

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestASubtreeIsAskedBelowItsPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) }),
			func(c *Config) { c.Targets = "tree=http://h/tree/*?k=v" })
		r := l.reply(l.request("tree", func(q *wire.Request) { q.Rest, q.Query = "a%2Fb/metrics", "x" }))
		if string(r.body) != "/tree/a%2Fb/metrics?k=v&x" {
			t.Errorf("asked for %s", r.body)
		}
	})
}

func testTarget(t testing.TB, url string) *target {
	t.Helper()
	made, err := newTarget(declaration{Name: "t", URL: url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestARequestStaysWithinItsTarget(t *testing.T) {
	for _, c := range []struct{ url, rest, query, want string }{
		{"http://h:1/metrics", "", "", "http://h:1/metrics"},
		{"http://h:1", "", "", "http://h:1/metrics"},
		{"http://h:1/", "", "a=b", "http://h:1/?a=b"},
		{"http://h:1/m?x=%31&y", "", "", "http://h:1/m?x=%31&y"},
		{"http://h:1/m?x=%31&y", "", "z=;[]&&%zz", "http://h:1/m?x=%31&y&z=;[]&&%zz"},
		{"http://h:1/*", "a/b", "", "http://h:1/a/b"},
		{"http://h:1/*", "", "", "http://h:1/"},
		{"http://h:1/p%2Fq/*", "a%2Fb/c%20d", "", "http://h:1/p%2Fq/a%2Fb/c%20d"},
		{"http://h:1/p/*?k=v", "a//b/", "w", "http://h:1/p/a//b/?k=v&w"},
		{"http://h:1/p/*", "..a/b..", "", "http://h:1/p/..a/b.."},
	} {
		u, err := testTarget(t, c.url).address(c.rest, c.query)
		if err != nil || u.String() != c.want {
			t.Errorf("%s + %q ? %q: %v, %v", c.url, c.rest, c.query, u, err)
		}
	}
	for _, c := range []struct {
		url, rest, query string
		want             wire.Reason
	}{
		{"http://h:1/metrics", "x", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "..", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a/../../b", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "./a", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a/%2e%2E/b", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "..;x/a", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "%2f..%2f", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a%2f..%2fb", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a%5c..%5cb", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "/evil.example.com/", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a%00b", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a%0d%0ab", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a b", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a?b", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a#b", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a%zz", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "%c0%ae%c0%ae/a", "", wire.TargetNotDeclared},
		{"http://h:1/p/*", "a", "x y", wire.BadRequest},
		{"http://h:1/p/*", "a", "x\r\nHost: evil", wire.BadRequest},
		{"http://h:1/metrics", "", "x#y", wire.BadRequest},
	} {
		if u, err := testTarget(t, c.url).address(c.rest, c.query); err == nil || err.Reason != c.want {
			t.Errorf("%s + %q ? %q: %v, %v", c.url, c.rest, c.query, u, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("a/b", "x=1")
	f.Add("%2e%2e/a", "")
	f.Add("..;/a", "a;b")
	f.Fuzz(func(t *testing.T, rest, query string) {
		u, failure := testTarget(t, "http://h:1/p%2Fq/*?k=v").address(rest, query)
		if failure != nil {
			return
		}
		line := u.RequestURI()
		if u.Host != "h:1" || !strings.HasPrefix(line, "/p%2Fq/"+rest+"?k=v") || strings.ContainsAny(line, " \r\n\t\x00") {
			t.Fatalf("%q, %q: %q", rest, query, line)
		}
		for segment := range strings.SplitSeq(u.Path, "/") {
			if segment == ".." || segment == "." {
				t.Fatalf("%q: a dot segment in %q", rest, u.Path)
			}
		}
		if r, err := http.NewRequest(http.MethodGet, u.String(), nil); err != nil || r.URL.Host != "h:1" {
			t.Fatalf("%q, %q: %v", rest, query, err)
		}
	})
}

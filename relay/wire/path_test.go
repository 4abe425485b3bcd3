package wire

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestCheckPath(t *testing.T) {
	for _, bad := range []string{"..", "a/../b", "./a", "a/%2e%2e/b", "a/%2E./b", "..%2fb", "a%5c..%5cb", `a\..\b`, "..;x/b", "a/%2e;/b",
		"%00", "a%0ab", "a%0d%0ab", "a%7f", "%c2%80", "%c0%ae%c0%ae/b", "%ff", "a%", "a%z1", "a b", "a?b", "a#b", "a\"b", "\u00e9"} {
		if _, err := CheckPath(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	for good, want := range map[string]string{"": "", "/": "/", "a": "a", "/a": "/a", "a/b/": "a/b/", "a//b": "a//b", "a..b/...": "a..b/...",
		"%2fa": "/a", "a%5cb": `a\b`, "a%20b": "a b", "%c3%a9": "\u00e9", "%ef%bf%bd": "\ufffd", "a;b=c": "a;b=c", "%252e%252e": "%2e%2e",
		"metrics@x:1,2=3": "metrics@x:1,2=3"} {
		if got, err := CheckPath(good); err != nil || got != want {
			t.Errorf("%q: %q, %v", good, got, err)
		}
	}
}

func TestCheckRest(t *testing.T) {
	for _, bad := range []string{"/a", "%2fa", "//evil.example.com/", "a%5cb", `a\b`, "%5C", "../a"} {
		if _, err := CheckRest(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	for _, good := range []string{"", "a", "a/b", "a%2fb", "a//b/"} {
		if _, err := CheckRest(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// FuzzCheckRest holds that what passes stays below its subtree however often a
// server decodes slashes, and goes on as it came.
func FuzzCheckRest(f *testing.F) {
	for _, s := range []string{"a/b", "%2e%2e/a", "..;/a", "a%2f..%2fb", "%5c..", "%c0%ae/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		decoded, err := CheckRest(rest)
		if err != nil {
			return
		}
		if clean := path.Join("/sub", decoded); clean != "/sub" && !strings.HasPrefix(clean, "/sub/") {
			t.Fatalf("%q is %q", rest, clean)
		}
		u := url.URL{Scheme: "http", Host: "h", Path: "/sub/" + decoded, RawPath: "/sub/" + rest}
		if got := u.String(); got != "http://h/sub/"+rest {
			t.Fatalf("%q goes on as %q", rest, got)
		}
	})
}

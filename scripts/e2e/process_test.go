package e2e

import (
	"testing"

	"github.com/farscrape/farscrape/scripts/rig"
)

// start runs a command with that environment and nothing else of ours in it, and
// ends it with the test.
func start(t testing.TB, name string, env []string, path string, args ...string) *rig.Process {
	t.Helper()
	return watched(t).Start(name, env, path, args...)
}

// watched is a rig none of whose processes may crash or race. Of a test that fails
// they are quoted.
func watched(t testing.TB) *rig.Rig {
	t.Helper()
	r := rig.ForTest(t)
	r.Cleanup(func() { // when they have ended
		for _, p := range r.Processes() {
			if line := p.Crashed(); line != "" {
				t.Errorf("%s: %s", p.Name, line)
			}
			if t.Failed() {
				t.Logf("%s said:\n%s", p.Name, tail(p.Output(), 6000))
			}
		}
	})
	return r
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// eventually waits until f says nil.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	var err error
	if _, ok := rig.Poll(t.Context(), rig.Patience, func() bool { err = f(); return err == nil }); !ok {
		t.Fatalf("%s: %v", what, err)
	}
}

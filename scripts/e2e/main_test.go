package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/farscrape/farscrape/scripts/rig"
)

// binaries is where TestMain builds the two commands.
var binaries string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "farscrape-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	var flags []string
	if raceEnabled {
		flags = []string{"-race"}
	}
	if err := rig.Build("../..", dir, flags...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// tool returns the path of a program of Debian's, or skips the test.
func tool(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := rig.Find(name)
	switch {
	case err == nil:
	case os.Getenv("FARSCRAPE_TEST_REQUIRE") == "1":
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	default:
		t.Skipf("%s is missing: apt-get install %s, or run scripts/test.sh", name, pkg)
	}
	return path
}

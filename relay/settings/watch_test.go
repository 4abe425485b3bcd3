package settings_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farscrape/farscrape/relay/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watch runs Watch until the test ends and tells its calls.
func watch(t *testing.T, file string) (changes chan struct{}) {
	t.Helper()
	return watchLogging(t, file, slog.DiscardHandler)
}

func watchLogging(t *testing.T, file string, log slog.Handler) (changes chan struct{}) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	changes = make(chan struct{}, 16)
	var watching sync.WaitGroup
	watching.Go(func() { settings.Watch(ctx, slog.New(log), file, func() { changes <- struct{}{} }) })
	t.Cleanup(func() {
		stop()
		watching.Wait()
	})
	next(t, changes) // the first call says that the watch stands
	return changes
}

func next(t *testing.T, changes chan struct{}) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(20 * time.Second):
		t.Fatal("no change was seen")
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWatchSeesANewContentOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "targets.yml")
	write(t, file, "one")
	changes := watch(t, file)
	write(t, filepath.Join(filepath.Dir(file), "other"), "not ours")
	write(t, file, "one")
	write(t, file, "two")
	next(t, changes)
	if len(changes) != 0 {
		t.Errorf("%d changes too many", len(changes))
	}
}

func TestWatchSeesARenamedFileAndItsRemoval(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "one")
	changes := watch(t, file)
	write(t, file+".new", "two")
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	next(t, changes)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	next(t, changes)
}

// Kubernetes mounts ..data -> ..2026_1 and file -> ..data/file, and swaps ..data.
func TestWatchSeesKubernetesSwapItsLink(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, "..v"+version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "..v"+version, "key"), version)
	}
	link := func(to, at string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, at)); err != nil {
			t.Fatal(err)
		}
	}
	link("..v1", "..data")
	link(filepath.Join("..data", "key"), "key")
	changes := watch(t, filepath.Join(dir, "key"))
	link("..v2", "..tmp")
	if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	next(t, changes)
}

func TestWatchSurvivesTheDirectoryGoingAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf")
	file := filepath.Join(dir, "key")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, file, "one")
	changes := watch(t, file)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	next(t, changes)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, file, "two")
	next(t, changes)
}

//go:build unix

package settings_test

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/farscrape/farscrape/relay/settings"
)

// A logbook is what was logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newLogbook() *logbook { return &logbook{more: make(chan struct{}, 64)} }

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more <- struct{}{}
	return l.text.Write(p)
}

func (l *logbook) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestAHangupIsLoggedAndEndsNothing(t *testing.T) {
	book := newLogbook()
	stop := settings.TakeHangups(slog.New(slog.NewTextHandler(book, nil)))
	defer stop()
	for n := range 2 {
		hangUp(t)
		next(t, book.more)
		if got := book.count("SIGHUP"); got != n+1 {
			t.Errorf("%d lines after %d signals", got, n+1)
		}
	}
}

func TestAHangupHasEveryWatchedFileReadAnew(t *testing.T) {
	defer settings.TakeHangups(slog.New(slog.DiscardHandler))()
	dir := t.TempDir()
	var all []chan struct{}
	for _, name := range []string{"key", "targets"} {
		write(t, filepath.Join(dir, name), "as it stays")
	}
	for _, name := range []string{"key", "targets"} {
		all = append(all, watch(t, filepath.Join(dir, name)))
	}
	hangUp(t)
	for _, changes := range all {
		next(t, changes)
	}
}

// The descriptors of this process are all in use while the watch starts.
func TestWatchLooksByItselfWhereTheSystemHasNoWatchToSpare(t *testing.T) {
	file := filepath.Join(t.TempDir(), "targets.yml")
	write(t, file, "one")
	book := newLogbook()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	restore := sync.OnceFunc(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) })
	defer restore()
	changes := watchLogging(t, file, slog.NewTextHandler(book, nil))
	restore()
	next(t, changes) // it can be read again
	write(t, file, "two")
	next(t, changes)
	if got := book.count("cannot tell when this file changes"); got != 1 {
		t.Errorf("it was said %d times", got)
	}
}

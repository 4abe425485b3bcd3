package settings

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long a directory must be quiet before its file is read: an
	// editor, and Kubernetes too, changes several entries at a time.
	settle = 100 * time.Millisecond
	// recheck is how often the file is read without any event: on network file
	// systems there are none, and a directory that was away must be watched
	// anew.
	recheck = 5 * time.Second
)

// Watch calls changed whenever the content of file differs from what it was,
// until ctx ends; and once at the start, so that nothing is missed between the
// caller's own first reading and the watch. A file that cannot be read any
// more is a change too: the caller's own reading says what is wrong with it.
// The calls come one after the other, from Watch's goroutine, the caller's.
//
// It is the directory that is watched: Kubernetes swaps a symbolic link beside
// the file, and editors rename a new file over it.
func Watch(ctx context.Context, file string, changed func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", file, err)
	}
	defer watcher.Close()
	dir := filepath.Dir(file)
	again := time.NewTicker(recheck)
	defer again.Stop()
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	// A directory that is not there is tried again with each recheck.
	_ = watcher.Add(dir)

	var last string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			quiet.Reset(settle)
			continue
		case <-watcher.Errors: // an overflow: events are missing
			quiet.Reset(settle)
			continue
		case <-again.C:
			_ = watcher.Add(dir)
		case <-quiet.C:
		}
		if now := fingerprint(file); now != last {
			last = now
			changed()
		}
	}
}

// fingerprint tells one content of a file from another, and from its absence.
func fingerprint(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	sum := sha256.Sum256(content)
	return string(sum[:])
}

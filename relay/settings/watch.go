package settings

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long a directory must be quiet before its file is read: an
	// editor, and Kubernetes too, changes several entries at a time.
	settle = 100 * time.Millisecond
	// recheck is how often the file is read without any event: on network file
	// systems there are none, nor where the system has no watch to spare.
	recheck = 5 * time.Second
)

// Watch calls changed whenever the content of file differs from what it was,
// until ctx ends; and once at the start, so that nothing is missed between the
// caller's own first reading and the watch; and at a SIGHUP, whether the content
// differs or not: what the file names may have changed. A file that cannot be
// read any more is a change too: the caller's own reading says what is wrong with
// it. The calls come one after the other, from Watch's goroutine, the caller's.
//
// It is the directory that is watched: Kubernetes swaps a symbolic link beside
// the file, and editors rename a new file over it. Where the system cannot say
// when something changes, that is logged, and the file is looked at every 5 s.
func Watch(ctx context.Context, log *slog.Logger, file string, changed func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	notices := &notices{dir: filepath.Dir(file), log: log.With("file", file)}
	defer notices.close()
	notices.open()
	again := time.NewTicker(recheck)
	defer again.Stop()
	quiet := time.NewTimer(0)
	defer quiet.Stop()

	var last string
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case _, ok := <-notices.events():
			notices.heard(ok)
			quiet.Reset(settle)
			continue
		case _, ok := <-notices.errors(): // an overflow: events are missing
			notices.heard(ok)
			quiet.Reset(settle)
			continue
		case <-again.C:
			notices.open()
		case <-hangup:
			asked = true
		case <-quiet.C:
		}
		if now := fingerprint(file); now != last || asked {
			last = now
			changed()
		}
	}
}

// notices are the system's word that something in a directory has changed, as far
// as it can be had: there may be no descriptor for it and no watch to spare, and
// a directory that was away must be watched anew.
type notices struct {
	dir     string
	log     *slog.Logger
	watcher *fsnotify.Watcher // nil: none to be had
	told    bool              // that there are none
}

// open asks for notices, if there are none, and says once if there will be none.
func (n *notices) open() {
	err := n.watch()
	if err != nil && !n.told {
		n.log.Warn("the system cannot tell when this file changes: it is looked at every few seconds", "every", recheck, "err", err)
	}
	n.told = err != nil
}

func (n *notices) watch() (err error) {
	if n.watcher == nil {
		if n.watcher, err = fsnotify.NewWatcher(); err != nil {
			return err
		}
	}
	return n.watcher.Add(n.dir)
}

// heard takes note of whether there will be more.
func (n *notices) heard(more bool) {
	if !more {
		n.close()
	}
}

func (n *notices) close() {
	if n.watcher != nil {
		_ = n.watcher.Close()
		n.watcher = nil
	}
}

func (n *notices) events() <-chan fsnotify.Event {
	if n.watcher == nil {
		return nil
	}
	return n.watcher.Events
}

func (n *notices) errors() <-chan error {
	if n.watcher == nil {
		return nil
	}
	return n.watcher.Errors
}

// fingerprint tells one content of a file from another, and from its absence.
func fingerprint(file string) string {
	content, err := ReadFile(file)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	sum := sha256.Sum256(content)
	return string(sum[:])
}

//go:build unix && !aix && !solaris

package settings_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/farscrape/farscrape/relay/settings"
)

// One at a time has a folder, and who waits for it may be told to stop.
func TestAFolderIsLockedByOneAtATime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	write(t, file, "")
	unlock, err := settings.LockFolder(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := settings.LockFolder(stopped, file); !errors.Is(err, context.Canceled) {
		t.Errorf("two have it: %v", err)
	}
	next := make(chan func())
	go func() {
		unlock, err := settings.LockFolder(t.Context(), file)
		if err != nil {
			t.Error(err)
			unlock = func() {}
		}
		next <- unlock
	}()
	unlock()
	(<-next)()
}

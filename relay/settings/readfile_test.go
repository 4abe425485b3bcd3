package settings_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/farscrape/farscrape/relay/settings"
)

// What is put in a file's place takes no memory but its bound's, and is told from
// what was there.
func TestFileOfAnySize(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	write := func(size int64) {
		t.Helper()
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
	}
	write(settings.MaxFile)
	if content, err := settings.ReadFile(file); err != nil || len(content) != settings.MaxFile {
		t.Errorf("a file of %d bytes: %d bytes, %v", settings.MaxFile, len(content), err)
	}
	changes := watch(t, file)
	write(1 << 33)
	next(t, changes)
	if content, err := settings.ReadFile(file); err == nil {
		t.Errorf("a file of 8 GB is %d bytes", len(content))
	}
	if _, err := settings.Secret("", file, "KEY"); err == nil {
		t.Error("a secret of 8 GB is one")
	}
}

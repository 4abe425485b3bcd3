package settings_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/farscrape/farscrape/relay/settings"
)

func TestAFileIsReplacedWholeAndStaysWhatItWas(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "token"), filepath.Join(dir, "link")
	write(t, file, "old")
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("token", link); err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := settings.ReplaceFile(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "new" {
		t.Errorf("it holds %q, %v", content, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("it is %v, %v", info, err)
	}
	if to, err := os.Readlink(link); err != nil || to != "token" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	was := make([]byte, 8)
	if n, _ := reader.Read(was); string(was[:n]) != "old" {
		t.Errorf("who had it open reads %q", was[:n])
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestWhatIsNoFileIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{dir, filepath.Join(dir, "none"), os.DevNull} {
		if settings.ReplaceFile(file, []byte("x")) == nil {
			t.Errorf("%s is replaced", file)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestStateDir(t *testing.T) {
	for want, environ := range map[string][]string{
		"/var/lib/a":                   {"STATE_DIRECTORY=/var/lib/a:/var/lib/b", "HOME=/root"},
		"/state/farscrape":             {"XDG_STATE_HOME=/state", "HOME=/root"},
		"/root/.local/state/farscrape": {"XDG_STATE_HOME=relative", "HOME=/root"},
		"":                             {"HOME="},
	} {
		if got := settings.StateDir(environ); got != want {
			t.Errorf("%v: %q, want %q", environ, got, want)
		}
	}
}

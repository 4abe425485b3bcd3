//go:build unix

package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAHangupReadsTheKeysAnewAndEndsNothing(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keys, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	logged, log := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"FARSCRAPE_LISTEN=127.0.0.1:0", "FARSCRAPE_KEY_FILE=" + keys}, log)
		log.Close()
	}()
	lines := bufio.NewScanner(logged)
	until := func(words string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), words) {
				return
			}
		}
		t.Fatalf("it never said %q", words)
	}
	until("keys=[3eb1bd43]") // of msg=starting
	for range 2 {            // it is still there after the first
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		until("SIGHUP")
	}
	stop()
	for lines.Scan() {
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

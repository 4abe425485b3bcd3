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

func TestAHangupReadsTheTargetsAnewAndEndsNothing(t *testing.T) {
	targets := filepath.Join(t.TempDir(), "targets.yaml")
	if err := os.WriteFile(targets, []byte("targets: []"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	logged, log := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, nil, []string{"FARSCRAPE_RELAY_URL=http://127.0.0.1:1", "FARSCRAPE_TOKEN=s3cret",
			"FARSCRAPE_NAME=edge-1", "FARSCRAPE_TARGETS_FILE=" + targets}, nil, log, log)
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
	until("target list read") // at the start
	for range 2 {             // it is still there after the first
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		until("target list read")
	}
	stop()
	for lines.Scan() {
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

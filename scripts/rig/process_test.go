package rig

import (
	"strings"
	"syscall"
	"testing"
)

// What runs when a rig is cleared has ended after it, even if it does not want to.
func TestNothingOutlivesItsRig(t *testing.T) {
	r := New(t.Context(), t.TempDir())
	p := r.Start("stubborn", nil, "/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")
	r.Until(Patience, "it is up", func() bool { return strings.Contains(p.Output(), "up") })
	p.Signal(syscall.SIGTERM)
	if !p.Runs() {
		t.Fatal("it is not stubborn")
	}
	r.Clear()
	if p.Runs() || len(r.Processes()) > 0 {
		t.Error("it runs")
	}
}

// Two processes of one name have a log each, and one that runs again goes on in its
// own.
func TestAProcessHasItsOwnLog(t *testing.T) {
	r := ForTest(t)
	say := func(text string) *Process {
		p := r.Start("speaker", nil, "/bin/sh", "-c", "echo "+text+"; exit 3")
		if status, ended := p.Exit(Patience); !ended || status != 3 {
			t.Fatalf("exit %d, ended: %v", status, ended)
		}
		return p
	}
	first, second := say("first"), say("panic: second")
	first.Run()
	first.Exit(Patience)
	if first.Output() != "first\nfirst\n" || first.Crashed() != "" {
		t.Errorf("the first said %q", first.Output())
	}
	if second.Output() != "panic: second\n" || second.Crashed() != "panic: second" {
		t.Errorf("the second said %q", second.Output())
	}
}

// A rig without a test says why something could not be carried out.
func TestARigGivesUp(t *testing.T) {
	r := New(t.Context(), t.TempDir())
	err := Try(func() { r.Until(0, "the end of time", func() bool { return false }) })
	if err == nil || err.Error() != "not within 0s: the end of time" {
		t.Error(err)
	}
}

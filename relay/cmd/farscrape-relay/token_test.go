package main

import (
	"strings"
	"testing"
)

// PushProx's clients may be called by an address, which is no agent's name: all
// others get their tokens, and whoever asked is told which did not.
func TestOfABatchANameThatNoneCanHaveCostsNoOtherItsToken(t *testing.T) {
	var out, told strings.Builder
	err := mint([]string{"-agent", "-"}, []string{"FARSCRAPE_KEY=0123456789abcdef0123456789abcdef"},
		strings.NewReader("edge-1.example.com\n10.0.0.7\n\nHost-2\nno name\n"), &out, &told)
	var names []string
	for line := range strings.Lines(out.String()) {
		name, _, _ := strings.Cut(line, "\t")
		names = append(names, name)
	}
	if strings.Join(names, " ") != "edge-1.example.com host-2" {
		t.Errorf("tokens for %q", names)
	}
	if err == nil || !strings.Contains(err.Error(), `line 2 has no token: mint token: agent name "10.0.0.7"`) || !strings.Contains(err.Error(), "line 5 has no token") {
		t.Errorf("told: %v", err)
	}
	if strings.Count(told.String(), "token ID ") != 2 {
		t.Errorf("IDs: %s", &told)
	}
}

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestBlocks(t *testing.T) {
	page := strings.Join([]string{
		"# A page",                    // 1
		"",                            // 2
		"Text",                        // 3
		"    that goes on.",           // 4: no code, as no blank line is before it
		"",                            // 5
		"    one",                     // 6
		"",                            // 7
		"      more of one",           // 8
		"",                            // 9
		"```yaml",                     // 10
		"two",                         // 11
		"",                            // 12
		"```",                         // 13
		"1. An item.",                 // 14
		"",                            // 15
		"       three",                // 16
		"",                            // 17
		"   Its second paragraph:",    // 18
		"   ```",                      // 19
		"   four",                     // 20
		"   ```",                      // 21
		"   - An item in it.",         // 22
		"",                            // 23
		"         five",               // 24
		"",                            // 25
		"- Another list. `no block`.", // 26
		"",                            // 27
		"      six",                   // 28
		"Text again",                  // 29
		"",                            // 30
		"    seven",                   // 31
	}, "\n")
	want := []block{
		{6, "one\n\n  more of one\n"}, {11, "two\n"}, {16, "three\n"}, {20, "four\n"},
		{24, "five\n"}, {28, "six\n"}, {31, "seven\n"},
	}
	if got := blocks(page); !reflect.DeepEqual(got, want) {
		t.Errorf("blocks are %+v, want %+v", got, want)
	}
}

func TestExtract(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "page.md")
	if err := os.WriteFile(page, []byte("Text:\n\n    a: [b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := extract(page, dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "1")); string(text) != "a: [b\n" {
		t.Errorf("block 1 is %q, %v", text, err)
	}
	if err := check(filepath.Join(dir, "1")); err == nil {
		t.Error("half a list passes for YAML")
	}
}

package rig

import (
	"bytes"
	"testing"
)

// A body is known by its bytes, and not taken for a body once one has changed.
func TestABodySaysWhoseItIs(t *testing.T) {
	for _, size := range []int{200, 500, 1 << 20} {
		whole := Body("a1", "node", 42, size)
		if len(whole) < size || len(whole) > size+200 {
			t.Errorf("%d bytes, want some %d", len(whole), size)
		}
		agent, target, sequence, err := ParseBody(whole)
		if err != nil || agent != "a1" || target != "node" || sequence != 42 {
			t.Errorf("%s/%s %d %v", agent, target, sequence, err)
		}
		changed := bytes.Clone(whole)
		changed[len(changed)/3]++
		for what, b := range map[string][]byte{
			"none":                  nil,
			"cut":                   whole[:len(whole)-1],
			"with more behind it":   append(bytes.Clone(whole), "x\n"...),
			"with one byte changed": changed,
			"two":                   append(bytes.Clone(whole), whole...),
		} {
			if _, _, _, err := ParseBody(b); err == nil {
				t.Errorf("%d bytes: one %s passes", size, what)
			}
		}
	}
}

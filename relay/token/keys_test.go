package token

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseKeys(t *testing.T) {
	k, err := ParseKeys([]byte("# ours\r\n\r\n  " + keyA + " \r\n\n" + keyB))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{keyID([]byte(keyA)), keyID([]byte(keyB))}
	if got := k.KeyIDs(); !slices.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
	for _, verb := range []string{"%v", "%+v", "%s"} {
		if s := fmt.Sprintf(verb, k); strings.Contains(s, keyA) {
			t.Errorf("%s tells a key", verb)
		}
	}
}

func TestParseKeysRefuses(t *testing.T) {
	const short = "too-short-for-a-key"
	for text, want := range map[string]string{
		"":                               "none",
		"\n# nothing\n":                  "none",
		keyA + "\n\n" + short:            "line 3",
		keyA + "\n" + keyB + "\n" + keyA: "line 3",
	} {
		k, err := ParseKeys([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error about %s", text, k, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), short) || strings.Contains(err.Error(), keyA)) {
			t.Errorf("tells a key: %v", err)
		}
	}
}

func TestRotation(t *testing.T) {
	keys := NewKeys(ring(t, keyA))
	old, _, err := keys.Current().Mint(Claims{Role: Agent, Name: "edge-1"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	keys.Set(ring(t, keyB, keyA))
	if _, err := keys.Verify(old, noon); err != nil {
		t.Errorf("while the old key still checks: %v", err)
	}
	fresh, minted, err := keys.Current().Mint(Claims{Role: Agent, Name: "edge-1"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	if minted.Key != keyID([]byte(keyB)) {
		t.Errorf("signed with %s", minted.Key)
	}
	keys.Set(ring(t, keyB))
	if _, err := keys.Verify(old, noon); err == nil {
		t.Error("the old key still checks")
	}
	if _, err := keys.Verify(fresh, noon); err != nil {
		t.Error(err)
	}
}

func TestDerive(t *testing.T) {
	one, err := ParseKeys([]byte(strings.Repeat("a", 32) + "\n" + strings.Repeat("b", 32)))
	if err != nil {
		t.Fatal(err)
	}
	a, b := one.KeyIDs()[0], one.KeyIDs()[1]
	same := one.Derive(a, "x")
	if len(same) != 32 || !bytes.Equal(same, one.Derive(a, "x")) {
		t.Errorf("derived %x", same)
	}
	for what, other := range map[string][]byte{
		"another purpose": one.Derive(a, "y"), "another key": one.Derive(b, "x"), "the key itself": []byte(strings.Repeat("a", 32)),
	} {
		if bytes.Equal(same, other) {
			t.Errorf("%s is the same", what)
		}
	}
	if got := one.Derive("00000000", "x"); got != nil {
		t.Errorf("of no key: %x", got)
	}
}

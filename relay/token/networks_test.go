package token

import (
	"strings"
	"testing"
)

func TestATokenIsBoundToNetworks(t *testing.T) {
	k := ring(t, keyA)
	signed, minted, err := k.Mint(Claims{Role: Agent, Name: "edge-1", From: "10.1.2.3/8, 192.0.2.7"}, noon)
	if err != nil || minted.From != "10.0.0.0/8,192.0.2.7/32" {
		t.Fatalf("%+v, %v", minted, err)
	}
	c, err := k.Verify(signed, noon)
	if err != nil || c != minted {
		t.Errorf("Verify = %+v, %v; want %+v", c, err, minted)
	}
	for from, want := range map[string]bool{
		"10.255.0.1:80": true, "192.0.2.7": true, "[::ffff:10.0.0.1]:80": true,
		"11.0.0.1:80": false, "192.0.2.8": false, "[::1]:80": false, "": false, "pipe": false, "10.0.0.1.example.com:80": false,
	} {
		if got := c.AllowsFrom(from); got != want {
			t.Errorf("from %q: %t", from, got)
		}
	}
	if anywhere := (Claims{}); !anywhere.AllowsFrom("pipe") {
		t.Error("one that is bound to none is refused")
	}
}

func TestMintRefusesWhatIsNoNetwork(t *testing.T) {
	for _, from := range []string{"10.0.0.0/33", "example.com", "10.0.0.0/8,", "::ffff:10.0.0.0/104", "fe80::1%eth0", strings.Repeat("10.0.0.1,", 16) + "10.0.0.1"} {
		if _, _, err := ring(t, keyA).Mint(Claims{Role: Agent, Name: "edge-1", From: from}, noon); err == nil || !strings.Contains(err.Error(), "network") {
			t.Errorf("%q: %v", from, err)
		}
	}
}

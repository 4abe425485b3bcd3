package agent

import (
	"crypto/x509"
	"testing"
	"time"
)

// Trust ends with the first certificate of a chain, and with the last of the chains.
func TestWhenTrustEnds(t *testing.T) {
	now := time.Now()
	after := func(hours ...int) (chain []*x509.Certificate) {
		for _, h := range hours {
			chain = append(chain, &x509.Certificate{NotAfter: now.Add(time.Duration(h) * time.Hour)})
		}
		return chain
	}
	for _, c := range []struct {
		chains [][]*x509.Certificate
		hours  time.Duration
	}{
		{[][]*x509.Certificate{after(5, 9)}, 5},
		{[][]*x509.Certificate{after(9, 5)}, 5},
		{[][]*x509.Certificate{after(9, 5), after(9, 7)}, 7}, // a CA's successor has signed it, too
	} {
		if got := trustEnds(c.chains); !got.Equal(now.Add(c.hours * time.Hour)) {
			t.Errorf("%d chains: in %s, want %dh", len(c.chains), got.Sub(now), c.hours)
		}
	}
}

package relay_test

import (
	"testing"
	"testing/synctest"

	"github.com/farscrape/farscrape/relay/token"
)

// The tests' agents come over pipes, from no network at all.
func TestAnAgentsTokenIsGoodInItsNetworksOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		_, resp, err := r.tryDial(dialOptions{token: r.mintToken(token.Claims{Role: token.Agent, Name: "edge", From: "10.0.0.0/8"})})
		if err == nil || resp == nil || resp.StatusCode != 403 || resp.Header.Get("Farscrape-Error") != "forbidden" {
			t.Errorf("%v, %v", resp, err)
		}
	})
}

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/scripts/rig"
)

func keyFaults() []fault {
	return []fault{
		{name: "key-changed", figure: "0 failed; all agents have new tokens ≤ 30 s, no link ends", short: true, inject: changeKey, judge: comesBackWithoutTheOldKey,
			plan: plan{agents: []agentPlan{}, fleet: 500, keyFile: true, jobs: throughBalancerTo}},
	}
}

// newKey is one that the replicas of such a plan know and that does not sign at first.
const newKey = "rig-new-key-0123456789abcdef0123456789abcdef"

// setKeys writes the replicas' file of keys, the first of which signs.
func (s *stack) setKeys(keys ...string) {
	var text string
	for _, k := range keys {
		text += k + "\n"
	}
	s.Must(os.WriteFile(s.KeyFile, []byte(text), 0o600))
}

// mintBy makes a token of a key, and of a time.
func (s *stack) mintBy(key string, c token.Claims, at time.Time) string {
	keys, err := token.ParseKeys([]byte(key))
	s.Must(err)
	signed, _, err := keys.Mint(c, at)
	s.Must(err)
	return signed
}

// changeKey puts a new key before the old one, of which all agents have tokens that are
// due besides, and takes the old one away once nobody would come back with it.
func changeKey(t *trial) {
	want := float64(fleetLinks * len(t.fleet.configs))
	closed := t.sum("farscrape_relay_links_closed_total")
	t.setKeys(newKey, rig.Key)
	took, ok := t.Poll(time.Minute, func() bool {
		return t.sum("farscrape_relay_links_by_key", keyLabel(newKey)) == want && t.sum("farscrape_relay_links_by_key", keyLabel(rig.Key)) == 0
	})
	t.Note("new tokens for %.0f links of %d agents within %s, %.0f offers taken", want, len(t.fleet.configs), seconds(took),
		t.sum("farscrape_relay_tokens_renewed_total"))
	if !ok || took > 30*time.Second {
		t.Miss("after %s %.0f of %.0f links are of the new key", seconds(took), t.sum("farscrape_relay_links_by_key", keyLabel(newKey)), want)
	}
	t.setKeys(newKey)
	t.Wait(8 * time.Second)
	if n := t.sum("farscrape_relay_links_closed_total") - closed; n > 0 {
		t.Miss("%.0f links ended", n)
	}
	for _, r := range t.Replicas {
		r.Stop()
		t.again(r)
		t.Wait(2 * time.Second)
	}
	t.Until(spread, "all links are back", t.fleet.whole)
}

// comesBackWithoutTheOldKey starts all agents again, from what they have written down.
func comesBackWithoutTheOldKey(t *trial) {
	noneFailed(t)
	t.fleet.stop()
	t.fleet.start()
	if took, ok := t.Poll(spread, t.fleet.whole); ok {
		t.Note("started again, all are back after %s", seconds(took))
	} else {
		t.Miss("started again, not all come back")
	}
}

// keyLabel is a key in the label of a metric.
func keyLabel(key string) string {
	hash := sha256.Sum256([]byte(key))
	return fmt.Sprintf(`key="%s"`, hex.EncodeToString(hash[:4]))
}

// sum adds up a metric of all replicas.
func (t *trial) sum(name string, pairs ...string) (n float64) {
	for _, r := range t.Replicas {
		n += rig.Metric(r.Ops, name, pairs...)
	}
	return n
}

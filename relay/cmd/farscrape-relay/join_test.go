package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/store/storetest"
)

// Hosts join by a token for two, at replicas with one Redis: the third does not, one asks
// another replica as the same, and one that is taken back stays out.
func TestHostsJoinAtAnyReplica(t *testing.T) {
	f := newFleet(t, 2, "FARSCRAPE_REDIS_URL="+storetest.StartRedis(t).URL())
	by := f.mint("-join", "edge-*", "-uses", "2", "-labels", "site=berlin")
	dir := t.TempDir()
	join := func(replica int, name string) (string, error) {
		c, err := agent.Join(t.Context(), agent.Config{RelayURL: f.replicas[replica], Name: name, StateDir: filepath.Join(dir, name)}, agent.Options{}, by)
		if err != nil {
			return "", err
		}
		token, err := os.ReadFile(c.TokenFile)
		return strings.TrimSpace(string(token)), err
	}
	first, err := join(0, "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := join(1, "edge-1"); err != nil {
		t.Errorf("the same at another replica: %v", err)
	}
	if _, err := join(1, "edge-2"); err != nil {
		t.Error(err)
	}
	if _, err := join(0, "edge-3"); err == nil || !strings.Contains(err.Error(), "used up") {
		t.Errorf("a third: %v", err)
	}
	f.link("edge-1", first)
	f.does("replicas that have confirmed: 2", "revoke", "-agent", "edge-1")
	storetest.WaitUntil(t, patience, "it is out", func() bool { return !f.scrapedBy("edge-1") })
	if _, err := join(0, "edge-1"); err == nil || !strings.Contains(err.Error(), "taken back") {
		t.Errorf("who was taken back: %v", err)
	}
}

func TestWhatGoesIntoAJoinToken(t *testing.T) {
	for line, want := range map[string]string{
		"-join edge-* -agent a":             "say -agent NAME, -scraper NAME or -join NAME",
		"":                                  "say -agent NAME, -scraper NAME or -join NAME",
		"-agent a -uses 3":                  "-uses and -labels go with -join",
		"-agent a -labels a=b":              "-uses and -labels go with -join",
		"-join edge-* -agents a":            "-agents goes with -scraper",
		"-join edge-* -renew=false":         "-renew goes with -agent",
		"-join edge-* -uses 0":              "0 uses: must be 1 to 10000",
		"-join edge-* -ttl 0":               "a join token must end",
		"-join edge-* -labels site":         `"site" is not name=value`,
		"-join edge-* -labels agent=x":      "Farscrape sets it",
		"-join edge..1":                     "edge..1",
		"-join edge-* -addresses [":         "pattern",
		"-join edge-* -ttl -1s":             "-ttl must not be negative",
		"-join edge-* more":                 `what is "more"?`,
		"-scraper p -addresses 10.0.0.0:80": "-addresses goes with -agent and -join",
	} {
		var out, told strings.Builder
		err := mint(strings.Fields(line), []string{"FARSCRAPE_KEY=0123456789abcdef0123456789abcdef"}, nil, &out, &told)
		if err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%s: %v", line, err)
		}
	}
	var out, told strings.Builder
	err := mint([]string{"-join", "edge-*"}, []string{"FARSCRAPE_KEY=0123456789abcdef0123456789abcdef"}, nil, &out, &told)
	if err != nil || strings.Count(out.String(), ".") != 2 || !strings.Contains(told.String(), "redeems it, once, until") {
		t.Errorf("%q, %q, %v", &out, &told, err)
	}
}

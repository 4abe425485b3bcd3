package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/farscrape/farscrape/relay/token"
)

// A trial is a replica that somebody tries out: nobody gave it a key, so it
// made one, and tokens for whoever is on this machine.
type trial struct {
	keys    *token.Keyring
	agent   string // the file of an agent's token
	scraper string // the file of a scraper's
}

// newTrial makes a key and writes the tokens to files in the user's cache
// folder that nobody else can read. It serves on address.
func newTrial(address string) (*trial, error) {
	var key [32]byte
	_, _ = rand.Read(key[:])
	keys, err := token.ParseKeys([]byte(hex.EncodeToString(key[:])))
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("no place for the tokens of a trial; set FARSCRAPE_KEY_FILE: %w", err)
	}
	_, port, _ := net.SplitHostPort(address)
	folder := filepath.Join(cache, "farscrape", port)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("no place for the tokens of a trial; set FARSCRAPE_KEY_FILE: %w", err)
	}
	t := &trial{keys: keys, agent: filepath.Join(folder, "agent.token"), scraper: filepath.Join(folder, "scraper.token")}
	for file, claims := range map[string]token.Claims{
		t.agent:   {Role: token.Agent, Name: "*"},
		t.scraper: {Role: token.Scraper, Name: "trial"},
	} {
		text, _, err := keys.Mint(claims, time.Now())
		if err != nil {
			return nil, err
		}
		if err := writeSecret(file, text); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// writeSecret replaces the file, so that one left with a wider mode is not
// written into.
func writeSecret(file, text string) error {
	_ = os.Remove(file)
	return os.WriteFile(file, []byte(text+"\n"), 0o600)
}

// invite prints what to do next. It names the files; the tokens are in no
// terminal's history.
func (t *trial) invite(w io.Writer, url string) {
	fmt.Fprintf(w, `
Nobody set a key, so this replica made one. It holds until the next start.
Run an agent for what listens on port 9100 of this machine:

  FARSCRAPE_RELAY_URL=%[1]s FARSCRAPE_TOKEN_FILE=%[2]s \
  FARSCRAPE_NAME=demo FARSCRAPE_TARGETS=node=http://localhost:9100/metrics farscrape-agent

scrape through it:

  curl -H "Authorization: Bearer $(cat %[3]s)" %[1]s/scrape/demo/node

and let Prometheus do so:

  scrape_configs:
    - job_name: farscrape
      authorization: {credentials_file: %[3]s}
      http_sd_configs:
        - url: %[1]s/sd
          authorization: {credentials_file: %[3]s}

`, url, t.agent, t.scraper)
}

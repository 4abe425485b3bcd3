package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// What discovery and churn list: as many targets as the default limits allow an
// agent, and five such agents.
const (
	listedAgents  = 5
	listedTargets = 10_000 - 1 // the agent's own metrics are one, too
)

// A listedAgent is one with many targets, none of which runs.
type listedAgent struct {
	*rig.Agent
	name    string
	network string   // its targets' addresses begin with
	file    string   // of its targets
	lines   [][]byte // of the file, a target each
	fresh   int      // targets that have come since
}

// startListedAgent starts number i.
func (b *bench) startListedAgent(i int, relay string, links int) *listedAgent {
	a := &listedAgent{name: fmt.Sprintf("listed-%d", i), network: fmt.Sprintf("10.%d", i), file: filepath.Join(b.TempDir(), "targets.yaml")}
	for t := range listedTargets {
		a.lines = append(a.lines, listedLine(fmt.Sprintf("target-%05d", t), a.network, t))
	}
	b.Must(a.write())
	a.Agent = b.StartAgent(a.name, rig.AgentEnv(a.name, relay, b.Mint("-agent", a.name),
		fmt.Sprintf("FARSCRAPE_LINKS=%d", links), "FARSCRAPE_TARGETS_FILE="+a.file))
	return a
}

// listedLine declares target number t of a network.
func listedLine(name, network string, t int) []byte {
	address := fmt.Sprintf("%s.%d.%d:9100", network, t/250, t%250)
	return fmt.Appendf(nil, "- {name: %s, url: 'http://%s/metrics', address: '%s', labels: {job: node, site: berlin, rack: r%d, team: storage, env: production}}\n",
		name, address, address, t%40)
}

// write puts the file in place of the one before, as editors do.
func (a *listedAgent) write() error {
	next := a.file + ".next"
	content := append([]byte("targets:\n"), bytes.Join(a.lines, nil)...)
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	return os.Rename(next, a.file)
}

// A listing is what discovery answered.
type listing struct {
	took    time.Duration
	body    []byte
	targets int // -1: it did not list any
}

func (b *bench) list(addr, query, token string) (l listing) {
	req, err := http.NewRequestWithContext(b.Ctx, http.MethodGet, "http://"+addr+"/sd"+query, nil)
	b.Must(err)
	req.Header.Set("Authorization", "Bearer "+token)
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	b.Must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	b.Must(err)
	l = listing{time.Since(began), body, bytes.Count(body, []byte(`"targets":`))}
	if resp.StatusCode != http.StatusOK {
		l.targets = -1
	}
	return l
}

// shows reports whether a list for path mode has a target.
func (l *listing) shows(agent, target string) bool {
	return bytes.Contains(l.body, []byte("/scrape/"+agent+"/"+target+`"`))
}

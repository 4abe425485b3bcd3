package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// What discovery lists here: as many targets as the default limits allow an
// agent, and five such agents.
const (
	listedAgents  = 5
	listedTargets = 10_000 - 1 // the agent's own metrics are one, too
)

// discovery measures what listing a large tenant takes at a replica that holds
// none of its links: the first time after its start, again at once, and again
// when the listing is fetched anew and has not changed.
func (b *bench) discovery() int {
	b.startRedis("redis")
	holder := b.startReplica("holder")
	for i := range listedAgents {
		b.startListedAgent(i, holder.URL(""))
	}
	token := b.Mint("-scraper", "bench")
	b.Until(rig.Patience, "the agents are listed", func() bool {
		list := b.list(holder.Addr, "?target=farscrape", token)
		return list.targets == listedAgents
	})
	fmt.Fprintf(b.out, "\n%d agents with %d targets each, of five labels; medians of %d rounds\n", listedAgents, listedTargets, b.rounds)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tcold, ms\tits processor time, ms\twarm, ms\tfetched anew, ms\tits processor time, ms\tMB\trelay's peak, MB")
	want := map[string]int{"path": listedAgents * (listedTargets + 1), "proxy": listedAgents * listedTargets}
	for _, mode := range []string{"path", "proxy"} {
		var cold, warm, anew, first, effort, peak []float64
		size := 0
		for range b.rounds {
			r := b.startReplica("edge")
			list := func() float64 {
				l := b.list(r.Addr, "?mode="+mode, token)
				if l.targets != want[mode] {
					b.Fatalf("%s lists %d targets of %d", mode, l.targets, want[mode])
				}
				size = l.bytes
				return milliseconds(l.took)
			}
			start := r.CPU()
			cold = append(cold, list())
			first = append(first, milliseconds(r.CPU()-start))
			for range 5 {
				warm = append(warm, list())
			}
			b.Wait(3 * time.Second)
			before := r.CPU()
			anew = append(anew, list())
			effort = append(effort, milliseconds(r.CPU()-before))
			peak = append(peak, float64(r.Memory("VmHWM"))/1e6)
			r.Stop()
		}
		fmt.Fprintf(w, "mode=%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\n", mode, middle(cold), middle(first), middle(warm), middle(anew), middle(effort), float64(size)/1e6, middle(peak))
	}
	_ = w.Flush()
	fmt.Fprintf(b.out, "the replica that holds the links: %.0f MB at its peak\n", float64(holder.Memory("VmHWM"))/1e6)
	return 0
}

func middle(all []float64) float64 {
	m, _ := medianOf(all)
	return m
}

// startListedAgent starts an agent with many targets, none of which runs.
func (b *bench) startListedAgent(i int, relay string) {
	var file strings.Builder
	file.WriteString("targets:\n")
	for t := range listedTargets {
		fmt.Fprintf(&file, "- {name: target-%05d, url: 'http://10.%d.%d.%d:9100/metrics', address: '10.%d.%d.%d:9100', labels: {job: node, site: berlin, rack: r%d, team: storage, env: production}}\n",
			t, i, t/250, t%250, i, t/250, t%250, t%40)
	}
	name := filepath.Join(b.TempDir(), "targets.yaml")
	b.Must(os.WriteFile(name, []byte(file.String()), 0o600))
	agent := fmt.Sprintf("listed-%d", i)
	b.StartAgent(agent, rig.AgentEnv(agent, relay, b.Mint("-agent", agent), "FARSCRAPE_LINKS=1", "FARSCRAPE_TARGETS_FILE="+name))
}

// A listing is what discovery answered.
type listing struct {
	took    time.Duration
	bytes   int
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
	l = listing{time.Since(began), len(body), strings.Count(string(body), `"targets":`)}
	if resp.StatusCode != http.StatusOK {
		l.targets = -1
	}
	return l
}

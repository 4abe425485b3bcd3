package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A prometheusServer is a real Prometheus.
type prometheusServer struct {
	*rig.Process
	addr string
	t    testing.TB
}

func startPrometheus(t testing.TB, config string, args ...string) *prometheusServer {
	t.Helper()
	p := &prometheusServer{addr: rig.FreePort(), t: t}
	args = append([]string{
		"--config.file=" + writeFile(t, "prometheus.yml", config), "--web.listen-address=" + p.addr,
		"--storage.tsdb.path=" + filepath.Join(t.TempDir(), "data"), "--log.level=warn",
	}, args...)
	p.Process = start(t, "prometheus", nil, tool(t, "prometheus", "prometheus"), args...)
	return p
}

// A sample is one series of an instant query, as {labels} with its value.
type sample struct {
	Metric map[string]string
	Value  [2]any // Unix seconds, text
}

// query asks for an instant vector.
func (p *prometheusServer) query(expr string) ([]sample, error) {
	a, err := tryGet("http://" + p.addr + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status string
		Data   struct{ Result []sample }
		Error  string
	}
	if err := json.Unmarshal(a, &answer); err != nil || answer.Status != "success" {
		return nil, fmt.Errorf("query %s: %s %v", expr, a, err)
	}
	return answer.Data.Result, nil
}

// await waits until the query gives exactly these series: name{labels in
// order} value, of the labels that are named.
func (p *prometheusServer) await(expr string, want ...string) {
	p.t.Helper()
	eventually(p.t, expr, func() error {
		got, err := p.query(expr)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, s := range got {
			seen[fmt.Sprintf("%s %s %s", s.Metric["job"], s.Metric["instance"], s.Value[1])] = true
		}
		for _, w := range want {
			if !seen[w] {
				return fmt.Errorf("no %q in %v", w, got)
			}
		}
		if len(got) != len(want) {
			return fmt.Errorf("%d series, want %d: %v", len(got), len(want), got)
		}
		return nil
	})
}

// A real Prometheus discovers and scrapes a real node exporter, by both modes
// and through two replicas, and keeps its targets when the agent dies and when
// Redis does.
func TestPrometheusDiscoversAndScrapes(t *testing.T) {
	tool(t, "prometheus", "prometheus")
	s := newStack(t, 2)
	exporter := startNodeExporter(t)
	port := exporter[strings.LastIndex(exporter, ":")+1:]
	agent := s.addAgent("edge-1.example.com", "FARSCRAPE_TARGETS=node=http://"+exporter+"/metrics", "FARSCRAPE_LABELS=site=berlin")

	a, b := s.Replicas[0].Edge, s.Replicas[1].Edge
	p := startPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 400ms}
scrape_configs:
  - job_name: discovered
    authorization: {credentials: %[1]s}
    http_sd_configs:
      - {url: "http://%[2]s/sd", refresh_interval: 1s, authorization: {credentials: %[1]s}}
  - job_name: discovered-proxy
    proxy_url: http://prometheus:%[1]s@%[3]s
    http_sd_configs:
      - {url: "http://%[3]s/sd?mode=proxy", refresh_interval: 1s, authorization: {credentials: %[1]s}}
  - job_name: pushprox
    proxy_url: http://prometheus:%[1]s@%[3]s
    static_configs:
      - targets: ["edge-1.example.com:%[4]s"]
  - job_name: pushprox-a
    proxy_url: http://prometheus:%[1]s@%[2]s
    static_configs:
      - targets: ["edge-1.example.com:%[4]s"]
`, s.scraper, a, b, port))

	at := "edge-1.example.com:" + port
	up := func(v string) []string {
		return []string{
			"discovered edge-1.example.com/node " + v, "discovered edge-1.example.com/farscrape " + v,
			"discovered-proxy " + at + " " + v, "pushprox " + at + " " + v, "pushprox-a " + at + " " + v,
		}
	}
	p.await("up", up("1")...)
	p.await(`node_uname_info{agent="edge-1.example.com",site="berlin"}`, "discovered edge-1.example.com/node 1", "discovered-proxy "+at+" 1")
	p.await(`count by (job, instance) (node_cpu_seconds_total{job="pushprox"}) > bool 0`, "pushprox "+at+" 1")
	p.await(`go_sched_gomaxprocs_threads{job="discovered",instance="edge-1.example.com/farscrape"}`, "discovered edge-1.example.com/farscrape 1") // as -help says

	agent.Kill()
	p.await("up", up("0")...)
	p.await(`up{job="discovered"} == 0`, "discovered edge-1.example.com/node 0", "discovered edge-1.example.com/farscrape 0")
	eventually(t, "the agent is listed as departed", func() error { return s.connected("edge-1.example.com", false) })

	s.redis.Kill()
	eventually(t, "SD answers 503", func() error {
		if got := get(t, s.Replicas[0].URL("/sd"), "Authorization", "Bearer "+s.scraper); got.StatusCode != 503 || got.reason() != "bus_unavailable" {
			return fmt.Errorf("%d %s", got.StatusCode, got.body)
		}
		return nil
	})
	eventually(t, "Prometheus has failed to refresh", func() error {
		own, err := tryGet("http://" + p.addr + "/metrics")
		if err == nil && strings.Contains(string(own), "prometheus_sd_http_failures_total 0\n") {
			err = errors.New("it has not")
		}
		return err
	})
	p.await("up", up("0")...) // still there
	if !rig.Ready(a) {
		t.Error("without Redis a replica is not ready")
	}
}

// Two targets of one agent on one port are two instances to Prometheus in proxy
// mode, too: one that fails shows, and the other's series are its own.
func TestTwoPathsOnOnePortAreTwoInstances(t *testing.T) {
	tool(t, "prometheus", "prometheus")
	s := newStack(t, 1)
	exporter := startNodeExporter(t)
	at := "edge-1.example.com:" + exporter[strings.LastIndex(exporter, ":")+1:]
	s.addAgent("edge-1.example.com", "FARSCRAPE_TARGETS=node=http://"+exporter+"/metrics,gone=http://"+exporter+"/gone")
	p := startPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 400ms}
scrape_configs:
  - job_name: proxy
    proxy_url: http://prometheus:%[1]s@%[2]s
    http_sd_configs:
      - {url: "http://%[2]s/sd?mode=proxy", refresh_interval: 1s, authorization: {credentials: %[1]s}}
`, s.scraper, s.Replicas[0].Edge))
	for range 3 {
		p.await("up", "proxy "+at+"/metrics 1", "proxy "+at+"/gone 0")
	}
	p.await("count by (job, instance) (node_uname_info)", "proxy "+at+"/metrics 1")
}

// startNodeExporter returns a real node exporter's address.
func startNodeExporter(t testing.TB) string {
	t.Helper()
	path, addr := tool(t, "prometheus-node-exporter", "prometheus-node-exporter"), rig.FreePort()
	start(t, "node exporter", nil, path, "--web.listen-address="+addr).AwaitListening(addr)
	return addr
}

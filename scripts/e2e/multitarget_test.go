package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// The jobs of deploy/prometheus/multi-target.yaml, in a real Prometheus: an
// exporter that is told by a parameter whom to ask works through both modes.
func TestExportersThatAreToldWhomToAsk(t *testing.T) {
	tool(t, "prometheus", "prometheus")
	s := newStack(t, 2)
	exporter := func(metric string, params ...string) (address, port string) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			for _, p := range append(params, "target") {
				if len(q[p]) != 1 {
					http.Error(w, p+" is missing", http.StatusBadRequest)
					return
				}
			}
			fmt.Fprintf(w, "%s{asked=%q} 1\n", metric, q.Get("target"))
		}))
		t.Cleanup(server.Close)
		address = strings.TrimPrefix(server.URL, "http://")
		return address, address[strings.LastIndex(address, ":")+1:]
	}
	blackbox, blackboxPort := exporter("probe_success", "module")
	snmp, snmpPort := exporter("ifHCInOctets", "module", "auth")
	s.addAgent("edge-1", "FARSCRAPE_TARGETS_FILE="+writeFile(t, "targets.yaml", fmt.Sprintf(`targets:
  - {name: blackbox, url: "http://%[1]s/probe", listed: false}
  - {name: snmp, url: "http://%[2]s/snmp", listed: false}
  - {name: snmp-own, url: "http://%[2]s/metrics"}
`, blackbox, snmp)))
	for _, mode := range []string{"path", "proxy"} {
		list := get(t, s.edge().URL("/sd?mode="+mode), "Authorization", "Bearer "+s.scraper)
		if !strings.Contains(string(list.body), `"snmp-own"`) || strings.Contains(string(list.body), `"snmp"`) || strings.Contains(string(list.body), `"blackbox"`) {
			t.Errorf("mode %s lists %s", mode, list.body)
		}
	}

	jobs, err := os.ReadFile("../../deploy/prometheus/multi-target.yaml")
	if err != nil {
		t.Fatal(err)
	}
	relay := s.edge().Edge
	p := startPrometheus(t, "global: {scrape_interval: 500ms, scrape_timeout: 400ms}\n"+strings.NewReplacer(
		"scheme: https", "scheme: http", "relay.example.com", relay, "relay:8080", relay, "TOKEN", s.scraper,
		"credentials_file: scraper.token", "credentials: "+s.scraper, ":9115", ":"+blackboxPort, ":9116", ":"+snmpPort,
	).Replace(string(jobs)))
	var up []string
	for job, targets := range map[string][]string{
		"blackbox": {"http://10.1.0.7:8080/health", "https://intranet.lan"},
		"snmp":     {"switch-1.lan", "switch-2.lan"},
	} {
		for _, target := range targets {
			up = append(up, job+" "+target+" 1", job+"-proxy "+target+" 1")
		}
	}
	p.await(`up{agent="edge-1"}`, up...)
	// What the exporter was asked for in the place of whom it was asked for.
	p.await(`label_replace({__name__=~"probe_success|ifHCInOctets",agent="edge-1"}, "instance", "$1", "asked", "(.*)")`, up...)
}

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// A central Prometheus reads /federate of a remote one that serves HTTPS with a
// password, neither of which the central one, or the relay, ever sees.
func TestFederation(t *testing.T) {
	tool(t, "prometheus", "prometheus")
	onBoth(t, func(t *testing.T, s *stack) {
		// What the remote Prometheus scrapes: samples with timestamps of
		// their own, a minute old.
		const value, age = 42, time.Minute
		stamp := time.Now().Add(-age).UnixMilli()
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "app_requests_total{instance=\"own\"} %d %d\napp_errors_total 1\nother_total 1\n", value, stamp)
		}))
		t.Cleanup(app.Close)
		remote, ca := startSecurePrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 500ms, external_labels: {site: berlin}}
scrape_configs:
  - job_name: app
    honor_labels: true
    static_configs: [{targets: [%q], labels: {team: shop}}]
`, strings.TrimPrefix(app.URL, "http://")))
		s.addAgent("berlin", "FARSCRAPE_TARGETS_FILE="+filepath.Join(filepath.Dir(ca), "targets.yml"))

		// The job of deploy/from-federation.md; beside it one that leaves out what
		// the page says of labels, and one that does it for up alone.
		job := fmt.Sprintf(`
    honor_labels: true
    params: {"match[]": ['{__name__="app_requests_total"}', 'app_errors_total{team="shop"}', 'up']}
    authorization: {credentials: %[1]s}
    http_sd_configs:
      - {url: %[2]q, refresh_interval: 1s, authorization: {credentials: %[1]s}}
`, s.scraper, s.edge().URL("/sd?target=prometheus"))
		central := startPrometheus(t, "global: {scrape_interval: 500ms, scrape_timeout: 400ms}\nscrape_configs:\n"+
			"  - job_name: federate"+job+"    metric_relabel_configs: [{action: labeldrop, regex: agent}]\n"+
			"  - job_name: as-discovered"+job+
			"  - job_name: up-without"+job+`    metric_relabel_configs: [{source_labels: [__name__], regex: up, target_label: agent, replacement: ""}, {target_label: way, replacement: third}]
`)
		at := strings.TrimPrefix(app.URL, "http://")
		central.await(`app_requests_total{site="berlin",team="shop",agent=""}`, "app own 42")
		central.await(`app_errors_total{site="berlin",agent=""}`, "app "+at+" 1")
		central.await(`up{site="berlin",agent="",way=""}`, "app "+at+" 1")
		central.await(`up{agent="berlin",site=""}`, "federate berlin/prometheus 1", "as-discovered berlin/prometheus 1", "up-without berlin/prometheus 1")
		central.await(`app_requests_total{agent="berlin",way=""}`, "app own 42") // a series of its own, and the sum is double
		central.await(`up{site="berlin",agent="berlin",way=""}`, "app "+at+" 1")
		central.await(`app_requests_total{agent="berlin",way="third"}`, "app own 42")
		central.await(`up{site="berlin",agent="",way="third"}`, "app "+at+" 1")
		central.await(`up{site="berlin",agent!="",way="third"}`)
		central.await(`other_total`)
		got, err := central.query(`timestamp(app_requests_total{agent=""})`)
		if want := fmt.Sprintf("%.3f", float64(stamp)/1000); err != nil || len(got) != 1 || !near(got[0].Value[1], want) {
			t.Errorf("timestamp %v, want %s (%v)", got, want, err)
		}
		if direct, err := http.Get("https://" + remote.addr + "/federate"); err == nil {
			direct.Body.Close()
			t.Error("the remote Prometheus is trusted without its CA")
		}
	})
}

// near compares two numbers of seconds to the millisecond.
func near(got any, want string) bool {
	var a, b float64
	fmt.Sscan(fmt.Sprint(got), &a)
	fmt.Sscan(want, &b)
	return a-b < 0.002 && b-a < 0.002
}

// startSecurePrometheus runs one that serves HTTPS with basic auth, and writes
// beside its CA the targets.yml that an agent needs to reach it.
func startSecurePrometheus(t *testing.T, config string) (p *prometheusServer, ca string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cert, key := selfSigned(t)
	ca = write("ca.pem", cert)
	write("key.pem", key)
	const password = "remote-password"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	web := write("web.yml", fmt.Sprintf("tls_server_config: {cert_file: ca.pem, key_file: key.pem}\nbasic_auth_users: {agent: %q}\n", hash))
	p = startPrometheus(t, config, "--web.config.file="+web)
	write("password", password+"\n")
	write("targets.yml", fmt.Sprintf(`targets:
  - name: prometheus
    url: https://%s/federate
    basic_auth: {username: agent, password_file: password}
    tls_config: {ca_file: ca.pem}
`, p.addr))
	return p, ca
}

// selfSigned makes a certificate for 127.0.0.1 that is its own CA.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "e2e"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/farscrape/farscrape/relay/certtest"
)

// What the agent itself serves may be for users only, and by TLS; health checks are
// anyone's, and -ready asks by either.
func TestTheAgentsOwnPagesByTLS(t *testing.T) {
	pair, dir := certtest.New(t, "agent", time.Now().Add(time.Hour)), t.TempDir()
	pair.Write(t, dir)
	hash, err := bcrypt.GenerateFromPassword([]byte("s3cret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "web.yaml")
	if err := os.WriteFile(file, []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {prometheus: "+string(hash)+"}"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	environ := []string{"FARSCRAPE_RELAY_URL=http://127.0.0.1:1", "FARSCRAPE_TOKEN=x", "FARSCRAPE_NAME=edge-1", "FARSCRAPE_WEB_CONFIG_FILE=" + file}
	logged, log := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, nil, append(environ, "FARSCRAPE_LISTEN=127.0.0.1:0"), nil, log, log)
		log.Close()
	}()
	address := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(logged); lines.Scan(); {
			if m := regexp.MustCompile(`msg=listening .*address=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	at := <-address
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: certtest.Client(t, nil, pair)}}
	for url, want := range map[string]int{
		"https://prometheus:s3cret@" + at + "/metrics": 200, "https://prometheus:other@" + at + "/metrics": 401,
		"https://" + at + "/metrics": 401, "https://" + at + "/-/healthy": 200,
	} {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", url, resp.StatusCode)
		}
		const metrics = `farscrape_agent_certificate_not_after_timestamp_seconds\{certificate="listen"\} 1\.\d+e\+09(?s:.*)farscrape_agent_web_config_last_reload_successful 1\n`
		if strings.HasSuffix(url, "/metrics") && want == 200 && !regexp.MustCompile(metrics).Match(body) {
			t.Errorf("metrics:\n%s", body)
		}
	}
	client.CloseIdleConnections()
	err = run(ctx, []string{"-ready"}, append(environ, "FARSCRAPE_LISTEN="+at), nil, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "not ready: 503") { // it has no link
		t.Errorf("-ready: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	err = run(t.Context(), nil, environ, nil, io.Discard, io.Discard)
	if err == nil || !strings.HasPrefix(err.Error(), "FARSCRAPE_WEB_CONFIG_FILE needs FARSCRAPE_LISTEN") {
		t.Errorf("without LISTEN: %v", err)
	}
}

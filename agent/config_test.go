package agent

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheRelayURLBecomesTheConnectURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://relay.example.com":         "https://relay.example.com/agent/connect",
		"wss://relay.example.com:8443/":     "https://relay.example.com:8443/agent/connect",
		"http://[::1]:8080/prefix":          "http://[::1]:8080/prefix/agent/connect",
		"ws://relay.example.com/some/path/": "http://relay.example.com/some/path/agent/connect",
	} {
		u, err := (&Config{RelayURL: in}).connectURL()
		if err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", in, u, err)
		}
	}
	for _, in := range []string{
		"relay.example.com", "ftp://relay.example.com", "https://", "https://u:s3cret@relay.example.com",
		"https://relay.example.com/?a=b", "https://relay.example.com/#x", "https://u:s3cret@relay\x7f",
	} {
		_, err := (&Config{RelayURL: in}).connectURL()
		if err == nil || !strings.HasPrefix(err.Error(), "FARSCRAPE_RELAY_URL: ") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// jwt is a token of that payload, as far as an agent reads it.
func jwt(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestTheAgentsName(t *testing.T) {
	host := func(name string) func() (string, error) {
		return func() (string, error) { return name, nil }
	}
	for _, c := range []struct {
		what, configured, token, host, want string
	}{
		{"configured", "Edge-1.Example.COM", jwt(`{"sub":"other"}`), "host", "edge-1.example.com"},
		{"the token's", "", jwt(`{"sub":"edge-2","role":"agent"}`), "host", "edge-2"},
		{"the host's, for a pattern", "", jwt(`{"sub":"edge-*"}`), "Host.Example.Com", "host.example.com"},
		{"configured, whatever the token is", "edge-1", "opaque", "host", "edge-1"},
		{"the host's, for a token without a name", "", jwt(`{}`), "host", "host"},
	} {
		got, err := agentName(c.configured, c.token, "FARSCRAPE_TOKEN_FILE", host(c.host))
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v", c.what, got, err)
		}
	}
	for _, c := range []struct {
		what, configured, token, host, mend string
	}{
		{"no DNS name", "edge 1", "", "host", "FARSCRAPE_NAME"},
		{"an address", "10.0.0.1", "", "host", "FARSCRAPE_NAME"},
		{"localhost", "", jwt(`{}`), "localhost", "FARSCRAPE_NAME"},
		{"a container", "", jwt(`{}`), "0123456789ab", "FARSCRAPE_NAME"},
		{"a container with a domain", "", jwt(`{}`), "0123456789ab.internal", "FARSCRAPE_NAME"},
		{"a long container", "", jwt(`{}`), strings.Repeat("0123abcd", 8), "FARSCRAPE_NAME"},
		{"a token that is none", "", "opaque", "host", "FARSCRAPE_TOKEN_FILE: this is no token"},
		{"a payload that is no JSON", "", jwt(`{"sub":`), "host", "FARSCRAPE_TOKEN_FILE: this is no token"},
		{"one that is no Base64", "", "a.%.c", "host", "FARSCRAPE_TOKEN_FILE: this is no token"},
		{"a scraper's token", "edge-1", jwt(`{"sub":"prometheus","role":"scraper"}`), "host", "farscrape-relay token -agent"},
	} {
		if name, err := agentName(c.configured, c.token, "FARSCRAPE_TOKEN_FILE", host(c.host)); err == nil || !strings.Contains(err.Error(), c.mend) {
			t.Errorf("%s: %q, %v", c.what, name, err)
		}
	}
	failing := func() (string, error) { return "", errors.New("no name") }
	if _, err := agentName("", jwt(`{}`), "FARSCRAPE_TOKEN", failing); err == nil || !strings.Contains(err.Error(), "FARSCRAPE_NAME") {
		t.Errorf("no host name: %v", err)
	}
}

func FuzzReadClaims(f *testing.F) {
	f.Add("a.b.c")
	f.Add(jwt(`{"sub":"x","exp":1e400}`))
	f.Fuzz(func(_ *testing.T, token string) { readClaims(token) })
}

func TestHeadersFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "headers")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &Config{HeadersFile: file}
	write("# for the proxy\n\nCF-Access-Client-Id: abc\r\nCF-Access-Client-Secret:  d:e f \n")
	fields, err := c.headers()
	if err != nil || len(fields) != 2 || fields[0].Value != "abc" || fields[1].Name != "CF-Access-Client-Secret" || fields[1].Value != "d:e f" {
		t.Errorf("got %q, %v", fields, err)
	}
	for content, want := range map[string]string{
		"good: 1\ns3cret":             "line 2",
		"na me: s3cret":               "line 1",
		"authorization: s3cret":       "agent's own",
		"Farscrape-Agent: s3cret":     "agent's own",
		"Sec-WebSocket-Key: s3cret\n": "agent's own",
	} {
		write(content)
		if _, err := c.headers(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestNewNamesEveryFaultAndNoSecret(t *testing.T) {
	_, err := New(Config{
		RelayURL: "relay", Token: "s3cret token", Links: 0, Labels: "a", Targets: "x",
		TLSCertFile: "cert.pem", HeadersFile: "/nonexistent/headers",
	}, Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"RELAY_URL", "TOKEN", "LINKS", "LABELS", "TARGETS", "TLS_KEY_FILE", "HEADERS_FILE"} {
		if !strings.Contains(err.Error(), "FARSCRAPE_"+want) {
			t.Errorf("FARSCRAPE_%s is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a secret is in: %v", err)
	}
}

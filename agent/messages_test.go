package agent

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// What an operator who sets something wrong reads of it: what is wrong, where, and
// what to do.
func TestWhatAWrongSettingSaysAtTheStart(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, content)
		return path
	}
	targets := func(name, content string) Config { return Config{TargetsFile: file(name, content)} }
	scraper := jwt(`{"sub":"prometheus","role":"scraper"}`)
	for _, c := range []struct {
		mistake string
		config  Config
		want    string
	}{
		{"a ; between targets", Config{Targets: "a=http://h:1/metrics;b=http://h:2/metrics"},
			"FARSCRAPE_TARGETS: entry 1 holds more than one target: put a comma between them"},
		{"a ; and no path", Config{Targets: "a=http://h:1;b=http://h:2"},
			"FARSCRAPE_TARGETS: entry 1 holds more than one target: put a comma between them"},
		{"a space between targets", Config{Targets: "z=http://h:3/,a=http://h:1/metrics b=http://h:2/metrics"},
			"FARSCRAPE_TARGETS: entry 2 holds more than one target: put a comma between them"},
		{"a space, behind a query", Config{Targets: "a=http://h:1/?x=y b=http://h:2/"},
			"FARSCRAPE_TARGETS: entry 1 holds more than one target: put a comma between them"},
		{"no name", Config{Targets: "http://h:1/metrics?x=y"},
			"FARSCRAPE_TARGETS: entry 1 is not name=http://host:port/path"},
		{"a wrong URL", Config{Targets: "a=file://h/metrics"},
			"FARSCRAPE_TARGETS: target a: url: must be http://host:port/path, or https"},
		{"no name before the =", Config{Targets: "a=http://h:1/,=http://h:2/"},
			"FARSCRAPE_TARGETS: entry 2: name is missing"},
		{"one name twice", Config{Targets: "a=http://h:1/,a=http://h:2/"},
			"FARSCRAPE_TARGETS: target a: declared twice: rename one"},
		{"a ; between labels", Config{Labels: "a=1;b=2"}, `FARSCRAPE_LABELS: "a=1;b=2" holds more than one label: put a comma between labels`},
		{"a space between labels", Config{Labels: "z=3,a=1 b=2"}, `FARSCRAPE_LABELS: "a=1 b=2" holds more than one label: put a comma between labels`},
		{"a label without a value", Config{Labels: "a"}, `FARSCRAPE_LABELS: "a" is not name=value`},
		{"a label twice", Config{Labels: "a=1,a=2"}, "FARSCRAPE_LABELS: label a is there twice: remove one"},
		{"a label's name that is none", Config{Labels: "9=x"}, `FARSCRAPE_LABELS: label name "9": must match`},
		{"the label that is ours", Config{Labels: "agent=x", Targets: "a=http://h:1/"}, `FARSCRAPE_LABELS: label name "agent": `},
		{"no targets file", Config{TargetsFile: dir + "/gone.yml"},
			"FARSCRAPE_TARGETS_FILE: open " + dir + "/gone.yml: no such file or directory: it must be there and readable by the agent"},
		{"an unknown key", targets("key.yml", "targets:\n- name: a\n  url: http://h/\n  metrics_path: s3cret\n"),
			`key.yml: line 4: unknown key "metrics_path": known here are name, url, address, labels, max_inflight, listed and Prometheus's HTTP settings, basic_auth and so on`},
		{"an unknown key at the top", targets("top.yml", "target: []"), `line 1: unknown key "target": known here is targets`},
		{"an unknown key of an HTTP setting", targets("http.yml", "- name: a\n  url: http://h/\n  basic_auth:\n    paswrd: s3cret\n"),
			`line 4: unknown key "paswrd": known here is what Prometheus has in its HTTP settings`},
		{"no space behind a colon", targets("flow.yml", "- {name: a, basic_auth: {username: u, password:s3cret}}"),
			"line 1: unknown key, or no space behind its colon: known here"},
		{"a value where a key belongs", targets("keyless.yml", "- {name: a, basic_auth: {username: u, s3cret}}"), "line 1: unknown key, or no space behind its colon"},
		{"a password that starts with *", targets("anchor.yml", "- {name: a, url: 'http://h/', basic_auth: {password: *s3cret}}"),
			"a value that starts with * must stand in quotes"},
		{"a tag that its value is not of", targets("tag.yml", "- {name: a, url: 'http://h/', basic_auth: {password: !!int s3cret}}"),
			"a value is not what the !! tag before it says: take the tag away"},
		{"a tag of one's own", targets("own.yml", "- {name: a, url: 'http://h/', basic_auth: !s3cret s3cret}"),
			"line 1: there is a text where a mapping of fields belongs"},
		{"a key that is a list", targets("list.yml", "- {name: a, labels: {[s3cret]: b}}"), "belongs"},
		{"a tab", targets("tab.yml", "targets:\n\t- name: s3cret\n"), "tab.yml: near line 2, or the line after: found character that cannot start any token; indent with spaces"},
		{"a wrong indent", targets("indent.yml", "targets:\n- name: a\n url: s3cret\n"), "indent.yml: near line 2, or the line after: did not find expected"},
		{"no name in the file", targets("name.yml", "- {name: a, url: 'http://h:1/'}\n- {url: 'http://h:2/'}"),
			"FARSCRAPE_TARGETS_FILE: " + dir + "/name.yml: target 2 of the list: name is missing"},
		{"a mapping of targets", targets("map.yml", "targets: {a: 'http://h:1/'}"),
			"FARSCRAPE_TARGETS_FILE: " + dir + "/map.yml: line 1: there is a mapping where a list belongs"},
		{"a text", targets("text.yml", "s3cret"),
			"FARSCRAPE_TARGETS_FILE: " + dir + "/text.yml: line 1: there is a text where a mapping of fields belongs: write targets: and a list, or the list alone"},
		{"a list of texts", targets("texts.yml", "- http://h:1/\n"),
			"FARSCRAPE_TARGETS_FILE: " + dir + "/texts.yml: line 1: there is a text where a mapping of fields belongs"},
		{"no password_file", targets("password.yml", "- {name: fed, url: 'http://h:1/', basic_auth: {username: u, password_file: gone}}"),
			"FARSCRAPE_TARGETS_FILE: " + dir + "/password.yml: target fed: basic_auth.password_file: open " + dir + "/gone: no such file or directory"},
		{"no credentials_file", targets("credentials.yml", "- {name: fed, url: 'http://h:1/', authorization: {credentials_file: gone}}"),
			"target fed: authorization.credentials_file: open " + dir + "/gone: no such file or directory"},
		{"no file of a header", targets("header.yml", "- {name: fed, url: 'http://h:1/', http_headers: {X-Key: {files: [gone]}}}"),
			"target fed: http_headers.X-Key.files: open " + dir + "/gone: no such file or directory"},

		{"a garbage token", Config{TokenFile: file("garbage", "s3cret")},
			"FARSCRAPE_TOKEN_FILE: this is no token, three parts with dots between them: take what farscrape-relay token -agent NAME prints, whole"},
		{"the same, as a variable", Config{Token: "s3cret"}, "FARSCRAPE_TOKEN: this is no token"},
		{"two lines", Config{TokenFile: file("lines", "s3cret\ns3cret")}, "FARSCRAPE_TOKEN_FILE: holds a character that no token has: it must be one line"},
		{"a scraper's token", Config{TokenFile: file("scraper", scraper)},
			"FARSCRAPE_TOKEN_FILE: this is a scraper's token: make an agent's with farscrape-relay token -agent NAME"},
		{"a token for no DNS name", Config{TokenFile: file("name", jwt(`{"sub":"edge 1"}`))}, "the name in FARSCRAPE_TOKEN_FILE's token: "},
		{"no CA file", Config{TLSCAFile: dir + "/gone"},
			"FARSCRAPE_TLS_CA_FILE: unable to read CA cert: unable to read file " + dir + "/gone: open " + dir + "/gone: no such file or directory: it must be a file of certificates in PEM"},
		{"a CA file that holds none", Config{TLSCAFile: file("ca", "s3cret")},
			"FARSCRAPE_TLS_CA_FILE: unable to use specified CA cert file " + dir + "/ca: it must be a file of certificates in PEM"},
		{"a certificate without its key", Config{TLSCertFile: file("cert", "s3cret")},
			"FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE: set both or none"},
		{"a key without its certificate", Config{TLSKeyFile: file("key", "s3cret")},
			"FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE: set both or none"},
		{"no key file", Config{TLSCertFile: dir + "/cert", TLSKeyFile: dir + "/gone"},
			"FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE: unable to read specified client key: unable to read file " + dir + "/gone: open " + dir + "/gone: no such file or directory: they must be a certificate and its key, in PEM"},
		{"a certificate that is none", Config{TLSCertFile: dir + "/cert", TLSKeyFile: dir + "/key"},
			"unable to use specified client cert (file " + dir + "/cert) & key (file " + dir + "/key): tls: failed to find any PEM data in certificate input: they must be a certificate and its key, in PEM"},
		{"an empty file", Config{TokenFile: file("empty", "\n")}, "FARSCRAPE_TOKEN_FILE: " + dir + "/empty holds nothing: put into it what farscrape-relay token -agent NAME prints"},
	} {
		if c.config.Token == "" && c.config.TokenFile == "" {
			c.config.Token = jwt(`{"sub":"edge-1"}`)
		}
		c.config.RelayURL, c.config.Links = "http://127.0.0.1:1", 1
		_, err := New(c.config, Options{Hostname: func() (string, error) { return "host", nil }})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n`") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", c.mistake, err)
		}
	}
}

func TestATargetsFileMayBeABareList(t *testing.T) {
	for _, content := range []string{"- name: a\n  url: http://h:1/\n- {name: b, url: 'http://h:2/'}\n", `[{"name": "a", "url": "http://h:1/"}, {"name": "b", "url": "http://h:2/"}]`} {
		set, err := targetsOf(t, "", content, "")
		if err != nil || set.find("a") == nil || set.find("b") == nil {
			t.Errorf("%s: %v", content, err)
		}
	}
	_, err := targetsOf(t, "", "- name: a\n  url: http://h/\n  paswrd: s3cret", "")
	if err == nil || !strings.Contains(err.Error(), `line 3: unknown key "paswrd"`) {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestAnAgentWithoutTargetsSaysSo(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "targets.yml")
	writeFile(t, empty, "targets: []")
	const said = "no targets are declared: only this agent's own metrics can be scraped"
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, "set FARSCRAPE_TARGETS=name=http://host:port/metrics, or FARSCRAPE_TARGETS_FILE"},
		{Config{TargetsFile: empty}, "declare some in FARSCRAPE_TARGETS_FILE, " + empty},
		{Config{Targets: "a=http://h:1/"}, ""},
	} {
		var out syncBuffer
		c.config.RelayURL, c.config.Token, c.config.Name, c.config.Links = "http://127.0.0.1:1", "x", "edge-1", 1
		a, err := New(c.config, Options{Logger: logTo(&out)})
		if err != nil {
			t.Fatal(err)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := a.Run(stopped); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), said) != (c.want != "") || !strings.Contains(out.String(), c.want) {
			t.Errorf("%+v: %s", c.config, &out)
		}
	}
}

// What the agent's log says of a relay that cannot be reached.
func TestWhatAWrongWayToTheRelaySays(t *testing.T) {
	quiet := func(s *httptest.Server) { s.Config.ErrorLog = log.New(io.Discard, "", 0) }
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	quiet(secure)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	asking := httptest.NewUnstartedServer(http.NotFoundHandler())
	asking.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	quiet(asking)
	asking.StartTLS()
	t.Cleanup(asking.Close)
	other, _ := clientCertificate(t)
	dir := t.TempDir()
	writeFile(t, dir+"/other.pem", string(other))
	closing := listenAnd(t, func(c net.Conn) { // as HAProxy does with what is no TLS
		_, _ = http.ReadRequest(bufio.NewReader(c))
	})
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(wire.HeaderError, "agent_unknown")
		http.Error(w, "agent_unknown: no such path", http.StatusNotFound)
	}))
	t.Cleanup(edge.Close)
	gone := listenAnd(t, nil)
	ca := caFile(t, secure)
	refusing := func(status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return strings.Replace(s.URL, "http://", "http://u:s3cret@", 1)
	}
	withoutPassword := func(proxy string) string { return strings.Replace(proxy, "u:s3cret@", "", 1) }
	forbidding := refusing(403)
	port := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	_, securePort, _ := net.SplitHostPort(port(secure))
	for _, c := range []struct {
		mistake string
		config  Config
		proxy   string
		want    []string
	}{
		{"http to a port with TLS", Config{RelayURL: "http://" + port(secure)}, "",
			[]string{"HTTP request to an HTTPS server", "if the port takes TLS, FARSCRAPE_RELAY_URL must start with https://"}},
		{"the same, of a server that hangs up", Config{RelayURL: "http://" + closing}, "",
			[]string{"dial " + closing + ": EOF", "if that port takes TLS, FARSCRAPE_RELAY_URL must start with https://"}},
		{"https to a port without TLS", Config{RelayURL: "https://" + port(plain)}, "",
			[]string{"that port speaks no TLS: check FARSCRAPE_RELAY_URL's port, or start it with http://"}},
		{"a private CA, and none set", Config{RelayURL: secure.URL}, "",
			[]string{"a private CA signed the relay's certificate: set FARSCRAPE_TLS_CA_FILE to that CA's certificate"}},
		{"a wrong CA", Config{RelayURL: secure.URL, TLSCAFile: dir + "/other.pem"}, "",
			[]string{"FARSCRAPE_TLS_CA_FILE, " + dir + "/other.pem, does not hold the CA that signed the relay's certificate"}},
		{"a certificate for another name", Config{RelayURL: "https://localhost:" + securePort, TLSCAFile: ca}, "",
			[]string{"the relay's certificate is for another name", "FARSCRAPE_RELAY_URL"}},
		{"no client certificate", Config{RelayURL: asking.URL, TLSCAFile: caFile(t, asking)}, "",
			[]string{"set FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE"}},
		{"nobody listens", Config{RelayURL: "http://" + gone}, "",
			[]string{"connection refused", "nothing listens there: check FARSCRAPE_RELAY_URL's host and port"}},
		{"the scrapers' side", Config{RelayURL: edge.URL}, "",
			[]string{`refused with status 404: agent_unknown: no such path"`, "no relay takes agents at that URL: check FARSCRAPE_RELAY_URL"}},
		{"a proxy that is not there", Config{RelayURL: secure.URL}, "http://u:s3cret@" + gone,
			[]string{"by the proxy " + gone, "the proxy of HTTPS_PROXY is not reached: mend HTTPS_PROXY, or list the relay's host in NO_PROXY"}},
		{"the same, without TLS", Config{RelayURL: plain.URL}, "http://u:s3cret@" + gone,
			[]string{"the proxy of HTTP_PROXY is not reached: mend HTTP_PROXY"}},
		{"a proxy that forbids it", Config{RelayURL: secure.URL}, refusing(403),
			[]string{"the proxy answers 403 Forbidden", "the proxy of HTTPS_PROXY does not let this agent through to FARSCRAPE_RELAY_URL"}},
		{"a proxy that wants a password", Config{RelayURL: secure.URL}, refusing(407),
			[]string{"the proxy answers 407", "the proxy does not accept the name and password in HTTPS_PROXY: mend them there"}},
		{"the same, and there is none", Config{RelayURL: secure.URL}, withoutPassword(refusing(407)),
			[]string{"the proxy of HTTPS_PROXY wants a name and a password: write them into it, http://user:password@host:port"}},
		{"the same, without TLS", Config{RelayURL: plain.URL}, refusing(407),
			[]string{"status 407", "the proxy does not accept the name and password in HTTP_PROXY: mend them there"}},
		{"the same, and there is none", Config{RelayURL: plain.URL}, withoutPassword(refusing(407)),
			[]string{"the proxy of HTTP_PROXY wants a name and a password: write them into it, http://user:password@host:port"}},
		{"a proxy that forbids it, without TLS", Config{RelayURL: plain.URL}, forbidding,
			[]string{"status 403", "it went by the proxy " + withoutPassword(forbidding)[len("http://"):] + " of HTTP_PROXY: allow it there, WebSockets too, or list the relay's host in NO_PROXY"}},
		{"a proxy that meets no relay", Config{RelayURL: plain.URL}, refusing(504),
			[]string{" of HTTP_PROXY, or a front behind it, reaches no relay: do relays run, are they ready?"}},
	} {
		t.Run(c.mistake, func(t *testing.T) {
			var o Options
			if c.proxy != "" {
				u, err := url.Parse(c.proxy)
				if err != nil {
					t.Fatal(err)
				}
				o.Proxy = http.ProxyURL(u)
			}
			said := dialLog(t, c.config, o)
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("%q is not in %s", want, said)
				}
			}
			if strings.Contains(said, "s3cret") {
				t.Errorf("a secret is in %s", said)
			}
		})
	}
}

// What the agent's log says of an answer that is no upgrade, by whom the answer is.
func TestWhatAnAnswerThatIsNoUpgradeSays(t *testing.T) {
	type answer struct {
		status   int
		reason   string // of a relay's
		location string
		text     string
	}
	const front = "the load balancer strips Upgrade or speaks HTTP/1.0: let it pass WebSockets (deploy/fronts)"
	for _, c := range []struct {
		mistake string
		answer  answer
		tls     bool
		want    string
	}{
		{"another version", answer{426, "bad_request", "", "this relay speaks farscrape.v2 only; update the older side"}, false, "the relay speaks another version: update the older side"},
		{"another version, said in another way", answer{426, "bad_request", "", "farscrape.v12 is what this one speaks"}, false, "the relay speaks another version: update the older side"},
		{"no subprotocol comes through", answer{426, "bad_request", "", "this relay speaks " + wire.Subprotocol + " only; update the older side"}, false, front},
		{"no Upgrade comes through", answer{426, "bad_request", "", `WebSocket protocol violation: Connection header "close" does not contain Upgrade`}, false, front},
		{"HTTP/1.0", answer{426, "bad_request", "", `WebSocket protocol violation: handshake request must be at least HTTP/1.1: "HTTP/1.0"`}, false, front},
		{"no Sec-WebSocket-Key comes through", answer{400, "bad_request", "", "WebSocket protocol violation: missing Sec-WebSocket-Key"}, false, front},
		{"a name that is none", answer{400, "bad_request", "", `agent name "a b": not a DNS name`}, false, "set FARSCRAPE_NAME to a DNS name"},
		{"502", answer{status: 502}, false, "the front reaches no relay: do relays run, are they ready?"},
		{"503", answer{status: 503}, true, "the front reaches no relay: do relays run, are they ready?"},
		{"504", answer{status: 504}, true, "the front reaches no relay: do relays run, are they ready?"},
		{"500", answer{status: 500}, true, "something in front of the relay refuses: does it pass WebSockets on? Check FARSCRAPE_RELAY_URL"},
		{"400 over TLS", answer{status: 400}, true, "if it wants a client certificate, set FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE"},
		{"a redirect", answer{301, "", "https://relay.example.com:8443/s3cret?s3cret", ""}, false, "it redirects to https://relay.example.com:8443: set FARSCRAPE_RELAY_URL to that, if it is the relay"},
		{"one with a password", answer{308, "", "https://u:s3cret@relay.example.com/", ""}, true, "it redirects to https://relay.example.com: set"},
		{"one to where it is", answer{302, "", "/login?s3cret", ""}, false, "something answers there that is no relay"},
		{"one to nowhere", answer{302, "", "mailto:s3cret", ""}, false, "something answers there that is no relay"},
		{"one to a host that is none", answer{302, "", "https://" + strings.Repeat("s3cret", 100) + "/", ""}, false, "something answers there that is no relay"},
		{"a key that is gone", answer{401, "unauthorized", "", "the token is not one of this relay's: signed with another key"}, false,
			"with the relay's first key, or the relay's key was replaced: put the old one back, below the new"},
		{"a token cut short", answer{401, "unauthorized", "", "the token is not one of this relay's: it is damaged or cut short; copy it whole"}, false, `with the relay's first key" retry_in`},
		{"the relay's name", answer{403, "forbidden", "", `"edge-1" is the relay's own name: no agent is called so`}, false, "the name is the relay's own: set FARSCRAPE_NAME to another"},
	} {
		t.Run(c.mistake, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range map[string]string{wire.HeaderError: c.answer.reason, "Location": c.answer.location} {
					if value != "" {
						w.Header().Set(name, value)
					}
				}
				http.Error(w, c.answer.text, c.answer.status)
			}))
			config := Config{}
			if c.tls {
				s.StartTLS()
				config.TLSCAFile = caFile(t, s)
			} else {
				s.Start()
			}
			defer s.Close()
			config.RelayURL = s.URL
			if said := dialLog(t, config, Options{}); !strings.Contains(said, c.want) || strings.Contains(said, "s3cret") {
				t.Errorf("%q is not in %s", c.want, said)
			}
		})
	}
}

func TestWhatNoAnswerAtAllSays(t *testing.T) {
	for _, c := range []struct {
		mistake string
		err     error
		want    string
	}{
		{"a misspelt host", &net.DNSError{Err: "no such host", Name: "realy.example.com", IsNotFound: true}, "the host in FARSCRAPE_RELAY_URL has no address here: mend it, or this machine's DNS; where only a proxy leads out, set HTTPS_PROXY"},
		{"a firewall", context.DeadlineExceeded, "check FARSCRAPE_RELAY_URL and the firewalls on the way; where only a proxy leads out, set HTTPS_PROXY"},
		{"anything else", errors.New("no route"), "check FARSCRAPE_RELAY_URL"},
	} {
		said := dialLog(t, Config{RelayURL: "https://realy.example.com"}, Options{
			dialRelay: func(context.Context, string, string) (net.Conn, error) { return nil, c.err },
		})
		if !strings.Contains(said, "dial realy.example.com: ") || !strings.Contains(said, c.want) {
			t.Errorf("%s: %s", c.mistake, said)
		}
	}
}

// Of what the relay refuses, the variable that is in use is named.
func TestARefusedTokenIsNamedByItsVariable(t *testing.T) {
	for setting, c := range map[string]Config{"FARSCRAPE_TOKEN_FILE": {TokenFile: "/etc/farscrape/token"}, "FARSCRAPE_TOKEN": {Token: "x"}} {
		for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
			if mend := c.mendUpgrade(&upgradeError{status: status, reason: "unauthorized"}); !strings.Contains(mend, setting+" to a ") {
				t.Errorf("%d: %s", status, mend)
			}
		}
		var out bytes.Buffer
		c.logLost(logTo(&out), wire.CauseRevoked, "", time.Minute)
		if !strings.Contains(out.String(), "was revoked or has expired, or its key was taken away") || !strings.Contains(out.String(), "set "+setting+" to a new one") {
			t.Errorf("revoked: %s", &out)
		}
	}
}

// dialLog is what the log says of one dial that fails.
func dialLog(t *testing.T, c Config, o Options) string {
	t.Helper()
	c.Token, c.Name, c.Links = "s3cret", "edge-1", 1
	a, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	conn, _, err := a.dial(t.Context(), nil)
	if err == nil {
		conn.CloseNow()
		t.Fatal("there is a link")
	}
	var out bytes.Buffer
	a.config.logDial(logTo(&out), err, time.Second)
	return out.String()
}

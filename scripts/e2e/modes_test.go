package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

func says(t *testing.T, text string) *httptest.Server {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, text) }))
	t.Cleanup(target.Close)
	return target
}

// A request that fits two targets gets neither; addresses tell five hosts with
// the same port apart.
func TestProxyModeNeverGuesses(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stack) {
		twin := says(t, "twin 1")
		port := twin.URL[strings.LastIndex(twin.URL, ":")+1:]
		s.addAgent("twins", "FARSCRAPE_TARGETS=one="+twin.URL+"/metrics?x=1,two="+twin.URL+"/metrics?x=2")
		got := s.proxied(s.edge(), "http://twins:"+port+"/metrics")
		if got.StatusCode != 400 || got.reason() != "target_ambiguous" {
			t.Errorf("%d %s", got.StatusCode, got.body)
		}
		list := get(t, s.edge().URL("/sd?mode=proxy&agent=twins"), "Authorization", "Bearer "+s.scraper)
		if strings.TrimSpace(string(list.body)) != "[]" {
			t.Errorf("discovery lists what can only be ambiguous: %s", list.body)
		}

		// Five hosts, all with an exporter on port 9100, behind one agent: each
		// has a loopback address of its own here.
		var file strings.Builder
		file.WriteString("targets:\n")
		for i := 1; i <= 5; i++ {
			host := fmt.Sprintf("127.0.1.%d:9100", i)
			l, err := net.Listen("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "host %d\n", i) })}
			go func() { _ = server.Serve(l) }()
			t.Cleanup(func() { _ = server.Close() })
			fmt.Fprintf(&file, "  - {name: h%d, url: 'http://%s/metrics', address: 'db%d.internal:9100'}\n", i, host, i)
		}
		s.addAgent("site", "FARSCRAPE_TARGETS_FILE="+writeFile(t, "targets.yml", file.String()))
		for i := 1; i <= 5; i++ {
			eventually(t, "the address is known", func() error {
				got := s.proxied(s.edge(), fmt.Sprintf("http://db%d.internal:9100/metrics", i))
				if want := fmt.Sprintf("host %d\n", i); string(got.body) != want {
					return fmt.Errorf("%d %s", got.StatusCode, got.body)
				}
				return nil
			})
		}
	})
}

// What people type: curl with a proxy and a token.
func TestCurlWithAProxyAndAToken(t *testing.T) {
	curl := tool(t, "curl", "curl")
	onBoth(t, func(t *testing.T, s *stack) {
		target := says(t, "up 1")
		port := target.URL[strings.LastIndex(target.URL, ":")+1:]
		s.addAgent("a", "FARSCRAPE_TARGETS=app="+target.URL+"/metrics")
		for name, args := range map[string][]string{
			"userinfo":            {"-x", "http://any:" + s.scraper + "@" + s.edge().Edge},
			"Proxy-Authorization": {"-x", "http://" + s.edge().Edge, "--proxy-header", "Proxy-Authorization: Bearer " + s.scraper},
			"Farscrape-Token":     {"-x", "http://" + s.edge().Edge, "-H", "Farscrape-Token: " + s.scraper},
		} {
			out, err := exec.Command(curl, append(args, "-sS", "http://a:"+port+"/metrics")...).CombinedOutput()
			if err != nil || string(out) != "up 1\n" {
				t.Errorf("%s: %s %v", name, out, err)
			}
		}
		out, _ := exec.Command(curl, "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-x", "http://"+s.edge().Edge, "http://a:"+port+"/metrics").CombinedOutput()
		if string(out) != "407" {
			t.Errorf("without a token: %s", out)
		}
		out, _ = exec.Command(curl, "-sSi", "-p", "-x", "http://any:"+s.scraper+"@"+s.edge().Edge, "https://a:"+port+"/metrics").CombinedOutput()
		if !strings.Contains(string(out), "405") {
			t.Errorf("CONNECT: %s", out)
		}
	})
}

// Whatever a front-end makes of a proxy-mode request, it ends at its target or
// in an error, never in the relay's own metrics.
func TestForeignHostsNeverGetTheRelaysOwnMetrics(t *testing.T) {
	nginx := startNginx
	for _, auth := range []string{"token", "none"} {
		t.Run(auth, func(t *testing.T) {
			s := newStack(t, 1) // its metrics are on OPS_LISTEN, so that the test sees them
			relay := s.owner()
			// One more with its own metrics on the same listener.
			env := []string{"FARSCRAPE_KEY=" + rig.Key, "FARSCRAPE_LISTEN=" + rig.FreePort()}
			edge := env[1][len("FARSCRAPE_LISTEN="):]
			if auth == "none" {
				edge = rig.FreePort()
				env = append(env, "FARSCRAPE_EDGE_AUTH=none", "FARSCRAPE_EDGE_LISTEN="+edge)
			}
			start(t, "relay with its metrics", env, binaries+"/farscrape-relay").AwaitListening(edge)
			fronts := map[string]string{"directly": edge, "through nginx": nginx(t, edge)}
			for front, addr := range fronts {
				for name, raw := range map[string]string{
					"absolute form":                "GET http://nobody:9100/metrics HTTP/1.1\r\nHost: nobody:9100\r\nProxy-Authorization: Bearer %s\r\n",
					"absolute form, no credential": "GET http://nobody:9100/metrics HTTP/1.1\r\nHost: nobody:9100\r\n",
					"origin form, Proxy-Auth":      "GET /metrics HTTP/1.1\r\nHost: nobody:9100\r\nProxy-Authorization: Bearer %s\r\n",
					"origin form, token":           "GET /metrics HTTP/1.1\r\nHost: nobody:9100\r\nFarscrape-Token: %s\r\n",
					"origin form, no credential":   "GET /metrics HTTP/1.1\r\nHost: nobody:9100\r\n",
					"origin form, Authorization":   "GET /metrics HTTP/1.1\r\nHost: nobody:9100\r\nAuthorization: Bearer %s\r\n",
				} {
					t.Run(front+" "+name, func(t *testing.T) {
						status, body := raw1(t, addr, strings.ReplaceAll(raw, "%s", s.scraper)+"Connection: close\r\n\r\n")
						if status < 400 || strings.Contains(body, "farscrape_relay_") {
							t.Errorf("%d %.200s", status, body)
						}
					})
				}
			}
			if a := get(t, "http://"+relay.Ops+"/metrics"); !strings.Contains(string(a.body), "farscrape_relay_links") {
				t.Errorf("OPS_LISTEN: %d %.200s", a.StatusCode, a.body)
			}
			if auth == "token" {
				if a := get(t, "http://"+edge+"/metrics", "Authorization", "Bearer "+s.scraper); !strings.Contains(string(a.body), "farscrape_relay_links") {
					t.Errorf("the relay's own metrics, asked for by address: %d %.200s", a.StatusCode, a.body)
				}
			}
		})
	}
}

// raw1 sends one request as it stands and reads its answer.
func raw1(t *testing.T, addr, request string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rig.Patience))
	fmt.Fprint(conn, request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	_, _ = bufio.NewReader(resp.Body).WriteTo(&b)
	return resp.StatusCode, b.String()
}

// startNginx puts nginx, with nothing set but where to send everything, before
// a relay: it speaks HTTP/1.0 to it and sends its own idea of a Host.
func startNginx(t testing.TB, upstream string) string {
	t.Helper()
	path, addr, dir := tool(t, "nginx", "nginx-light"), rig.FreePort(), t.TempDir()
	conf := writeFile(t, "nginx.conf", fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server {
    listen %[2]s;
    location / { proxy_pass http://%[3]s; }
  }
}
`, dir, addr, upstream))
	start(t, "nginx", nil, path, "-c", conf, "-p", dir).AwaitListening(addr)
	return addr
}

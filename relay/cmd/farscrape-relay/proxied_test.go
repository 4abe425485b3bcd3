package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/store/storetest"
)

// Whose connection it is comes by the PROXY protocol, before TLS, and X-Forwarded-For
// counts behind that where the address is a balancer's again. A token that is bound to a
// network shows what the relay takes a request's address to be.
func TestABalancerSaysWhoseConnectionItIs(t *testing.T) {
	w := newTLSWorld(t)
	for spoken, env := range map[string][]string{"http": nil, "https": {"FARSCRAPE_WEB_CONFIG_FILE=" + w.path("web.yaml")}} {
		url := startRelay(t, append(env, "FARSCRAPE_SD_GRACE=0s", "FARSCRAPE_PROXY_PROTOCOL=true", "FARSCRAPE_TRUSTED_PROXIES=127.0.0.9/32,10.0.0.0/8")...)
		address := strings.TrimPrefix(url, "http://")
		there := mintToken(t, "-scraper", "p", "-from", "192.0.2.0/24")
		here := mintToken(t, "-scraper", "p", "-from", "127.0.0.0/8")
		storetest.WaitUntil(t, 20*time.Second, "it listens", func() bool {
			c, err := net.Dial("tcp", address)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
		for what, c := range map[string]struct {
			peer, header, forwarded string
			token                   string
			status                  int // 0: none
		}{
			"the balancer says":                      {"127.0.0.9", "PROXY TCP4 192.0.2.7 203.0.113.1 1 2\r\n", "", there, 200},
			"it says of another":                     {"127.0.0.9", "PROXY TCP4 198.51.100.7 203.0.113.1 1 2\r\n", "", there, 403},
			"the client says so beside it":           {"127.0.0.9", "PROXY TCP4 198.51.100.7 203.0.113.1 1 2\r\n", "192.0.2.7", there, 403},
			"it says of a balancer, which says more": {"127.0.0.9", "PROXY TCP4 10.1.2.3 203.0.113.1 1 2\r\n", "192.0.2.7", there, 200},
			"it says nothing":                        {"127.0.0.9", "", "", here, 200},
			"it asks on its own":                     {"127.0.0.9", "PROXY UNKNOWN\r\n", "", here, 200},
			"nobody is in between":                   {"127.0.0.1", "", "", here, 200},
			"a stranger says":                        {"127.0.0.1", "PROXY TCP4 192.0.2.7 203.0.113.1 1 2\r\n", "", there, 0},
		} {
			dial := func(context.Context, string, string) (net.Conn, error) {
				from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.peer)}}
				conn, err := from.Dial("tcp", address)
				if err == nil {
					_, err = io.WriteString(conn, c.header)
				}
				return conn, err
			}
			client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, TLSClientConfig: certtest.Client(t, nil, w.pairs...)}}
			r, err := http.NewRequest("GET", spoken+"://"+address+"/sd", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+c.token)
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
			resp, err := client.Do(r)
			switch {
			case err != nil && c.status != 0:
				t.Errorf("%s, %s: %v", spoken, what, err)
			case err == nil:
				_ = resp.Body.Close()
				if resp.StatusCode != c.status {
					t.Errorf("%s, %s: %d, want %d", spoken, what, resp.StatusCode, c.status)
				}
			}
		}
	}
}

// Operators come by no balancer, and a scrape of theirs begins with no header.
func TestTheOpsPortReadsNoHeader(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
	startRelay(t, "FARSCRAPE_OPS_LISTEN="+address, "FARSCRAPE_PROXY_PROTOCOL=true", "FARSCRAPE_TRUSTED_PROXIES=127.0.0.1/32")
	var conn net.Conn
	storetest.WaitUntil(t, 20*time.Second, "it listens", func() (ok bool) {
		var err error
		conn, err = net.Dial("tcp", address)
		return err == nil
	})
	defer conn.Close()
	_, _ = io.WriteString(conn, "PROXY TCP4 192.0.2.7 203.0.113.1 1 2\r\nGET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("%d", resp.StatusCode)
	}
}

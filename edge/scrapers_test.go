package edge

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/token"
)

func TestScrapersTokensAreToldBeforeTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, err := token.ParseKeys([]byte(testKey))
		if err != nil {
			t.Fatal(err)
		}
		e := New(Config{Scraper: &fake{}, Keys: token.NewKeys(ring), PublicURL: &url.URL{Scheme: "http", Host: "relay.example.com"}})
		// told is what the agents' metrics say of scrapers to one of them.
		told := func(c token.Claims) string {
			t.Helper()
			c.Role = token.Scraper
			r := httptest.NewRequest("GET", "/metrics/agents", nil)
			r.Host = "relay.example.com"
			r.Header.Set("Authorization", "Bearer "+mint(t, ring, c, time.Now()))
			w := httptest.NewRecorder()
			e.Handler().ServeHTTP(w, r)
			if w.Code != 200 {
				t.Fatal(w.Code, w.Body)
			}
			var lines []string
			for line := range strings.Lines(w.Body.String()) {
				if rest, ok := strings.CutPrefix(line, "farscrape_relay_scraper_token_expiry_timestamp_seconds"); ok {
					lines = append(lines, strings.TrimSpace(rest))
				}
			}
			return strings.Join(lines, ", ")
		}
		day := func(n int) time.Time { return time.Now().Add(time.Duration(n) * 24 * time.Hour).Truncate(time.Second) }
		soon, late := day(3), day(300)
		line := func(tenant, scraper string, at time.Time) string {
			return fmt.Sprintf(`{scraper="%s",tenant="%s"} %s`, scraper, tenant, strconv.FormatFloat(float64(at.Unix()), 'g', -1, 64))
		}
		want := func(got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s\nwant\n%s", got, want)
			}
		}
		want(told(token.Claims{Name: "for-ever"}), "")
		want(told(token.Claims{Name: "prometheus", Expires: late}), line("default", "prometheus", late))
		want(told(token.Claims{Name: "prometheus", Tenant: "blue", Expires: late}), line("blue", "prometheus", late))
		want(told(token.Claims{Name: "other", Expires: late, Agents: "edge-*"}), line("default", "other", late))
		want(told(token.Claims{Name: "prometheus", Expires: soon}), line("default", "other", late)+", "+line("default", "prometheus", soon))

		time.Sleep(50 * time.Minute)
		want(told(token.Claims{Name: "prometheus", Expires: late}), line("default", "other", late)+", "+line("default", "prometheus", soon))
		time.Sleep(11 * time.Minute) // the old token is in use no more
		want(told(token.Claims{Name: "for-ever"}), line("default", "prometheus", late))

		for i := range 3 * maxScrapers {
			told(token.Claims{Name: fmt.Sprint(i), Agents: "edge-*", Expires: late})
		}
		if n := strings.Count(told(token.Claims{Name: "for-ever"}), "default"); n > maxScrapers {
			t.Errorf("%d scrapers are told", n)
		}
	})
}

// Behind a balancer all scrapers have one address: the log tells those that are
// refused apart by their token, and no made-up one keeps an expired one out of it.
func TestRefusedScrapersAreToldApart(t *testing.T) {
	var log strings.Builder
	b := newBench(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	other, err := token.ParseKeys([]byte(strings.Repeat("another key ", 3)))
	if err != nil {
		t.Fatal(err)
	}
	foreign := mint(t, other, token.Claims{Role: token.Scraper, Name: "p"}, time.Now())
	ours := b.edge.Keys.Current().KeyIDs()[0]
	const mend = "farscrape-relay token -scraper NAME makes one"
	for _, path := range []string{"/sd", "/scrape/edge-1/node"} {
		for _, c := range []struct {
			name, token string
			want        []string
		}{
			{"another key's", foreign, []string{"key=" + other.KeyIDs()[0], "token_checked=false", "signed with another key", mend}},
			{"an expired one", b.expired, []string{"token_name=p", "key=" + ours, "token_checked=true", "token has expired at", mend}},
			{"an agent's", b.agent, []string{"token_name=edge-1", "key=" + ours, "token_checked=true", "this is the token of an agent", mend}},
		} {
			log.Reset()
			o := b.send(t, "GET "+path+" HTTP/1.1\nHost: "+b.addr+"\nAuthorization: Bearer "+c.token+"\n\n")
			if !strings.Contains(o.body, mend) {
				t.Errorf("%s, %s: %q", path, c.name, o.body)
			}
			id, _ := token.Unchecked(c.token)
			for _, want := range append(c.want, "token_id="+id, "remote_addr=127.0.0.1:") {
				if !strings.Contains(log.String(), want) {
					t.Errorf("%s, %s: no %q in %q", path, c.name, want, log.String())
				}
			}
		}
	}
	if o := b.send(t, "GET /sd HTTP/1.1\nHost: "+b.addr+"\n\n"); !strings.Contains(o.body, "Authorization: Bearer TOKEN") {
		t.Errorf("no token: %q", o.body)
	}
}

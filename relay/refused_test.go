package relay_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// Behind a balancer all agents have one address: the log tells those that are
// refused apart by the name they ask for and by their token, good or not.
func TestRefusedAgentsAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		c := newCluster(t, 1, log.keep, func(c *relay.Config) { c.OwnHosts = wire.NewHosts("relay.example.com") })
		r := c.replicas[0]
		ours := c.keys.Current()
		other, err := token.ParseKeys([]byte(strings.Repeat("another key ", 3)))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		mint := func(keys *token.Keyring, c token.Claims, at time.Time) (string, string) {
			text, minted, err := keys.Mint(c, at)
			if err != nil {
				t.Fatal(err)
			}
			return text, minted.ID
		}
		expired, expiredID := mint(ours, token.Claims{Role: token.Agent, Name: "edge-1", Expires: now.Add(-time.Hour)}, now.Add(-2*time.Hour))
		foreign, foreignID := mint(other, token.Claims{Role: token.Agent, Name: "edge-2"}, now)
		wrong, wrongID := mint(ours, token.Claims{Role: token.Agent, Name: "edge-4"}, now)
		scraper, scraperID := mint(ours, token.Claims{Role: token.Scraper, Name: "prometheus"}, now)
		own, ownID := mint(ours, token.Claims{Role: token.Agent, Name: "*"}, now)
		for _, c := range []struct {
			name, token, logged string
			want                []string
		}{
			{"edge-1", expired, "edge-1", []string{"token_id=" + expiredID, "key=" + ours.KeyIDs()[0], "token_checked=true",
				"the token has expired at " + now.Add(-time.Hour).UTC().Format(time.RFC3339)}},
			{"edge-2", foreign, "edge-2", []string{"token_id=" + foreignID, "key=" + other.KeyIDs()[0], "token_checked=false", `"the token is not one of this relay's: signed with another key"`}},
			{"edge-3", wrong, "edge-3", []string{"token_id=" + wrongID, "key=" + ours.KeyIDs()[0], "token_checked=true", `the token is for \"edge-4\", and does not allow the name \"edge-3\"`}},
			{"edge-5", scraper, "edge-5", []string{"token_id=" + scraperID, "token_checked=true", "mint one with -agent"}},
			{"edge-6", "s3cret", "edge-6", []string{`token_id=""`, `key=""`, "token_checked=false", `"the token is not one of this relay's: it is damaged or cut short; copy it whole"`}},
			{"s3cret/name", own, `""`, []string{"token_id=" + ownID, "token_checked=true"}},
			{"relay.example.com", own, "relay.example.com", []string{"token_id=" + ownID, "is the relay's own name"}},
		} {
			before := len(log.lines("agent refused"))
			if _, _, err := r.tryDial(dialOptions{name: c.name, token: c.token}); err == nil {
				t.Fatalf("%s is taken", c.name)
			}
			lines := log.lines("agent refused")[before:]
			for _, want := range append(c.want, "agent="+c.logged+" ", "remote_addr=") {
				if len(lines) != 1 || !strings.Contains(lines[0], want) {
					t.Errorf("%s: %q is not in %q", c.name, want, lines)
				}
			}
		}
		if lines := log.lines(strings.Split(foreign, ".")[2]); len(lines) != 0 {
			t.Errorf("a signature is in %q", lines)
		}
	})
}

func TestAgentsAreRefusedBeforeTheUpgrade(t *testing.T) {
	c := newCluster(t, 1, func(c *relay.Config) { c.OwnHosts = wire.NewHosts("relay.example.com") })
	r := c.replicas[0]
	expired, _, err := c.keys.Current().Mint(token.Claims{Role: token.Agent, Name: "edge", Expires: time.Now().Add(-time.Hour)}, time.Now().Add(-2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]struct {
		dialOptions
		status int
		reason wire.Reason
	}{
		"garbage":              {dialOptions{token: "garbage"}, 401, wire.Unauthorized},
		"expired":              {dialOptions{token: expired}, 401, wire.Unauthorized},
		"a scraper's token":    {dialOptions{token: r.mint(token.Scraper, "prometheus")}, 403, wire.Forbidden},
		"a token for another":  {dialOptions{token: r.mint(token.Agent, "other")}, 403, wire.Forbidden},
		"outside the pattern":  {dialOptions{pattern: "core-*"}, 403, wire.Forbidden},
		"the relay's own name": {dialOptions{name: "relay.example.com"}, 403, wire.Forbidden},
		"an IP address":        {dialOptions{name: "10.0.0.1", pattern: "*"}, 400, wire.BadRequest},
		"no DNS name":          {dialOptions{name: "a/b", pattern: "*"}, 400, wire.BadRequest},
		"held already":         {dialOptions{held: "x," + string(r.Replica)}, 409, wire.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			_, resp, err := r.tryDial(o.dialOptions)
			if err == nil {
				t.Fatal("it is taken")
			}
			if resp == nil || resp.StatusCode != o.status || resp.Header.Get(wire.HeaderError) != o.reason.String() {
				t.Errorf("got %+v, want %d %s", resp, o.status, o.reason)
			}
			if o.status == 409 && resp.Header.Get("Retry-After") != "1" {
				t.Error("no word of when to come back")
			}
		})
	}
}

// Whatever an agent shows in vain is counted once, by why; what it is refused for
// beside that is not.
func TestRefusedAgentsAreCountedByCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		revoked := token.AwaitRevoked(true)
		c := newCluster(t, 1, func(c *relay.Config) {
			c.Registerer, c.Revoked, c.OwnHosts = metrics, revoked, wire.NewHosts("relay.example.com")
		})
		r := c.replicas[0]
		other, err := token.ParseKeys([]byte(strings.Repeat("another key ", 3)))
		if err != nil {
			t.Fatal(err)
		}
		mint := func(keys *token.Keyring, c token.Claims, at time.Time) string {
			text, _, err := keys.Mint(c, at)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		refused := func(o dialOptions) {
			if _, _, err := r.tryDial(o); err == nil {
				t.Fatalf("%+v is taken", o)
			}
		}
		agent := token.Claims{Role: token.Agent, Name: "edge"}
		ended := token.Claims{Role: token.Agent, Name: "edge", Expires: time.Now().Add(time.Second)}
		expired := mint(c.keys.Current(), ended, time.Now())
		time.Sleep(time.Second)
		refused(dialOptions{})
		r.revokes(ofAgent("gone"))
		for _, o := range []dialOptions{
			{token: " "}, {token: "garbage"}, {token: mint(other, agent, time.Now())}, {token: expired},
			{token: r.mint(token.Scraper, "prometheus")}, {token: r.mintToken(token.Claims{Role: token.Agent, Name: "edge", From: "10.0.0.0/8"})},
			{token: r.mint(token.Agent, "another")}, {name: "gone"},
			{name: "relay.example.com"}, {name: "a/b", pattern: "*"}, {held: "x," + string(r.Replica)},
		} {
			refused(o)
		}
		r.dial(dialOptions{})

		want := map[string]float64{"not_shown": 1, "not_ours": 1, "other_key": 1, "expired": 1, "role": 1, "network": 1, "name": 1, "revoked": 1, "revoked_unknown": 1}
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		series := 0
		for _, f := range families {
			if f.GetName() != "farscrape_relay_credentials_refused_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				series++
				cause, side := m.GetLabel()[0].GetValue(), m.GetLabel()[1].GetValue()
				expected := want[cause]
				if side != "agent" {
					expected = 0
				}
				if n := m.GetCounter().GetValue(); n != expected {
					t.Errorf("%s %s: %v, want %v", side, cause, n, expected)
				}
			}
		}
		if series != 3*len(token.Causes()) {
			t.Errorf("%d series from the start, want %d", series, 3*len(token.Causes()))
		}
	})
}

func TestAnotherVersionIsRefusedWithAReason(t *testing.T) {
	r := newCluster(t, 1).replicas[0]
	req, _ := http.NewRequest("GET", wire.ConnectPath, nil)
	req.Header = http.Header{"Authorization": {"Bearer " + r.mint(token.Agent, "edge")}, wire.HeaderAgent: {"edge"}, "Sec-Websocket-Protocol": {"farscrape.v9"}}
	w := &recorder{header: http.Header{}}
	r.Connect(w, req)
	if w.status != http.StatusUpgradeRequired || !strings.Contains(w.body.String(), wire.Subprotocol) {
		t.Errorf("%d %q", w.status, w.body.String())
	}
}

func TestAnUpgradeThatIsNoneIsRefusedWithAReason(t *testing.T) {
	r := newCluster(t, 1).replicas[0]
	req, _ := http.NewRequest("GET", wire.ConnectPath, nil)
	req.Header = http.Header{"Authorization": {"Bearer " + r.mint(token.Agent, "edge")}, wire.HeaderAgent: {"edge"}, "Sec-Websocket-Protocol": {wire.Subprotocol}}
	w := &recorder{header: http.Header{}}
	r.Connect(w, req)
	if w.status < 400 || w.header.Get(wire.HeaderError) != "bad_request" {
		t.Errorf("%d %v", w.status, w.header)
	}
}

type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }

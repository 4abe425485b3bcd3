package relay_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
)

// A host that joins, as it asks.
type host struct {
	name string
	id   wire.JoinID
	from string // its address; default one of nobody's
	body string // in the place of the two
}

func newHost(name string) host { return host{name: name, id: wire.NewJoinID()} }

// join asks a replica once, by a token.
func (r *replica) join(h host, token string) *httptest.ResponseRecorder {
	body := h.body
	if body == "" {
		b, err := json.Marshal(wire.JoinRequest{Name: h.name, JoinID: h.id})
		if err != nil {
			r.cluster.t.Fatal(err)
		}
		body = string(b)
	}
	req := httptest.NewRequest(http.MethodPost, wire.JoinPath, strings.NewReader(body))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if h.from != "" {
		req.RemoteAddr = h.from
	}
	w := httptest.NewRecorder()
	r.Join(w, req)
	return w
}

// joined is the token of a host that joins.
func (r *replica) joined(h host, by string) (text string, c token.Claims) {
	r.cluster.t.Helper()
	w := r.join(h, by)
	var answer wire.JoinAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &answer); w.Code != http.StatusOK || err != nil {
		r.cluster.t.Fatalf("%s: status %d: %s", h.name, w.Code, w.Body)
	}
	c, err := r.cluster.keys.Verify(answer.Token, time.Now())
	if err != nil {
		r.cluster.t.Fatal(err)
	}
	return answer.Token, c
}

// refusesJoin is that a host is refused, and told why.
func (r *replica) refusesJoin(h host, by string, reason wire.Reason, text string) {
	r.cluster.t.Helper()
	w := r.join(h, by)
	if got := w.Header().Get(wire.HeaderError); got != reason.String() || w.Code != reason.Status() || !strings.Contains(w.Body.String(), text) {
		r.cluster.t.Errorf("%q: status %d, %s: %s; want %s: %s", h.name, w.Code, got, w.Body, reason, text)
	}
}

// joinToken mints one, for as many as want.
func (r *replica) joinToken(pattern string, change ...func(*token.Claims)) (text string, c token.Claims) {
	r.cluster.t.Helper()
	c = token.Claims{Role: token.Join, Name: pattern, Uses: 100, Expires: time.Now().Add(time.Hour)}
	for _, f := range change {
		f(&c)
	}
	text, c, err := r.cluster.keys.Current().Mint(c, time.Now())
	if err != nil {
		r.cluster.t.Fatal(err)
	}
	return text, c
}

func uses(n int) func(*token.Claims) { return func(c *token.Claims) { c.Uses = n } }

func TestAHostJoinsAndLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		by, join := c.replicas[0].joinToken("edge-*", func(c *token.Claims) {
			c.Tenant, c.From, c.Addresses, c.Labels = "t", "192.0.2.0/24", "10.*:*", "site=berlin"
		})
		time.Sleep(time.Hour - time.Minute)
		h := newHost("edge-1")
		text, got := c.replicas[0].joined(h, by)
		want := token.Claims{
			ID: got.ID, Role: token.Agent, Name: "edge-1", Tenant: "t", From: "192.0.2.0/24", Addresses: "10.*:*", Labels: "site=berlin",
			Renewable: true, First: join.Issued, Issued: time.Now().UTC(), Expires: time.Now().UTC().Add(90 * 24 * time.Hour), Key: c.keys.Current().KeyIDs()[0],
		}
		if got != want || got.ID == join.ID {
			t.Errorf("the token says\n%+v, want\n%+v", got, want)
		}
		time.Sleep(10 * time.Second)
		if _, again := c.replicas[1].joined(h, by); again.ID != got.ID || again.First != got.First {
			t.Errorf("asked once more: %+v", again)
		}
		if _, other := c.replicas[1].joined(newHost("edge-2"), by); other.ID == got.ID {
			t.Error("two have tokens of one ID")
		}
		events, err := c.directory.EventsAfter(t.Context(), "t", wire.EventID{}, 10)
		if err != nil || len(events.Events) != 2 || events.Events[0].Kind != wire.EventJoined || events.Events[0].Agent != "edge-1" {
			t.Errorf("events are %+v, %v", events.Events, err)
		}
		if renewed, err := c.keys.Verify(text, time.Now().Add(89*24*time.Hour)); err != nil || !c.keys.Current().RenewalDue(renewed).Equal(got.Issued.Add(60*24*time.Hour)) {
			t.Errorf("is to be renewed at %v, %v", c.keys.Current().RenewalDue(renewed), err)
		}
	})
}

func TestWhoDoesNotJoinIsToldWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, func(c *relay.Config) { c.OwnHosts = wire.NewHosts("relay.example.com") })
		r := c.replicas[0]
		agent := r.dial(dialOptions{name: "has-a-token"})
		defer agent.conn.CloseNow()
		other, err := token.ParseKeys([]byte(strings.Repeat("another key ", 3)))
		if err != nil {
			t.Fatal(err)
		}
		any, _ := r.joinToken("*")
		bound, _ := r.joinToken("*", func(c *token.Claims) { c.From = "10.0.0.0/8" })
		once, _ := r.joinToken("*", uses(1))
		first := newHost("first")
		r.joined(first, once)
		foreign, _, err := other.Mint(token.Claims{Role: token.Join, Name: "*", Uses: 1, Expires: time.Now().Add(time.Hour)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		ended, _ := r.joinToken("*", func(c *token.Claims) { c.Expires = time.Now().Add(time.Second) })
		time.Sleep(2 * time.Second)
		for what, try := range map[string]struct {
			host
			by     string
			reason wire.Reason
			text   string
		}{
			"no token":           {newHost("a"), "", wire.Unauthorized, "no join token"},
			"no token at all":    {newHost("a"), "s3cret", wire.Unauthorized, "not taken"},
			"another relay's":    {newHost("a"), foreign, wire.Unauthorized, "signed with another key"},
			"its time is over":   {newHost("a"), ended, wire.Unauthorized, "has expired"},
			"an agent's":         {newHost("a"), r.mint(token.Agent, "a"), wire.Forbidden, `the token of agent "a"`},
			"a scraper's":        {newHost("a"), r.mint(token.Scraper, "a"), wire.Forbidden, `the token of scraper "a"`},
			"from elsewhere":     {host{name: "a", id: first.id, from: "11.0.0.1:5"}, bound, wire.Forbidden, "10.0.0.0/8"},
			"no name":            {host{name: "", id: first.id}, any, wire.BadRequest, "agent name"},
			"no join ID":         {host{name: "a"}, any, wire.BadRequest, "join_id"},
			"no JSON":            {host{body: "hello"}, any, wire.BadRequest, "the body must be"},
			"more than JSON":     {host{body: `{"name":"a","join_id":"` + string(first.id) + `"} {}`}, any, wire.BadRequest, "the body must be"},
			"a long body":        {host{body: `{"name":"` + strings.Repeat("a", wire.MaxJoin) + `"}`}, any, wire.BadRequest, "more than"},
			"the relay's name":   {newHost("relay.example.com"), any, wire.Forbidden, "the relay's own name"},
			"a name too many":    {newHost("b"), once, wire.Forbidden, "used up"},
			"another's name":     {newHost("first"), any, wire.Forbidden, "another host has joined"},
			"an agent's name":    {newHost("has-a-token"), any, wire.Forbidden, "which has a token"},
			"under another name": {host{name: "second", id: first.id}, once, wire.Forbidden, "under another name"},
		} {
			if r.refusesJoin(try.host, try.by, try.reason, try.text); t.Failed() {
				t.Fatal(what)
			}
		}
		narrow, _ := r.joinToken("edge-*")
		r.refusesJoin(newHost("web-1"), narrow, wire.Forbidden, `for agents called "edge-*"`)
		w := httptest.NewRecorder()
		r.Join(w, httptest.NewRequest(http.MethodGet, wire.JoinPath, nil))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
			t.Errorf("a GET: %d, %v", w.Code, w.Header())
		}
	})
}

// Who is taken back has joined for nothing, and so has the token by which it did. The
// name is another's then, by a token that was made after.
func TestAJoinIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		revoked := token.NewRevoked()
		c := newCluster(t, 1, func(c *relay.Config) { c.Revoked = revoked })
		r := c.replicas[0]
		takeBack := func(s wire.RevokedSubject) {
			now := time.Now()
			revoked.SetStored(wire.NewRevocations([]wire.Revocation{{RevokedSubject: s, Before: now.Unix() + 1, Made: now.UnixMilli()}}))
		}
		by, _ := r.joinToken("edge-*")
		old := newHost("edge-1")
		r.joined(old, by)
		time.Sleep(time.Minute)
		takeBack(wire.RevokedSubject{Kind: wire.RevokedAgent, Tenant: wire.DefaultTenant, Name: "edge-1"})
		time.Sleep(time.Minute)
		r.refusesJoin(old, by, wire.Unauthorized, "taken back")
		r.refusesJoin(newHost("edge-1"), by, wire.Unauthorized, "taken back")
		r.joined(newHost("edge-2"), by) // it is one agent that was taken back
		after, _ := r.joinToken("edge-*")
		fresh := newHost("edge-1")
		r.joined(fresh, after)
		r.joined(fresh, after)
		r.refusesJoin(old, after, wire.Forbidden, "another host has joined")

		leaked, claims := r.joinToken("edge-*")
		third := newHost("edge-3")
		_, got := r.joined(third, leaked)
		takeBack(wire.RevokedSubject{Kind: wire.RevokedToken, Name: claims.ID})
		r.refusesJoin(newHost("edge-4"), leaked, wire.Unauthorized, "taken back")
		takeBack(wire.RevokedSubject{Kind: wire.RevokedToken, Name: got.ID})
		r.refusesJoin(third, leaked, wire.Unauthorized, "taken back")
	})
}

// A name that was taken back is not free: its agent may have another token by now, and be
// away for a moment.
func TestANameThatWasOnceTakenBackIsItsAgents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		revoked := token.NewRevoked()
		c := newCluster(t, 1, func(c *relay.Config) { c.Revoked = revoked })
		r := c.replicas[0]
		now := time.Now()
		revoked.SetStored(wire.NewRevocations([]wire.Revocation{{
			RevokedSubject: wire.RevokedSubject{Kind: wire.RevokedAgent, Tenant: wire.DefaultTenant, Name: "edge-*"}, Before: now.Unix() + 1, Made: now.UnixMilli(),
		}}))
		time.Sleep(time.Minute)
		_ = r.dial(dialOptions{name: "edge-1"}).conn.CloseNow()
		time.Sleep(time.Minute)
		by, _ := r.joinToken("edge-*")
		r.refusesJoin(newHost("edge-1"), by, wire.Forbidden, "which has a token")
		if err := r.Forget(t.Context(), wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "edge-1"}); err != nil {
			t.Fatal(err)
		}
		r.joined(newHost("edge-1"), by)
	})
}

func TestNoJoinedTokenOutlivesTheMostLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 30 * 24 * time.Hour
		r := newCluster(t, 1, func(c *relay.Config) { c.TokenMaxLife = most }).replicas[0]
		by, join := r.joinToken("*", func(c *token.Claims) { c.Expires = time.Now().Add(2 * most) })
		h := newHost("a")
		for range 2 {
			time.Sleep(time.Hour)
			if _, c := r.joined(h, by); !c.Expires.Equal(join.Issued.Add(most)) {
				t.Errorf("it ends %v after the join token was made", c.Expires.Sub(join.Issued))
			}
		}
	})
}

// Who sends nothing after the head takes the places of one address only.
func TestOneAddressKeepsNoOtherFromJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		by, _ := r.joinToken("*")
		silent, end := io.Pipe()
		refused := make(chan int, 1000)
		for range cap(refused) {
			go func() {
				req := httptest.NewRequest(http.MethodPost, wire.JoinPath, silent)
				req.Header.Set("Authorization", "Bearer "+by)
				w := httptest.NewRecorder()
				r.Join(w, req)
				refused <- w.Code
			}()
		}
		synctest.Wait()
		if n := len(refused); n < 900 {
			t.Errorf("%d are refused at once", n)
		}
		h := newHost("a")
		h.from = "198.51.100.7:1"
		r.joined(h, by)
		_ = end.Close()
		synctest.Wait()
	})
}

// What passes is said to pass: nothing is counted, and the host comes again.
func TestAJoinThatCannotBeCountedNowComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := &awayJoins{}
		c := newCluster(t, 1, func(c *relay.Config) {
			away.counted = c.Directory.(counted)
			c.Directory = away
		})
		r := c.replicas[0]
		by, _ := r.joinToken("*", uses(1))
		h := newHost("a")
		for what, fault := range map[string]func(on bool){
			"a replica lacks the key": func(on bool) { c.lacks.Store(on) },
			"the store is away":       func(on bool) { away.err = onlyIf(on, store.ErrAway) },
			"the store has just begun": func(on bool) {
				away.unknown = onlyIf(on, store.ErrUncertain)
			},
		} {
			fault(true)
			w := r.join(h, by)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s: status %d, %v: %s", what, w.Code, w.Header(), w.Body)
			}
			fault(false)
		}
		away.wait = make(chan struct{})
		const places = 4
		answers := make(chan *httptest.ResponseRecorder, places)
		for range places {
			go func() { answers <- r.join(h, by) }()
		}
		synctest.Wait()
		waiting := places - len(answers)
		r.refusesJoin(h, by, wire.Overloaded, "as many are joining")
		close(away.wait)
		synctest.Wait()
		if waiting < 1 || waiting > places/2 {
			t.Errorf("%d of one token ask the store at a time", waiting)
		}
		r.joined(h, by)
	})
}

func onlyIf(on bool, err error) error {
	if on {
		return err
	}
	return nil
}

// awayJoins is a directory that cannot count who joins.
type awayJoins struct {
	counted
	err, unknown error
	wait         chan struct{} // if not nil, joins wait until it is closed
}

func (d *awayJoins) Join(ctx context.Context, j wire.Join) (bool, error) {
	if d.wait != nil {
		<-d.wait
	}
	if d.err != nil {
		return false, d.err
	}
	return d.counted.Join(ctx, j)
}

func (d *awayJoins) Lookup(ctx context.Context, k wire.AgentKey) (*wire.Agent, error) {
	if d.unknown != nil {
		return nil, d.unknown
	}
	return d.counted.Lookup(ctx, k)
}

// The clock of who mints may be ahead a little: that is waited for.
func TestAJoinTokenFromAheadIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		mintAt := func(ahead time.Duration) string {
			at := time.Now().Add(ahead)
			text, _, err := c.keys.Current().Mint(token.Claims{Role: token.Join, Name: "*", Uses: 1, Expires: at.Add(time.Hour)}, at)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		soon, h := mintAt(2*time.Second), newHost("a")
		if w := r.join(h, soon); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "2" {
			t.Errorf("status %d, %v: %s", w.Code, w.Header(), w.Body)
		}
		r.refusesJoin(h, mintAt(time.Hour), wire.Forbidden, "set the clock there")
		time.Sleep(2 * time.Second)
		r.joined(h, soon)
	})
}

func TestNoStoreGivesUsesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := newCluster(t, 1).replicas[0]
		by, _ := before.joinToken("*", uses(1))
		before.joined(newHost("a"), by)
		time.Sleep(time.Second)
		after := newCluster(t, 1).replicas[0] // as if it was started again
		after.refusesJoin(newHost("b"), by, wire.Forbidden, "older than what the relay's store remembers")
	})
}

// Where agents show certificates only, nobody joins for a token that nobody takes.
func TestNobodyJoinsWhereNoTokensAreTaken(t *testing.T) {
	r := newCluster(t, 1, func(c *relay.Config) { c.AgentAuth = certificate.Certificate }).replicas[0]
	by, _ := r.joinToken("*")
	r.refusesJoin(newHost("a"), by, wire.Forbidden, "FARSCRAPE_AGENT_AUTH=certificate")
}

func TestRefusedJoinsAreCountedByCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		r := newCluster(t, 1, func(c *relay.Config) { c.Registerer = metrics }).replicas[0]
		narrow, _ := r.joinToken("edge-*")
		r.join(newHost("web-1"), narrow)
		r.join(newHost("web-1"), "")
		r.join(newHost("web-1"), r.mint(token.Scraper, "web-1"))
		r.joined(newHost("edge-1"), narrow)
		want := `# HELP farscrape_relay_joins_total Requests to join by a join token, by what came of them: joined, again (who has joined before), refused, unavailable (to be asked again).
# TYPE farscrape_relay_joins_total counter
farscrape_relay_joins_total{result="again"} 0
farscrape_relay_joins_total{result="joined"} 1
farscrape_relay_joins_total{result="refused"} 3
farscrape_relay_joins_total{result="unavailable"} 0
`
		if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "farscrape_relay_joins_total"); err != nil {
			t.Error(err)
		}
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := make(map[string]float64)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if labels := m.GetLabel(); f.GetName() == "farscrape_relay_credentials_refused_total" && labels[1].GetValue() == "join" && m.GetCounter().GetValue() > 0 {
					counted[labels[0].GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
		if !maps.Equal(counted, map[string]float64{"name": 1, "not_shown": 1, "role": 1}) {
			t.Errorf("counted %v", counted)
		}
	})
}

func TestJoinTokensAreNothingElse(t *testing.T) {
	c := newCluster(t, 1)
	by, _ := c.replicas[0].joinToken("edge-*")
	if _, resp, err := c.replicas[0].tryDial(dialOptions{name: "edge-1", token: by}); err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a link is opened by it: %v", err)
	}
	for what, c := range map[string]token.Claims{
		"no uses":         {Role: token.Join, Name: "a", Expires: time.Now().Add(time.Hour)},
		"too many uses":   {Role: token.Join, Name: "a", Uses: wire.MaxJoins + 1, Expires: time.Now().Add(time.Hour)},
		"no end":          {Role: token.Join, Name: "a", Uses: 1},
		"to be renewed":   {Role: token.Join, Name: "a", Uses: 1, Expires: time.Now().Add(time.Hour), Renewable: true},
		"a bad label":     {Role: token.Join, Name: "a", Uses: 1, Expires: time.Now().Add(time.Hour), Labels: "9=x"},
		"an agent's uses": {Role: token.Agent, Name: "a", Uses: 1},
		"others' agents":  {Role: token.Join, Name: "a", Uses: 1, Expires: time.Now().Add(time.Hour), Agents: "*"},
	} {
		if _, _, err := newCluster(t, 1).keys.Current().Mint(c, time.Now()); err == nil {
			t.Errorf("%s: minted", what)
		}
	}
}

package relay_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
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
		const most = time.Hour
		r := newCluster(t, 1, func(c *relay.Config) { c.TokenMaxLife = most }).replicas[0]
		by, join := r.joinToken("*", func(c *token.Claims) { c.Expires = time.Now().Add(2 * most) })
		h := newHost("a")
		for range 2 {
			time.Sleep(time.Minute)
			if _, c := r.joined(h, by); !c.Expires.Equal(join.Issued.Add(most)) {
				t.Errorf("it ends %v after the join token was made", c.Expires.Sub(join.Issued))
			}
		}
		time.Sleep(most)
		r.refusesJoin(h, by, wire.Forbidden, "FARSCRAPE_TOKEN_MAX_LIFE")
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

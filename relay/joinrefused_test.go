package relay_test

import (
	"context"
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

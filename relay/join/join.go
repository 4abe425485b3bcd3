// Package join gives hosts their agents' tokens: who shows a join token gets, as often as
// that says, the token of an agent of its own name. The store counts; nothing of a token
// is stored.
package join

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/loglimit"
	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A directory counts who joins, and knows who is there.
type directory interface {
	Join(ctx context.Context, j wire.Join) (again bool, err error)
	Lookup(ctx context.Context, k wire.AgentKey) (*wire.Agent, error)
	AllHave(key string) bool // whether all that may be alive have said that they check with that key
}

// Config is what Joins are made of. All fields are required.
type Config struct {
	Directory directory
	Keys      *token.Keys
	Revoked   *token.Revoked
	OwnHosts  wire.Hosts    // no agent is called so
	MaxLife   time.Duration // no token lives past it, from when the join token was made; 0: no bound
	NoTokens  bool          // agents show certificates only: what they would get is taken by nobody

	Draining     func() bool
	Record       func(e wire.Event, holder string) // tells the tenant's journal; holder: whose share of it
	CountRefused func(of token.Role, cause token.Cause)
	// HoldRefused returns when a credential may be refused that came from an address.
	HoldRefused func(ctx context.Context, remoteAddr string)

	Lines      *loglimit.Limiter // for what peers cause
	Registerer prometheus.Registerer
}

// Places, by all join tokens together. Who finds none comes again. They are not those of
// links.
const (
	// readingOfAll is how many may send their requests at a time, for which each has ten
	// seconds: 4 MiB of connections. One address with one token has half of them, for a
	// join token is a secret of many.
	readingOfAll = 128
	// askingOfAll is how many may ask the store, which takes a millisecond or two, half of
	// them by one token: some 1,000 a second. Each has a connection to Redis meanwhile.
	askingOfAll = 4
)

// unread is how long the rest of a request may take that is refused unread.
const unread = 100 * time.Millisecond

// Joins are the joins at one replica.
type Joins struct {
	Config
	reading *share.Pool
	asking  *share.Pool
	results *prometheus.CounterVec
}

// New makes the joins of a replica.
func New(c Config) *Joins {
	return &Joins{Config: c, reading: share.New(readingOfAll, readingOfAll), asking: share.New(askingOfAll, askingOfAll), results: newResults(c.Registerer)}
}

// Serve answers a POST to wire.JoinPath.
func (j *Joins) Serve(w http.ResponseWriter, req *http.Request) {
	c, refused := j.admit(req)
	if refused == nil {
		refused = j.serve(w, req, c)
	}
	if refused != nil {
		j.refuse(w, req, c, refused)
	}
}

// admit decides by the request's head alone.
func (j *Joins) admit(req *http.Request) (c token.Claims, refused *refusal) {
	if req.Method != http.MethodPost {
		return c, &refusal{reason: wire.Method, text: "to join is a POST"}
	}
	if j.NoTokens {
		return c, &refusal{reason: wire.Forbidden, text: "this relay takes no tokens of agents (FARSCRAPE_AGENT_AUTH=certificate): who has a certificate of its CA needs not join"}
	}
	if j.Draining() {
		return c, &refusal{reason: wire.Draining, within: time.Second, text: "this replica is about to exit; another takes it"}
	}
	shown, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return c, &refusal{reason: wire.Unauthorized, err: token.ErrNotShown, text: "no join token: " + mint}
	}
	c, err := j.Keys.Verify(strings.TrimSpace(shown), time.Now())
	switch {
	case err != nil:
		return c, &refusal{reason: wire.Unauthorized, err: err, text: fmt.Sprintf("the join token is not taken: %v: %s", err, mint)}
	case c.Role != token.Join:
		return c, &refusal{reason: wire.Forbidden, err: token.ErrRole, text: fmt.Sprintf("this is not a join token but the token of %s %q: %s", c.Role, c.Name, mint)}
	case !c.AllowsFrom(req.RemoteAddr):
		return c, &refusal{reason: wire.Forbidden, err: token.ErrNetwork, text: fmt.Sprintf("the join token is for hosts in %s, and this one comes from %s: if that is a load balancer, put it into the relay's FARSCRAPE_TRUSTED_PROXIES", c.From, req.RemoteAddr)}
	}
	return c, nil
}

// serve redeems a join token, and answers unless it returns why not.
func (j *Joins) serve(w http.ResponseWriter, req *http.Request, c token.Claims) *refusal {
	reader := share.Member{Tenant: c.Tenant, Name: c.ID + " " + loglimit.Stranger(req.RemoteAddr).Name}
	if !j.reading.Take(reader, 1) {
		return crowded
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, wire.MaxJoin))
	j.reading.Give(reader, 1)
	if err != nil {
		return &refusal{reason: wire.BadRequest, text: fmt.Sprintf("the body is not there whole, or has more than %d bytes", wire.MaxJoin)}
	}
	asked, err := wire.ParseJoinRequest(body)
	if err != nil {
		return &refusal{reason: wire.BadRequest, text: err.Error()}
	}
	joined, err := j.redeem(req.Context(), c, asked)
	if err != nil {
		if why := new(refusal); errors.As(err, &why) {
			return why
		}
		return refusalOf(err, asked.Name)
	}
	j.tell(req, c, joined)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(wire.JoinAnswer{Token: joined.token}) // who does not read it asks again
	return nil
}

// tell tells of who has joined.
func (j *Joins) tell(req *http.Request, c token.Claims, joined redeemed) {
	key := wire.AgentKey{Tenant: joined.claims.Tenant, Agent: joined.claims.Name}
	result := resultJoined
	if joined.again {
		result = resultAgain
	} else {
		j.Record(wire.Event{Kind: wire.EventJoined, AgentKey: key, Detail: "by join token " + c.ID}, c.ID)
	}
	j.results.WithLabelValues(result).Inc()
	j.Lines.Of(share.Member{Tenant: c.Tenant, Name: c.ID}).Info("agent joins", "agent", key.Agent, "again", joined.again,
		"join_token_id", c.ID, "token_id", joined.claims.ID, "expires", joined.claims.Expires, "remote_addr", req.RemoteAddr)
}

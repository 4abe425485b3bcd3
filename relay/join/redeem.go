package join

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// redeemed is what a join token was redeemed for.
type redeemed struct {
	token  string
	claims token.Claims
	again  bool // and had been before
}

// redeem redeems a join token that verifies, for who asks. Its error is a refusal, or
// the store's.
func (j *Joins) redeem(ctx context.Context, c token.Claims, asked *wire.JoinRequest) (r redeemed, err error) {
	now, ring := time.Now(), j.Keys.Current()
	if j.OwnHosts.Has(asked.Name) {
		return r, &refusal{reason: wire.Forbidden, text: fmt.Sprintf("%q is the relay's own name: set FARSCRAPE_NAME to another", asked.Name)}
	}
	if !c.AllowsAgent(asked.Name) {
		return r, &refusal{reason: wire.Forbidden, err: token.ErrName, text: fmt.Sprintf("the join token is for agents called %q, and this one is called %q: set FARSCRAPE_NAME to one that fits", c.Name, asked.Name)}
	}
	if why := j.revoked(c, asked, now); why != nil {
		return r, why
	}
	if ends := c.Joined(asked.Name, asked.JoinID, now, j.MaxLife).Expires; !now.Before(ends) {
		return r, &refusal{reason: wire.Forbidden, text: fmt.Sprintf("the join token is older than FARSCRAPE_TOKEN_MAX_LIFE, %s: %s", j.MaxLife, mint)}
	}
	if first := ring.KeyIDs()[0]; !j.Directory.AllHave(first) {
		return r, &refusal{reason: wire.BusUnavailable, within: 2 * time.Second, text: "not all replicas have the key yet that signs (key " + first + "): they would not take the token"}
	}
	holder := share.Member{Tenant: c.Tenant, Name: c.ID}
	if !j.asking.Take(holder, 1) {
		return r, crowded
	}
	defer j.asking.Give(holder, 1)
	if r.again, err = j.count(ctx, c, asked); err != nil {
		return r, err
	}
	r.token, r.claims, err = ring.MintJoined(c, asked.Name, asked.JoinID, now, j.MaxLife)
	return r, err
}

// revoked refuses a join token that was taken back, and whom it would let back in that
// was: by its name, or by the token that it has got.
func (j *Joins) revoked(c token.Claims, asked *wire.JoinRequest, now time.Time) error {
	taken := j.Revoked.Now()
	for _, c := range []token.Claims{c, c.Joined(asked.Name, asked.JoinID, now, j.MaxLife)} {
		switch err := taken.Check(c, asked.Name); {
		case errors.Is(err, token.ErrRevokedUnknown):
			return &refusal{reason: wire.BusUnavailable, err: err, within: 5 * time.Second, text: "FARSCRAPE_REVOKED_UNKNOWN=refuse, and redis has not said since this replica started what has been taken back"}
		case err != nil:
			return &refusal{reason: wire.Unauthorized, err: err, text: "the join token has been taken back, or the agent since it was made: " + mint}
		}
	}
	return nil
}

// count has the store count who joins.
func (j *Joins) count(ctx context.Context, c token.Claims, asked *wire.JoinRequest) (again bool, err error) {
	key := wire.AgentKey{Tenant: c.Tenant, Agent: asked.Name}
	known, unknown := j.Directory.Lookup(ctx, key)
	join := wire.Join{
		AgentKey: key, Joiner: asked.JoinID.Joiner(), TokenID: c.ID, Uses: c.Uses, Minted: c.Issued, Expires: c.Expires,
		Free: unknown == nil && known == nil,
	}
	again, err = j.Directory.Join(ctx, join)
	if other := new(wire.NameJoinedError); errors.As(err, &other) && j.isTakenBack(key, other.First) {
		join.Instead = other.Joiner
		again, err = j.Directory.Join(ctx, join)
	}
	if errors.Is(err, wire.ErrNameInUse) && unknown != nil {
		return false, &refusal{reason: wire.BusUnavailable, err: unknown, within: 5 * time.Second, text: fmt.Sprintf("whether there is an agent called %q cannot be known yet: the relay's directory has just begun (FARSCRAPE_SD_GRACE), or its Redis is away", asked.Name)}
	}
	return again, err
}

// isTakenBack reports whether an agent is whose tokens were first issued then.
func (j *Joins) isTakenBack(k wire.AgentKey, first time.Time) bool {
	_, dead := j.Revoked.Now().Dead(token.Claims{Role: token.Agent, Name: k.Agent, Tenant: k.Tenant, First: first}, k.Agent)
	return dead
}

package link

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// record tells the tenant's journal what has happened to the link. Nothing that the
// agent says stands there, but for names that were checked.
func (l *Link) record(kind wire.EventKind, cause, detail string) {
	e := wire.Event{Kind: kind, AgentKey: l.key, Link: l.id, Cause: cause, Detail: detail}
	if l.hello != nil {
		e.Instance = l.hello.Instance
	}
	l.links.Record(e, holderOf(l.claims))
}

// holderOf is whose share of the journal an event takes: the token's, or if that is for
// one name the agent's own, however often another is minted for it.
func holderOf(c token.Claims) string {
	if c.IsGlob() {
		return "*" + c.ID
	}
	return c.Name
}

// recordLinked tells of a link that was welcomed, and not closed before.
func (l *Link) recordLinked(registered bool) {
	l.mu.Lock()
	linked := l.linked
	l.mu.Unlock()
	switch {
	case linked && registered:
		l.record(wire.EventLinked, "", "")
	case linked:
		l.record(wire.EventLinked, "", "local only until the directory is back")
	}
}

// recordClosed tells of a link that recordLinked has told of; before, of a token that
// is good no more, if that is why.
func (l *Link) recordClosed(cause wire.Cause) {
	l.mu.Lock()
	linked := l.linked
	l.mu.Unlock()
	if !linked {
		return
	}
	if revoked := l.revoked(time.Now()); cause == wire.CauseRevoked && revoked != "" { // the agent may say so without
		l.record(wire.EventRevoked, revoked, "")
	}
	l.record(wire.EventClosed, cause.String(), "")
}

// revoked says why the link's token, or its certificate, is good no more; empty if it is.
func (l *Link) revoked(now time.Time) string {
	switch err, c := l.certificateGone(now), l.inForce(); {
	case errors.Is(err, certificate.ErrEnded):
		return "certificate_expired"
	case errors.Is(err, certificate.ErrListed):
		return "certificate_revoked"
	case !c.Expires.IsZero() && now.After(c.Expires):
		return "token_expired"
	}
	if removed := l.removed(l.links.Keys.Current()); removed != "" {
		return removed
	}
	switch _, what := l.dead(l.links.Revoked.Now()); what {
	case certificateTakenBack:
		return "certificate_revoked"
	case tokenTakenBack:
		return "token_revoked"
	}
	return ""
}

// recordTargets tells how many targets are others than before.
func (l *Link) recordTargets(before *wire.TargetList) {
	if c := wire.CountChanges(before, l.list); c != (wire.ChangeCount{}) {
		l.record(wire.EventTargets, "", c.String())
	}
}

// recordNotTaken tells of a HELLO or a target list that was not taken. Only a limit's
// error quotes nothing of it.
func (l *Link) recordNotTaken(why error) {
	detail := "the HELLO or the target list is not taken: the agent's log says why"
	if limit := new(wire.LimitError); errors.As(why, &limit) {
		detail = limit.Error()
	}
	l.record(wire.EventRefused, wire.CauseRefused.String(), detail)
}

// recordRefusal tells of an upgrade that was not granted, where a token of ours, be it
// expired, says whose it was.
func (t *Links) recordRefusal(req *http.Request, c token.Claims, f *refusal) {
	if c.Role != token.Agent || f.within > 0 { // which is in the order of things
		return
	}
	asked, detail := strings.ToLower(req.Header.Get(wire.HeaderAgent)), f.text
	if wire.CheckAgentName(asked) != nil { // which the text quotes
		asked, detail = "", "the name that the agent goes by is none"
	}
	name := c.Name
	switch {
	case asked != "" && c.AllowsAgent(asked):
		name = asked
	case c.IsGlob():
		return // of no agent in particular
	}
	t.Record(wire.Event{Kind: wire.EventRefused, AgentKey: wire.AgentKey{Tenant: c.Tenant, Agent: name}, Cause: f.reason.String(), Detail: detail}, holderOf(c))
}

package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/farscrape/farscrape/relay/wire"
)

// listing is a tenant's whole listing.
func (e *Edge) listing(ctx context.Context, tenant string) (*wire.Listing, *wire.Error) {
	l, failure := e.Scraper.Listing(ctx, tenant)
	if failure != nil && failure.Reason != wire.BusUnavailable {
		failure = wire.Errorf(wire.BusUnavailable, "no whole list of agents: %v", failure)
	}
	return l, failure
}

// agentsOf is the part of the listing that a caller may see.
func (e *Edge) agentsOf(ctx context.Context, who caller) ([]wire.Agent, *wire.Error) {
	l, failure := e.listing(ctx, who.tenant)
	if failure != nil {
		return nil, failure
	}
	if who.allow == "" {
		return l.Agents, nil
	}
	var seen []wire.Agent // a listing does not change
	for i := range l.Agents {
		if who.allows(l.Agents[i].Agent) {
			seen = append(seen, l.Agents[i])
		}
	}
	return seen, nil
}

// sortedTargets are an agent's targets in the order of names.
func sortedTargets(a *wire.Agent) []*wire.Target {
	targets := a.Targets()
	sorted := make([]*wire.Target, len(targets))
	for i := range targets {
		sorted[i] = &targets[i]
	}
	slices.SortFunc(sorted, func(a, b *wire.Target) int { return strings.Compare(a.Name, b.Name) })
	return sorted
}

// newest is the entry that says most of an agent: its youngest live one, or the
// last there was.
func newest(a *wire.Agent) *wire.Entry {
	if n := len(a.Links); n > 0 {
		return &a.Links[n-1]
	}
	return &a.Last
}

// serveClients lists connected agents the way PushProx does, labels and all.
func (e *Edge) serveClients(w http.ResponseWriter, r *http.Request, who caller) *wire.Error {
	agents, failure := e.agentsOf(r.Context(), who)
	if failure != nil {
		return failure
	}
	type client struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"` // null, always
	}
	return e.answerJSON(w, r, who, func() any {
		clients := []client{}
		for i := range agents {
			if agents[i].Connected() {
				clients = append(clients, client{Targets: []string{agents[i].Agent}})
			}
		}
		return clients
	})
}

// An agentView is one agent in /api/v1/agents.
type agentView struct {
	Agent          string           `json:"agent"`
	Tenant         string           `json:"tenant"`
	Connected      bool             `json:"connected"`
	LastSeen       time.Time        `json:"last_seen,omitzero"`
	LastCloseCause string           `json:"last_close_cause,omitempty"`
	RemoteAddr     string           `json:"remote_addr,omitempty"`
	Version        string           `json:"version,omitempty"`
	TokenExpiry    time.Time        `json:"token_expiry,omitzero"`
	Replicas       []wire.ReplicaID `json:"replicas"` // one a link
	Targets        []*wire.Target   `json:"targets"`
}

func (e *Edge) serveAgents(w http.ResponseWriter, r *http.Request, who caller) *wire.Error {
	agents, failure := e.agentsOf(r.Context(), who)
	if failure != nil {
		return failure
	}
	return e.answerJSON(w, r, who, func() any { return map[string][]agentView{"agents": viewsOf(agents)} })
}

func viewsOf(agents []wire.Agent) []agentView {
	views := make([]agentView, len(agents))
	for i := range agents {
		a, entry := &agents[i], newest(&agents[i])
		views[i] = agentView{
			Agent: a.Agent, Tenant: a.Tenant, Connected: a.Connected(),
			LastSeen: a.Seen(time.Now()), LastCloseCause: a.LastClose,
			RemoteAddr: entry.RemoteAddr, Version: entry.Version, TokenExpiry: entry.TokenExpiry,
			Replicas: make([]wire.ReplicaID, len(a.Links)), Targets: sortedTargets(a),
		}
		for j := range a.Links {
			views[i].Replicas[j] = a.Links[j].Replica
		}
	}
	return views
}

// forgetAgent takes a departed agent off the list.
func (e *Edge) forgetAgent(w http.ResponseWriter, r *http.Request, who caller) *wire.Error {
	name, err := url.PathUnescape(chi.URLParam(r, "agent"))
	if name = lower(name); err != nil || wire.CheckAgentName(name) != nil {
		return wire.Errorf(wire.BadRequest, "the agent in the path is not a DNS name")
	}
	if !who.allows(name) {
		return wire.Errorf(wire.AgentUnknown, "no agent %s", name)
	}
	if err := e.Scraper.Forget(r.Context(), wire.AgentKey{Tenant: who.tenant, Agent: name}); err != nil {
		return failureOf(r.Context(), err)
	}
	e.Logger.InfoContext(r.Context(), "agent forgotten", "tenant", who.tenant, "agent", name)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// answerJSON encodes all of what make returns before anything of it is sent.
func (e *Edge) answerJSON(w http.ResponseWriter, r *http.Request, who caller, make func() any) *wire.Error {
	return e.answerOnce(r, who, func(b *bytes.Buffer) error {
		encoder := json.NewEncoder(b)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(make())
	}, func(a *answer) { sendJSON(w, r, a) })
}

// answerOnce sends a page that is nobody else's, and that write writes.
func (e *Edge) answerOnce(r *http.Request, who caller, write func(*bytes.Buffer) error, send func(*answer)) *wire.Error {
	nothing := func() *answer { return nil }
	err := e.room.serve(r.Context(), who.tenant, nothing, func() (*answer, error) {
		var b bytes.Buffer
		err := write(&b)
		return newAnswer(b.Bytes()), err
	}, send)
	if err != nil {
		return failureOf(r.Context(), err)
	}
	return nil
}

// sendJSON sends an answer, or 304 to whoever has it already.
func sendJSON(w http.ResponseWriter, r *http.Request, a *answer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "private, no-cache")
	w.Header().Set("ETag", a.tag)
	whole := r.Clone(r.Context())
	whole.Header.Del("Range")
	http.ServeContent(w, whole, "", time.Time{}, bytes.NewReader(a.body))
}

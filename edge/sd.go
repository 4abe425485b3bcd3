package edge

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// An omission says why discovery leaves a target out. It is also the metric's
// label.
type omission string

const (
	// ambiguous: a proxy-mode request to its address would mean another target
	// or none in particular.
	ambiguous omission = "ambiguous"
	// claimed: its address is not the agent's: another has declared it earlier,
	// or it is ours.
	claimed omission = "claimed"
	// unprintable: Prometheus could not be told its labels or its path.
	unprintable omission = "unprintable"
)

func omissions() []omission { return []omission{ambiguous, claimed, unprintable} }

// serveDiscovery lists targets, one a group: all of them, or none and an error,
// upon which Prometheus keeps what it has. A list is made once for all who ask
// for it, and again when the listing has changed.
func (e *Edge) serveDiscovery(w http.ResponseWriter, r *http.Request, who caller) *wire.Error {
	f, failure := parseFilter(r.URL.RawQuery)
	if failure != nil {
		return failure
	}
	at, failure := e.publicBase(r)
	if failure != nil {
		return failure
	}
	l, failure := e.listing(r.Context(), who.tenant)
	if failure != nil {
		return failure
	}
	key := listKey{who.tenant, who.allow, r.URL.RawQuery, at}
	find := func() *answer { return e.lists.find(key, l.Version) }
	compute := func() (*answer, error) {
		return e.lists.get(r.Context(), key, l.Version, func(ctx context.Context) ([]byte, error) {
			return e.list(ctx, l, who, f, at)
		})
	}
	err := e.room.serve(r.Context(), who.tenant, find, compute, func(list *answer) { sendJSON(w, r, list) })
	if err != nil {
		return failureOf(r.Context(), err)
	}
	return nil
}

// listedSize is what the least of targets takes in a list, in bytes.
const listedSize = 256

// list makes the answer: the targets that the filter takes, of the agents that
// the caller may see.
func (e *Edge) list(ctx context.Context, l *wire.Listing, who caller, f filter, at base) ([]byte, error) {
	list := groupList{}
	whole := f.all() && who.allow == ""
	if whole {
		list.json = make([]byte, 0, listedSize*min(l.Targets(), wire.MaxTargets))
	}
	seen := 0 // targets
	for i := range l.Agents {
		a := &l.Agents[i]
		if whole {
			list.reserve(seen, l.Targets())
			seen += len(a.Targets())
		}
		if !who.allows(a.Agent) || !f.takesAgent(a.Agent) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err // nobody waits any more
		}
		for _, g := range e.groups(ctx, l, a, f.proxy, at) {
			if f.takesTarget(g.target.Name) && f.takesLabels(&g) {
				list.add(&g)
			}
		}
	}
	return list.end(), nil
}

// groups are all of an agent's targets that a mode can list.
func (e *Edge) groups(ctx context.Context, l *wire.Listing, a *wire.Agent, proxy bool, at base) []group {
	targets := sortedTargets(a)
	groups := make([]group, 0, len(targets))
	var places wire.Places
	if proxy {
		places = wire.NewPlaces(a.Agent, targets)
	}
	for _, t := range targets {
		if !t.Discoverable() {
			continue
		}
		var g group
		var why omission
		if proxy {
			g, why = proxyGroup(l.Book(), e.OwnHosts, places, a, t)
		} else {
			g = pathGroup(at, a, t)
		}
		if why == "" && wire.CheckLabels(t.Labels) != nil {
			why = unprintable
		}
		if why != "" {
			e.omit(ctx, a, t, why)
		} else if g.address != "" {
			groups = append(groups, g)
		}
	}
	tellApart(groups)
	return groups
}

// omit counts a target that is left out, and logs it once in a while.
func (e *Edge) omit(ctx context.Context, a *wire.Agent, t *wire.Target, why omission) {
	e.metrics.omitted.WithLabelValues(string(why)).Inc()
	if held, show := e.dueToLog(quietKey{a.AgentKey, t.Name, wire.TargetAmbiguous}, time.Now()); show {
		e.Logger.WarnContext(ctx, "target left out of service discovery",
			"tenant", a.Tenant, "agent", a.Agent, "target", t.Name, "cause", string(why), "like_it_before", held)
	}
}

// pathGroup is a target for path mode.
func pathGroup(at base, a *wire.Agent, t *wire.Target) group {
	own := a.Agent + "/" + t.Name
	g := group{agent: a, target: t, address: at.address, scheme: at.scheme, path: at.prefix + scrapePath + own, own: own}
	if g.instance = t.Labels["instance"]; g.instance == "" {
		g.instance = own // all have the relay's address
	}
	return g
}

// proxyGroup is a target for proxy mode; without an address if it has none there.
func proxyGroup(book *wire.AddressBook, own wire.Hosts, places wire.Places, a *wire.Agent, t *wire.Target) (group, omission) {
	address := t.ProxyAddress(a.Agent)
	if address == "" {
		return group{}, ""
	}
	// Prometheus takes __metrics_path__ unescaped and escapes it its own way.
	escaped := cmp.Or(t.Path, "/")
	path, err := url.PathUnescape(escaped)
	if err != nil || (&url.URL{Path: path}).EscapedPath() != escaped {
		return group{}, unprintable
	}
	switch book.Standing(a, t, address, own) {
	case wire.AddressGranted:
	case wire.AddressShared:
		return group{}, ambiguous
	default:
		return group{}, claimed
	}
	if !places.Finds(t, address) {
		return group{}, ambiguous
	}
	return group{agent: a, target: t, address: address, scheme: "http", path: path,
		instance: t.Labels["instance"], own: address + escaped}, ""
}

// A base is where Prometheus reaches this edge.
type base struct{ scheme, address, prefix string }

// publicBase is PublicURL, or else what the request came to.
func (e *Edge) publicBase(r *http.Request) (base, *wire.Error) {
	if u := e.PublicURL; u != nil {
		return base{u.Scheme, u.Host, strings.TrimSuffix(u.Path, "/")}, nil
	}
	at := base{scheme: "http", address: r.Host}
	if r.TLS != nil {
		at.scheme = "https"
	}
	if e.trusted(r.RemoteAddr) {
		if proto := first(r.Header.Get("X-Forwarded-Proto")); proto == "http" || proto == "https" {
			at.scheme = proto
		}
		if host := first(r.Header.Get("X-Forwarded-Host")); host != "" {
			at.address = host
		}
	}
	if ok, _ := hostPort(at.address); ok == "" {
		return base{}, wire.Errorf(wire.BadRequest, "the request's Host is no address for Prometheus: set FARSCRAPE_PUBLIC_URL")
	}
	return at, nil
}

// first is the first of a list: what the outermost proxy saw.
func first(list string) string {
	value, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(value)
}

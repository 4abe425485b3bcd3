package edge

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A group is an element of Prometheus's HTTP service discovery. One unknown key
// or one invalid label name would make it refuse the whole list.
type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// An omission says why discovery leaves a target out. It is also the metric's
// label.
type omission string

const (
	// ambiguous: a proxy-mode request to its address would mean another target
	// or none in particular.
	ambiguous omission = "ambiguous"
	// unprintable: Prometheus could not be told its labels or its path.
	unprintable omission = "unprintable"
)

func omissions() []omission { return []omission{ambiguous, unprintable} }

// serveDiscovery lists targets, one a group: all of them, or none and an error,
// upon which Prometheus keeps what it has.
func (e *Edge) serveDiscovery(w http.ResponseWriter, r *http.Request, who caller) *wire.Error {
	f, failure := parseFilter(r.URL.RawQuery)
	if failure != nil {
		return failure
	}
	at, failure := e.publicBase(r)
	if failure != nil {
		return failure
	}
	agents, failure := e.agents(r.Context(), who.tenant)
	if failure != nil {
		return failure
	}
	var book *addressBook
	if f.proxy {
		book = newAddressBook(agents)
	}
	groups := []group{} // never null: that would remove all targets as [] does, but say it by accident
	for i := range agents {
		a := &agents[i]
		if !who.allows(a.Agent) || !f.takesAgent(a.Agent) {
			continue
		}
		for _, t := range sortedTargets(a) {
			if !t.Discoverable() || !f.takesTarget(t.Name) {
				continue
			}
			g, why := pathGroup(at, a, t), omission("")
			if f.proxy {
				g, why = book.group(a, t)
			}
			if why == "" && wire.CheckLabels(t.Labels) != nil {
				why = unprintable
			}
			if why != "" {
				e.omit(r.Context(), a, t, why)
			} else if len(g.Targets) > 0 && f.takesLabels(g.Labels) {
				groups = append(groups, g)
			}
		}
	}
	return sendJSON(w, groups)
}

// omit counts a target that is left out, and logs it once in a while.
func (e *Edge) omit(ctx context.Context, a *wire.Agent, t *wire.Target, why omission) {
	e.metrics.omitted.WithLabelValues(string(why)).Inc()
	if held, show := e.quiet.show(quietKey{a.Tenant, a.Agent + "/" + t.Name, wire.TargetAmbiguous}, time.Now()); show {
		e.Logger.WarnContext(ctx, "target left out of service discovery",
			"tenant", a.Tenant, "agent", a.Agent, "target", t.Name, "cause", string(why), "like_it_before", held)
	}
}

// pathGroup is a target for path mode.
func pathGroup(at base, a *wire.Agent, t *wire.Target) group {
	labels := groupLabels(a, t)
	labels["__scheme__"] = at.scheme
	labels["__metrics_path__"] = at.prefix + scrapePath + a.Agent + "/" + t.Name
	if _, declared := t.Labels["instance"]; !declared { // all have the relay's address
		labels["instance"] = a.Agent + "/" + t.Name
	}
	return group{[]string{at.address}, labels}
}

// groupLabels are the labels that both modes give a target.
func groupLabels(a *wire.Agent, t *wire.Target) map[string]string {
	connected := "false"
	if a.Connected() {
		connected = "true"
	}
	labels := make(map[string]string, len(t.Labels)+8)
	for name, value := range t.Labels {
		labels[name] = value
	}
	labels["agent"] = a.Agent
	labels["__meta_farscrape_agent"] = a.Agent
	labels["__meta_farscrape_target"] = t.Name
	labels["__meta_farscrape_tenant"] = a.Tenant
	labels["__meta_farscrape_connected"] = connected
	return labels
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

// An addressBook knows which target a proxy-mode request would reach, by the
// rule of package relay: the agent that the host names, else the only one that
// declares the address, and of that agent's targets the one wire.MatchTarget
// finds.
type addressBook struct {
	names   map[string]bool
	holders map[string]map[string]bool    // agents by declared address
	targets map[[2]string]([]wire.Target) // by agent and address
}

func newAddressBook(agents []wire.Agent) *addressBook {
	b := &addressBook{
		names:   make(map[string]bool, len(agents)),
		holders: make(map[string]map[string]bool),
		targets: make(map[[2]string][]wire.Target),
	}
	for i := range agents {
		a := &agents[i]
		b.names[a.Agent] = true
		for _, t := range a.Targets() {
			address := t.ProxyAddress(a.Agent)
			key := [2]string{a.Agent, address}
			b.targets[key] = append(b.targets[key], t)
			if t.Address != "" {
				if b.holders[address] == nil {
					b.holders[address] = make(map[string]bool)
				}
				b.holders[address][a.Agent] = true
			}
		}
	}
	return b
}

// group is a target for proxy mode; without addresses if it has none there.
func (b *addressBook) group(a *wire.Agent, t *wire.Target) (group, omission) {
	address := t.ProxyAddress(a.Agent)
	if address == "" {
		return group{}, ""
	}
	// Prometheus takes __metrics_path__ unescaped and escapes it its own way.
	escaped := t.Path
	if escaped == "" {
		escaped = "/"
	}
	path, err := url.PathUnescape(escaped)
	if err != nil || (&url.URL{Path: path}).EscapedPath() != escaped {
		return group{}, unprintable
	}
	if b.agentAt(address) != a.Agent {
		return group{}, ambiguous
	}
	met, _, failure := wire.MatchTarget(a.Agent, b.targets[[2]string{a.Agent, address}], address, escaped)
	if failure != nil || met.Name != t.Name {
		return group{}, ambiguous
	}
	labels := groupLabels(a, t)
	labels["__scheme__"] = "http" // to us; to the target it is the declared one
	labels["__metrics_path__"] = path
	return group{[]string{address}, labels}, ""
}

// agentAt is the agent that a request to address is for; empty if several are.
func (b *addressBook) agentAt(address string) string {
	if _, host := hostPort(address); b.names[host] {
		return host
	}
	if len(b.holders[address]) != 1 {
		return ""
	}
	for agent := range b.holders[address] {
		return agent
	}
	return ""
}

package edge

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// A group is one target as Prometheus's HTTP service discovery lists it: an
// element {"targets":[address],"labels":{…}} of the list. One unknown key or one
// invalid label name would make Prometheus refuse the whole list.
type group struct {
	agent    *wire.Agent
	target   *wire.Target
	address  string
	scheme   string // to us; to the target it is the declared one
	path     string // unescaped: Prometheus escapes it
	instance string // declared or ours; empty: Prometheus takes the address
	// own is the target's alone: its instance where nothing else tells its
	// series from another's.
	own string
}

// value is the value of one of the group's labels; empty if there is none.
func (g *group) value(name string) string {
	switch name {
	case "__meta_farscrape_agent", "agent":
		return g.agent.Agent
	case "__meta_farscrape_connected":
		return g.connected()
	case "__meta_farscrape_target":
		return g.target.Name
	case "__meta_farscrape_tenant":
		return g.agent.Tenant
	case "__metrics_path__":
		return g.path
	case "__scheme__":
		return g.scheme
	case "instance":
		return g.instance
	}
	return g.target.Labels[name]
}

func (g *group) connected() string {
	if g.agent.Connected() {
		return "true"
	}
	return "false"
}

// tellApart gives an instance of its own to each target of an agent whose series
// would otherwise have the labels of another's: their samples would take turns
// under one name, and nobody would notice.
func tellApart(groups []group) {
	byInstance := make(map[string]int, len(groups))
	for i := range groups {
		byInstance[groups[i].instanceSeen()]++
	}
	alike := make(map[string][]*group)
	for i := range groups {
		if g := &groups[i]; byInstance[g.instanceSeen()] > 1 {
			identity := g.identity()
			alike[identity] = append(alike[identity], g)
		}
	}
	for _, same := range alike {
		if len(same) > 1 {
			for _, g := range same {
				g.instance = g.own
			}
		}
	}
}

// instanceSeen is the instance that the target's series will have.
func (g *group) instanceSeen() string {
	if g.instance != "" {
		return g.instance
	}
	return g.address
}

// identity is all the labels of the target's series that may differ from those
// of the agent's other targets.
func (g *group) identity() string {
	var b strings.Builder
	b.WriteString(g.instanceSeen())
	for _, name := range g.declared(nil) {
		b.WriteByte(0)
		b.WriteString(name)
		b.WriteByte(0)
		b.WriteString(g.target.Labels[name])
	}
	return b.String()
}

// declared appends the names of the declared labels but instance to names, which is
// empty, in order.
func (g *group) declared(names []string) []string {
	for name := range g.target.Labels {
		if name != "instance" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// A groupList is the encoded list. The zero value is empty: never null, which
// would remove all targets as [] does, but say it by accident. A list may have
// 50,000 groups, too many for reflection.
type groupList struct {
	json  []byte
	names []string // of a group's labels; its memory is used again
}

// reserve makes room for as many targets as there are, by what those seen so far
// take: by pieces, a long list would be copied over and over. One that is kept has
// little more memory than it needs.
func (l *groupList) reserve(seen, all int) {
	if seen > 0 {
		rest := len(l.json) / seen * (all - seen)
		l.json = slices.Grow(l.json, rest+rest/16)
	}
}

// add appends a group.
func (l *groupList) add(g *group) {
	opening := `,{"targets":[`
	if len(l.json) == 0 {
		opening = `[{"targets":[`
	}
	l.json = append(l.json, opening...)
	l.json = appendString(l.json, g.address)
	l.label(`],"labels":{"__meta_farscrape_agent":`, g.agent.Agent)
	l.label(`,"__meta_farscrape_connected":`, g.connected())
	l.label(`,"__meta_farscrape_target":`, g.target.Name)
	l.label(`,"__meta_farscrape_tenant":`, g.agent.Tenant)
	l.label(`,"__metrics_path__":`, g.path)
	l.label(`,"__scheme__":`, g.scheme)
	l.label(`,"agent":`, g.agent.Agent)
	if g.instance != "" {
		l.label(`,"instance":`, g.instance)
	}
	l.names = g.declared(l.names[:0])
	for _, name := range l.names {
		l.json = append(l.json, ',')
		l.json = appendString(l.json, name)
		l.label(":", g.target.Labels[name])
	}
	l.json = append(l.json, "}}"...)
}

// label appends what comes before a value, and the value.
func (l *groupList) label(before, value string) {
	l.json = append(l.json, before...)
	l.json = appendString(l.json, value)
}

// end returns the whole list.
func (l *groupList) end() []byte {
	if len(l.json) == 0 {
		return []byte("[]\n")
	}
	return append(l.json, "]\n"...)
}

// appendString appends a JSON string. Most need no escaping; encoding/json does
// the others.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			var escaped bytes.Buffer
			encoder := json.NewEncoder(&escaped)
			encoder.SetEscapeHTML(false)
			_ = encoder.Encode(s) // a string always encodes
			return append(b, bytes.TrimSuffix(escaped.Bytes(), []byte("\n"))...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

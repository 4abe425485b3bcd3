package edge

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// A filter is what a request for discovery asks for.
type filter struct {
	proxy           bool     // mode=proxy
	agents, targets []string // patterns, of which one must match; none: all
	labels          []labelPair
}

type labelPair struct{ name, value string }

// parseFilter reads /sd's query. What it does not understand it refuses: a
// filter that is misspelt must not list everything.
func parseFilter(query string) (filter, *wire.Error) {
	var f filter
	q, err := url.ParseQuery(query)
	if err != nil {
		return f, wire.Errorf(wire.BadRequest, "the query cannot be read")
	}
	for name, values := range q {
		for _, value := range values {
			switch name {
			case "mode":
				if value != "path" && value != "proxy" || len(values) > 1 {
					return f, wire.Errorf(wire.BadRequest, "mode must be path or proxy")
				}
				f.proxy = value == "proxy"
			case "agent":
				f.agents = append(f.agents, lower(value))
			case "target":
				f.targets = append(f.targets, value)
			case "label":
				name, value, ok := strings.Cut(value, "=")
				if !ok {
					return f, wire.Errorf(wire.BadRequest, "label must be name=value")
				}
				f.labels = append(f.labels, labelPair{name, value})
			default:
				return f, wire.Errorf(wire.BadRequest, "the query may have mode, agent, target and label")
			}
		}
	}
	for _, pattern := range slices.Concat(f.agents, f.targets) {
		if _, err := path.Match(pattern, ""); err != nil {
			return f, wire.Errorf(wire.BadRequest, "agent or target is not a pattern")
		}
	}
	return f, nil
}

// all reports whether nothing is left out.
func (f *filter) all() bool { return len(f.agents) == 0 && len(f.targets) == 0 && len(f.labels) == 0 }

func (f *filter) takesAgent(name string) bool  { return matchesOne(f.agents, name) }
func (f *filter) takesTarget(name string) bool { return matchesOne(f.targets, name) }

func (f *filter) takesLabels(g *group) bool {
	for _, l := range f.labels {
		if g.value(l.name) != l.value {
			return false
		}
	}
	return true
}

func matchesOne(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return wire.MatchGlob(p, name) })
}

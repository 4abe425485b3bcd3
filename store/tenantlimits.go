package store

import (
	"cmp"

	"github.com/farscrape/farscrape/relay/wire"
)

// TenantLimits bound what the agents of one tenant take in the directory, those
// that have departed with them for as long as they are listed. 0 is the default.
//
// An agent counts with the target lists of its links, those that are the same as
// one, and has no more than a quarter of the bytes. A list that is over is refused
// with a [wire.LimitError]; who takes no more than before never is. A token for a
// pattern, which is good for any number of names, gets no further than three
// quarters of each, so that there is room for whoever has a token for its name.
type TenantLimits struct {
	Agents  int
	Targets int
	Bytes   int // of the target lists, as JSON
}

// The defaults of TenantLimits. 100,000 targets with five labels each have 15 to
// 19 MB as JSON, and 3.5 times that as a listing in memory. The worst lists, of
// targets with one short label, take 13 times their JSON.
const (
	defaultTenantAgents  = 10_000
	defaultTenantTargets = 100_000
	defaultTenantBytes   = 32 << 20
)

func (l TenantLimits) orDefault() TenantLimits {
	return TenantLimits{cmp.Or(l.Agents, defaultTenantAgents), cmp.Or(l.Targets, defaultTenantTargets), cmp.Or(l.Bytes, defaultTenantBytes)}
}

// of are the limits for an entry.
func (l TenantLimits) of(yielding bool) TenantLimits {
	if !yielding {
		return l
	}
	return TenantLimits{wire.PatternsPart(l.Agents), wire.PatternsPart(l.Targets), wire.PatternsPart(l.Bytes)}
}

// over makes the error of who would bring the tenant to so many agents, targets
// or bytes.
func (l TenantLimits) over(what string, value int, yielding bool) error {
	e := &wire.LimitError{What: what + " of the tenant", Value: value}
	switch what {
	case "agents":
		e.Limit, e.Setting = l.Agents, "FARSCRAPE_TENANT_MAX_AGENTS"
	case "targets":
		e.Limit, e.Setting = l.Targets, "FARSCRAPE_TENANT_MAX_TARGETS"
	default:
		e.Limit, e.Setting = l.Bytes, "FARSCRAPE_TENANT_MAX_BYTES"
	}
	switch {
	case what == "lists":
		e.What = "bytes of targets by all links (one agent fills 1/4)"
	case yielding:
		e.What += " (a pattern's token fills 3/4)"
	}
	return e
}

// A size is what a target list takes.
type size struct{ targets, bytes int }

func sizeOf(list *wire.TargetList) size { return size{list.Len(), list.Bytes()} }

// agentBytes is what the lists of one agent's links may take.
func (l TenantLimits) agentBytes() int { return l.Bytes / 4 }

// within reports whether s takes no more than other.
func (s size) within(other size) bool { return s.targets <= other.targets && s.bytes <= other.bytes }

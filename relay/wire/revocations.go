package wire

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Revocations are a set of revocations, one a subject. It does not change: joined with
// another it is a new one. The zero value, and nil, are of none.
type Revocations struct {
	all      map[RevokedSubject]Revocation
	patterns map[string][]revokedPattern // that hold, by tenant
	globs    int                         // patterns in all, lifted ones with them
}

// A revokedPattern is a revocation of all agents that fit one.
type revokedPattern struct {
	start string // what it begins with that is none: most names do not
	Revocation
}

// NewRevocations makes a set. Those that are none are left out, and so is what there
// is no room for.
func NewRevocations(all []Revocation) *Revocations {
	return new(Revocations).Join(all)
}

// Join is the set with those joined into it. It leaves out what is none, and, of
// subjects that it does not have, what is more than a set may hold, in the order of
// their names.
func (s *Revocations) Join(more []Revocation) *Revocations {
	joined := &Revocations{all: make(map[RevokedSubject]Revocation, s.Len()+len(more)), patterns: make(map[string][]revokedPattern)}
	if s != nil {
		maps.Copy(joined.all, s.all)
		joined.globs = s.globs
	}
	for _, r := range slices.SortedFunc(slices.Values(more), bySubject) {
		if r.check() == nil {
			joined.add(r)
		}
	}
	for _, r := range joined.all {
		if r.Kind == RevokedAgent && IsGlob(r.Name) && r.Holds() {
			start := r.Name[:strings.IndexAny(r.Name, globs)]
			joined.patterns[r.Tenant] = append(joined.patterns[r.Tenant], revokedPattern{start, r})
		}
	}
	return joined
}

// Forget is the set without those that were lifted before a time, Unix in ms: so long
// ago that nobody has a copy of them that still holds.
func (s *Revocations) Forget(lifted int64) *Revocations {
	kept := slices.DeleteFunc(s.All(), func(r Revocation) bool { return r.gone(lifted) })
	if len(kept) == s.Len() {
		return s
	}
	return NewRevocations(kept)
}

// add is for a set that is being made.
func (s *Revocations) add(r Revocation) {
	before, known := s.all[r.RevokedSubject]
	glob := r.Kind == RevokedAgent && IsGlob(r.Name)
	switch {
	case known:
		r = r.Join(before)
	case len(s.all) >= MaxRevocations, glob && s.globs >= MaxRevokedPatterns:
		return
	case glob:
		s.globs++
	}
	s.all[r.RevokedSubject] = r
}

func bySubject(a, b Revocation) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Name, b.Name))
}

// Len is how many there are, lifted ones with them.
func (s *Revocations) Len() int {
	if s == nil {
		return 0
	}
	return len(s.all)
}

// All returns them in the order of kinds, tenants and names, lifted ones with them.
func (s *Revocations) All() []Revocation {
	if s == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(s.all), bySubject)
}

// Beyond returns what s says and the other does not, in the order of All: nothing, if
// joining s to it would change nothing.
func (s *Revocations) Beyond(other *Revocations) []Revocation {
	var more []Revocation
	for _, r := range s.All() {
		if !other.Has(r) {
			more = append(more, r)
		}
	}
	return more
}

// Has reports whether the set says all that r does.
func (s *Revocations) Has(r Revocation) bool {
	if s == nil {
		return false
	}
	has, known := s.all[r.RevokedSubject]
	return known && has.Join(r) == has
}

// Dead returns by what a token of that ID is taken back, if by anything, which was first
// issued at a time, in Unix seconds, and by which an agent or a scraper of the tenant
// goes by a name.
func (s *Revocations) Dead(kind RevokedKind, tenant, name, id string, first int64) (by RevokedSubject, dead bool) {
	if s.Len() == 0 {
		return by, false
	}
	if by = (RevokedSubject{Kind: RevokedToken, Name: id}); s.takesBack(by, first) {
		return by, true
	}
	if by = (RevokedSubject{Kind: kind, Tenant: tenant, Name: name}); s.takesBack(by, first) {
		return by, true
	}
	if kind != RevokedAgent {
		return RevokedSubject{}, false
	}
	for _, r := range s.patterns[tenant] {
		if first < r.Before && strings.HasPrefix(name, r.start) && MatchGlob(r.Name, name) {
			return r.RevokedSubject, true
		}
	}
	return RevokedSubject{}, false
}

func (s *Revocations) takesBack(subject RevokedSubject, first int64) bool {
	r, known := s.all[subject]
	return known && r.Holds() && first < r.Before
}

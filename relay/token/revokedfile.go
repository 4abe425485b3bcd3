package token

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// ParseRevoked reads a list of what is taken back, one a line: a token's ID, agent: and a
// name or a pattern, or scraper: and a name. before= and a time may follow, without
// which whatever was and will be issued is dead, and tenant= and a name. Blank lines and
// lines that start with # are ignored. Errors name lines and quote nothing of them:
// somebody may take the list for one of tokens.
func ParseRevoked(text []byte) (*wire.Revocations, error) {
	var all []wire.Revocation
	subjects := make(map[wire.RevokedSubject]bool)
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		r, is, err := ParseRevokedLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if is {
			all, subjects[r.RevokedSubject] = append(all, r), true
		}
	}
	set := wire.NewRevocations(all)
	if set.Len() < len(subjects) {
		return nil, fmt.Errorf("%d revocations: there may be %d, and %d of patterns: one for a pattern may stand for many", len(subjects), wire.MaxRevocations, wire.MaxRevokedPatterns)
	}
	return set, nil
}

// listed is when the lines of a file were made: they hold as long as they stand there.
const listed = 1

// ParseRevokedLine reads one line of a list, and says whether there is anything in it.
func ParseRevokedLine(line string) (r wire.Revocation, is bool, err error) {
	words := strings.Fields(line)
	if len(words) == 0 || words[0][0] == '#' {
		return r, false, nil
	}
	r.Before, r.Made = wire.MaxBefore, listed
	kind, name, named := strings.Cut(words[0], ":")
	r.RevokedSubject = wire.RevokedSubject{Kind: wire.RevokedKind(kind), Name: name, Tenant: wire.DefaultTenant}
	if !named {
		r.RevokedSubject = wire.RevokedSubject{Kind: wire.RevokedToken, Name: strings.ToLower(words[0])}
	}
	if r.Kind == wire.RevokedAgent {
		r.Name = strings.ToLower(r.Name)
	}
	for _, word := range words[1:] {
		switch key, value, _ := strings.Cut(word, "="); {
		case key == "before":
			if r.Before, err = ParseBefore(value); err != nil {
				return r, false, err
			}
		case key == "tenant" && named && wire.CheckName("tenant", value) == nil:
			r.Tenant = value
		case key == "tenant" && named:
			return r, false, errors.New("tenant=: a tenant's name is 1 to 64 of A-Z a-z 0-9 _ . -")
		default:
			return r, false, errors.New("behind the first word there may be before=TIME, and tenant=NAME where that is no token's ID")
		}
	}
	if !named && r.Check() != nil || named && kind != "agent" && kind != "scraper" {
		return r, false, errors.New("it must begin with a token's ID (16 digits of 0-9 a-f, not the token), agent:NAME or scraper:NAME")
	}
	if r.Check() != nil {
		return r, false, fmt.Errorf("no %s can have that name: check it against the tokens that were made", kind)
	}
	return r, true, nil
}

// RevokedLine is a revocation as a list has it.
func RevokedLine(r wire.Revocation) string {
	line := r.Name
	if r.Kind != wire.RevokedToken {
		line = string(r.Kind) + ":" + r.Name
	}
	if r.Before < wire.MaxBefore {
		line += " before=" + r.BeforeText()
	}
	if r.Kind != wire.RevokedToken && r.Tenant != wire.DefaultTenant {
		line += " tenant=" + r.Tenant
	}
	return line
}

// ParseBefore reads a time before which what was issued is dead, in Unix seconds. Tokens
// have whole ones: a part of one is rounded up.
func ParseBefore(text string) (int64, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Unix() < 0 {
		return 0, fmt.Errorf("before must be a time such as %s", time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Format(time.RFC3339))
	}
	return t.Add(time.Second - time.Nanosecond).Unix(), nil
}

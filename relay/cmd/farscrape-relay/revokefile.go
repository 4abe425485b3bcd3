package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
)

// revokeInFile edits the list that a replica with the embedded store watches.
func (c *revokeConfig) revokeInFile(ctx context.Context, lifts bool, want taking, stdout io.Writer) error {
	if _, err := readRevoked(c.RevokedFile); err != nil {
		return err // the replica would not take it
	}
	r, err := c.editFile(ctx, lifts, want)
	if errors.Is(err, store.ErrNotRevoked) {
		return err
	}
	if err != nil {
		return fmt.Errorf("FARSCRAPE_REVOKED_FILE: %w", err)
	}
	said := "what was taken back is good again"
	if !lifts {
		said = "taken back, issued before " + r.BeforeText()
	}
	fmt.Fprintf(stdout, "%s: %s\nwritten to %s: the replica that watches it carries it out within 5s\n", told(want.subject), said, c.RevokedFile)
	if !lifts {
		waitPast(ctx, r, stdout)
	}
	return nil
}

// editFile puts a revocation into the list, or takes it out, and returns it. Commands
// do so one at a time: each writes what it has read, but for its own subject.
func (c *revokeConfig) editFile(ctx context.Context, lifts bool, want taking) (r wire.Revocation, err error) {
	unlock, err := settings.LockFolder(ctx, c.RevokedFile)
	if err != nil {
		return r, err
	}
	defer unlock()
	text, err := settings.ReadFile(c.RevokedFile)
	if err != nil {
		return r, err
	}
	rest, had := without(string(text), want.subject)
	if lifts && had == 0 {
		return r, store.ErrNotRevoked
	}
	if want.before == 0 {
		want.before = time.Now().Unix() + 1
	}
	r = wire.Revocation{RevokedSubject: want.subject, Before: max(want.before, had)}
	if !lifts {
		rest += token.RevokedLine(r) + "\n"
	}
	if _, err := token.ParseRevoked([]byte(rest)); err != nil {
		return r, err
	}
	return r, settings.ReplaceFile(c.RevokedFile, []byte(rest))
}

// without is a list without the lines of a subject, and the latest time they have; 0 if
// there is none. Everything else stays as somebody wrote it.
func without(text string, subject wire.RevokedSubject) (rest string, before int64) {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if r, is, err := token.ParseRevokedLine(line); err == nil && is && r.RevokedSubject == subject {
			before = max(before, r.Before)
			continue
		}
		kept.WriteString(strings.TrimRight(line, "\r\n") + "\n")
	}
	return kept.String(), before
}

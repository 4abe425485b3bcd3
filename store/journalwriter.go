package store

import (
	"context"
	"time"
)

const (
	// journalPause is how long the writer waits for more once something has happened:
	// a fleet that comes back is some pipelines a second, and no command an event.
	journalPause = 250 * time.Millisecond
	// journalCall is how many events one call of the script appends, at most: a part
	// of a millisecond of Redis's time.
	journalCall = 256
)

// runJournal writes what is recorded, until ctx ends; then once more, briefly, for
// what the end itself has brought.
func (s *Redis) runJournal(ctx context.Context) {
	for retry := (backoff{}); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-s.journal.kick:
			pause(ctx, journalPause)
		}
		if s.writeJournal(ctx) {
			retry.reset()
		} else {
			retry.wait(ctx)
			kick(s.journal.kick)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timing.flush)
	defer cancel()
	s.writeJournal(ctx)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// writeJournal works the queue off, and reports whether nothing of it is left to be
// tried again.
func (s *Redis) writeJournal(ctx context.Context) bool {
	for ctx.Err() == nil {
		parts := s.journal.take()
		if len(parts) == 0 {
			return true
		}
		if !s.writeParts(ctx, parts) {
			return false
		}
	}
	return false
}

// writeParts writes in one pipeline. What Redis takes no writes for is put back; what
// it refuses, for a right that is missing or otherwise, is lost, and told.
func (s *Redis) writeParts(ctx context.Context, parts []journalPart) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	calls := make([]call, len(parts))
	for i, p := range parts {
		args := []any{journalKept.Milliseconds(), journalEvents}
		for j := range p.events {
			args = append(args, marshalEvent(&p.events[j]))
		}
		calls[i] = call{script: s.scripts.journal, key: s.keys.events(p.tenant), args: args}
	}
	done = true
	for i, cmd := range runCalls(ctx, s.clients.directory, calls) {
		n := float64(len(parts[i].events))
		switch err := cmd.Err(); {
		case err == nil:
			s.journal.metrics.written.Add(n)
			s.journal.told.news(nil, "")
		case deniesWrites(err):
			s.journal.putBack(parts[i])
			done = false
		default:
			s.journal.metrics.lost.Add(n)
			if _, isNew := s.journal.told.news(err, s.config.Prefix); isNew {
				s.log.Warn("redis does not take events, and they are lost; nothing else needs them", s.attrs(err)...)
			}
		}
	}
	return done
}

package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// EventsAfter reads up to so many of a tenant's events that came after that one; after
// the zero ID, the oldest there are.
func (s *Redis) EventsAfter(ctx context.Context, tenant string, after wire.EventID, most int) (wire.EventPage, error) {
	key := s.keys.events(tenant)
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	gap := false
	if !after.IsZero() { // with it: so it is known to be there
		found, err := s.clients.directory.XRangeN(ctx, key, after.String(), "+", int64(most)+1).Result()
		if err != nil {
			return wire.EventPage{}, fmt.Errorf("journal: %w", err)
		}
		if len(found) > 0 && found[0].ID == after.String() {
			return s.eventPage(tenant, found[1:], most, after), nil
		}
		gap = true
	}
	found, err := s.clients.directory.XRangeN(ctx, key, "-", "+", int64(most)).Result()
	if err != nil {
		return wire.EventPage{}, fmt.Errorf("journal: %w", err)
	}
	page := s.eventPage(tenant, found, most, wire.EventID{})
	page.Gap = gap
	return page, nil
}

// EventsBefore reads up to so many of a tenant's events that came last before that
// one; before the zero ID, the youngest there are.
func (s *Redis) EventsBefore(ctx context.Context, tenant string, before wire.EventID, most int) (wire.EventPage, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	from := "+"
	if !before.IsZero() {
		from = "(" + before.String()
	}
	found, err := s.clients.directory.XRevRangeN(ctx, s.keys.events(tenant), from, "-", int64(most)).Result()
	if err != nil {
		return wire.EventPage{}, fmt.Errorf("journal: %w", err)
	}
	page := s.eventPage(tenant, found, most, before)
	slices.Reverse(page.Events)
	return page, nil
}

// eventPage is what was found going on from there. What is no event it leaves out.
func (s *Redis) eventPage(tenant string, found []redis.XMessage, most int, from wire.EventID) wire.EventPage {
	page := wire.EventPage{End: from, More: len(found) == most}
	for i := range found {
		id, e, err := eventOf(tenant, &found[i])
		page.End = id
		if err != nil {
			s.metrics.badRecords.Inc()
			continue
		}
		page.Events = append(page.Events, e)
	}
	return page
}

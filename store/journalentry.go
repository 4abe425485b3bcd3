package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// eventField is the one field of an entry in Redis's stream.
const eventField = "event"

// A journalEntry is an event as it stands in Redis. When it happened is told by how
// long before it was written: the clocks of replicas do not count.
type journalEntry struct {
	wire.Event
	AgeMillis int64 `json:"age_ms"`
}

// maxEventAge is more than an event can have waited.
const maxEventAge = 7 * 24 * time.Hour

func marshalEvent(e *wire.Event) []byte {
	entry := journalEntry{*e, max(time.Since(e.Time).Milliseconds(), 0)}
	entry.ID, entry.Time = wire.EventID{}, time.Time{}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(entry); err != nil {
		panic(fmt.Sprintf("store: event: %v", err)) // a plain struct always marshals
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// unmarshalEvent reads what marshalEvent has written into that tenant's journal, or a
// later version.
func unmarshalEvent(tenant string, id wire.EventID, text string) (wire.Event, error) {
	var entry journalEntry
	if err := json.Unmarshal([]byte(text), &entry); err != nil {
		return wire.Event{}, fmt.Errorf("event %s: %w", id, err)
	}
	e := entry.Event
	if id.Millis > maxMillis || entry.AgeMillis < 0 || entry.AgeMillis > maxEventAge.Milliseconds() || e.Tenant != tenant {
		return wire.Event{}, fmt.Errorf("event %s: of tenant %.64q, aged %d ms: %w", id, e.Tenant, entry.AgeMillis, errReply)
	}
	e.ID, e.Time = id, time.UnixMilli(int64(id.Millis)-entry.AgeMillis).UTC()
	return e, e.Check()
}

// eventOf reads an entry of a tenant's stream.
func eventOf(tenant string, m *redis.XMessage) (id wire.EventID, e wire.Event, err error) {
	if id, err = wire.ParseEventID(m.ID); err != nil {
		return id, e, err
	}
	text, _ := m.Values[eventField].(string)
	e, err = unmarshalEvent(tenant, id, text)
	return id, e, err
}

package edge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/flight"
)

// maxLists bounds the lists that are kept, in bytes: both modes' of 50,000
// targets with a handful of labels, and as much again.
const maxLists = 64 << 20

// lists keep what discovery answered, for as long as the listing is the same. The
// zero value is empty.
type lists struct {
	mu      sync.Mutex
	kept    map[listKey]*keptList
	bytes   map[string]int // by tenant
	total   int
	flights flight.Group[*answer]
}

// A listKey is all that a list depends on, but the listing.
type listKey struct {
	tenant, allow, query string
	at                   base
}

type keptList struct {
	version uint64 // of the listing
	json    *answer
	used    time.Time
}

// leastList is what a list counts for at least, in bytes: it bounds how many there
// are, among which the least used one is looked for.
const leastList = 4 << 10

// size is what a list takes, in bytes, with its key and its places in the maps.
func (k *keptList) size(key listKey) int {
	return max(len(k.json.body)+len(key.query)+512, leastList)
}

// get returns the list of that version. make makes it, once for all who ask at
// the same time, and is stopped if nobody waits any more.
func (l *lists) get(ctx context.Context, key listKey, version uint64, make func(context.Context) ([]byte, error)) (*answer, error) {
	if json := l.find(key, version); json != nil {
		return json, nil
	}
	return l.flights.Do(ctx, context.WithoutCancel(ctx), fmt.Sprintf("%q %d", key, version), func(ctx context.Context) (*answer, error) {
		json, err := make(ctx)
		if err != nil {
			return nil, err
		}
		a := newAnswer(json)
		l.put(key, version, a)
		return a, nil
	})
}

func (l *lists) find(key listKey, version uint64) *answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kept[key]
	if k == nil || k.version != version {
		return nil
	}
	k.used = time.Now()
	return k.json
}

// put keeps a list. If there are too many, the tenant that has the most gives up
// the one that it has not used for longest.
func (l *lists) put(key listKey, version uint64, json *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		l.kept, l.bytes = make(map[listKey]*keptList), make(map[string]int)
	}
	l.drop(key)
	l.kept[key] = &keptList{version, json, time.Now()}
	l.count(key, l.kept[key].size(key))
	for l.total > maxLists {
		l.drop(l.leastUsed(l.largest()))
	}
}

// largest is the tenant whose lists take the most. l.mu is held.
func (l *lists) largest() (tenant string) {
	most := -1
	for name, bytes := range l.bytes {
		if bytes > most {
			tenant, most = name, bytes
		}
	}
	return tenant
}

// leastUsed is a tenant's list that was not used for longest. l.mu is held.
func (l *lists) leastUsed(tenant string) (key listKey) {
	var oldest *keptList
	for k, list := range l.kept {
		if k.tenant == tenant && (oldest == nil || list.used.Before(oldest.used)) {
			key, oldest = k, list
		}
	}
	return key
}

// drop forgets a list. l.mu is held.
func (l *lists) drop(key listKey) {
	k := l.kept[key]
	if k == nil {
		return
	}
	delete(l.kept, key)
	l.count(key, -k.size(key))
}

// count adds to what is kept, in bytes. l.mu is held.
func (l *lists) count(key listKey, bytes int) {
	l.total += bytes
	if l.bytes[key.tenant] += bytes; l.bytes[key.tenant] == 0 {
		delete(l.bytes, key.tenant)
	}
}

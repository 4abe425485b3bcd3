package store

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// maxLists bounds the target lists that are kept decoded, by what they take in
	// memory, in bytes ([wire.SizeOf]): some five times their JSON as people write
	// it, and up to 13 times for one that is made to. A record that is in a listing
	// has them anyway.
	maxLists = 128 << 20
	// keepList is how long one is kept that no record has had since.
	keepList = time.Minute
)

// targetLists are the lists of the records that were read last. Each list stands
// in Redis with every link of its instance, and is read again with each listing,
// but decoded once. Its JSON is known again by its hash, of a seed that nobody
// outside knows.
type targetLists struct {
	seed maphash.Seed

	mu    sync.Mutex
	lists map[uint64]*targetList
	bytes int // that they take
}

type targetList struct {
	targets []wire.Target // never written
	bytes   int           // that it takes
	used    time.Time
}

func newTargetLists() *targetLists {
	return &targetLists{seed: maphash.MakeSeed(), lists: make(map[uint64]*targetList)}
}

// read decodes a list and checks it.
func (l *targetLists) read(list string) ([]wire.Target, error) {
	if len(list) == 0 {
		return nil, nil
	}
	hash := maphash.String(l.seed, list)
	if known := l.find(hash); known != nil {
		return known.targets, nil
	}
	targets, err := wire.ParseTargets(list)
	if err != nil {
		return nil, err
	}
	l.put(hash, &targetList{targets: targets, bytes: wire.SizeOf(targets), used: time.Now()})
	return targets, nil
}

func (l *targetLists) find(hash uint64) *targetList {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.lists[hash]
	if known != nil {
		known.used = time.Now()
	}
	return known
}

// put keeps a list, and gives up any others if there are too many.
func (l *targetLists) put(hash uint64, list *targetList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lists[hash] != nil {
		return
	}
	for any := range l.lists {
		if l.bytes+list.bytes <= maxLists {
			break
		}
		l.drop(any)
	}
	l.lists[hash] = list
	l.bytes += list.bytes
}

// sweep gives up what no record has had for a while.
func (l *targetLists) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for hash, list := range l.lists {
		if now.Sub(list.used) > keepList {
			l.drop(hash)
		}
	}
}

// drop forgets a list. l.mu is held.
func (l *targetLists) drop(hash uint64) {
	l.bytes -= l.lists[hash].bytes
	delete(l.lists, hash)
}

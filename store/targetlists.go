package store

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// maxTargetLists bounds the target lists that are kept decoded, by what they take in
// memory, in bytes ([wire.SizeOf]): some five times their JSON as people write it,
// and up to 13 times for one that is made to. A record that is in a listing has them
// anyway.
const maxTargetLists = 128 << 20

// targetLists are the lists of the records that were read last. Each list stands
// in Redis with every link of its instance, and is read again with each listing,
// but decoded once. Its JSON is known again by its hash, of a seed that nobody
// outside knows.
type targetLists struct {
	seed maphash.Seed
	most int // bytes

	mu    sync.Mutex
	lists map[uint64]*targetList
	bytes int // that they take
}

type targetList struct {
	targets []wire.Target // never written
	bytes   int           // that it takes
	used    time.Time
}

func newTargetLists(most int) *targetLists {
	return &targetLists{most: most, seed: maphash.MakeSeed(), lists: make(map[uint64]*targetList)}
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

// put keeps a list, and forgets any others if there are too many.
func (l *targetLists) put(hash uint64, list *targetList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lists[hash] != nil {
		return
	}
	for any := range l.lists {
		if l.bytes+list.bytes <= l.most {
			break
		}
		l.forget(any)
	}
	l.lists[hash] = list
	l.bytes += list.bytes
}

// sweep forgets what no record has had since then.
func (l *targetLists) sweep(since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for hash, list := range l.lists {
		if list.used.Before(since) {
			l.forget(hash)
		}
	}
}

// forget drops a list. l.mu is held.
func (l *targetLists) forget(hash uint64) {
	l.bytes -= l.lists[hash].bytes
	delete(l.lists, hash)
}

package store

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// maxTargetLists bounds the target lists that are kept decoded, by what they take in
// memory, in bytes ([wire.TargetList.Size]): some five times their JSON as people write
// it, and up to 13 times for one that is made to. A record that is in a listing has them
// anyway.
const maxTargetLists = 128 << 20

// targetLists are the lists of the records that were read last, each of which is read
// and decoded once. One is known again by its hash, or where it stood in the record
// itself by that of its JSON.
type targetLists struct {
	most int // bytes

	mu    sync.Mutex
	lists map[wire.ListHash]*knownList
	bytes int // that they take
}

type knownList struct {
	*wire.TargetList
	used time.Time
}

func newTargetLists(most int) *targetLists {
	return &targetLists{most: most, lists: make(map[wire.ListHash]*knownList)}
}

// read decodes a list that stands in a record, and checks it.
func (l *targetLists) read(list string) (*wire.TargetList, error) {
	if len(list) == 0 {
		return nil, nil
	}
	sum := sha256.Sum256([]byte(list))
	as := wire.ListHash(sum[:])
	if known := l.find(as); known != nil {
		return known, nil
	}
	targets, err := wire.ParseTargets(list)
	if err != nil {
		return nil, err
	}
	known := wire.NewTargetList(targets)
	l.put(as, known)
	return known, nil
}

// find returns a list; nil if it is not known.
func (l *targetLists) find(hash wire.ListHash) *wire.TargetList {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.lists[hash]
	if known == nil {
		return nil
	}
	known.used = time.Now()
	return known.TargetList
}

// put keeps a list, and forgets any others if there are too many.
func (l *targetLists) put(hash wire.ListHash, list *wire.TargetList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lists[hash] != nil {
		return
	}
	for any := range l.lists {
		if l.bytes+list.Size() <= l.most {
			break
		}
		l.forget(any)
	}
	l.lists[hash] = &knownList{list, time.Now()}
	l.bytes += list.Size()
}

// sweep forgets what no record has had since then, but for what is listed: that is in
// memory anyway, and what is listed next may be made of it.
func (l *targetLists) sweep(since time.Time, listed map[*wire.TargetList]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for hash, list := range l.lists {
		if list.used.Before(since) && !listed[list.TargetList] {
			l.forget(hash)
		}
	}
}

// forget drops a list. l.mu is held.
func (l *targetLists) forget(hash wire.ListHash) {
	l.bytes -= l.lists[hash].Size()
	delete(l.lists, hash)
}

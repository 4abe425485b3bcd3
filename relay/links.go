package relay

import (
	"slices"
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// A linkTable holds the links of a replica. The zero value is empty.
type linkTable struct {
	mu      sync.RWMutex
	byID    map[wire.LinkID]*link
	byAgent map[wire.AgentKey][]*link
}

func (t *linkTable) add(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID == nil {
		t.byID = make(map[wire.LinkID]*link)
		t.byAgent = make(map[wire.AgentKey][]*link)
	}
	t.byID[l.id] = l
	t.byAgent[l.key] = append(t.byAgent[l.key], l)
}

// remove reports whether the link was there.
func (t *linkTable) remove(l *link) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[l.id] != l {
		return false
	}
	delete(t.byID, l.id)
	of := t.byAgent[l.key]
	of = slices.DeleteFunc(slices.Clone(of), func(o *link) bool { return o == l })
	if len(of) == 0 {
		delete(t.byAgent, l.key)
	} else {
		t.byAgent[l.key] = of
	}
	return true
}

func (t *linkTable) get(id wire.LinkID) *link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// of returns the links of an agent. The slice is shared: it is never written.
func (t *linkTable) of(k wire.AgentKey) []*link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clip(t.byAgent[k])
}

func (t *linkTable) all() []*link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*link, 0, len(t.byID))
	for _, l := range t.byID {
		all = append(all, l)
	}
	return all
}

func (t *linkTable) count() (links, agents int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byID), len(t.byAgent)
}

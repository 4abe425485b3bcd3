package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A target list stands in Redis once for a tenant, under its hash, whoever names it, and
// goes when nobody does: scripts/list.lua has its form. One that is made of another that
// is there is sent as what has changed, and read so by whoever has the other.

// smallList is how long a list may be that stands in its entry all the same, in bytes: a
// key of its own takes about as much, and one more call.
const smallList = 512

// standsAlone reports whether a list stands under its hash, and not in its entry: there
// replicas of an earlier version look for it.
func (s *Redis) standsAlone(list *wire.TargetList) bool {
	return list.Bytes() > smallList && !s.roster.inlines(time.Now())
}

// A listName is the name of a list that stands alone.
type listName struct {
	tenant string
	hash   wire.ListHash
}

// A naming is a list that is named by agents.
type naming struct {
	name       listName
	list, base *wire.TargetList // base: what Redis may have of it; nil: nothing
	agents     []any
	tasks      []int // places in a batch
}

// nameLists sees to it that the lists are there which the batch's entries name, and
// returns the tasks to go on with. The others have failed: then whole is false.
func (s *Redis) nameLists(ctx context.Context, batch []task) (there []task, whole bool) {
	out := make(map[int]bool)
	s.enterLists(ctx, namingsOf(batch), func(n *naming, err error) {
		for _, i := range n.tasks {
			out[i] = true
			s.entries.failed(&batch[i], err)
		}
	})
	for i := range batch {
		if !out[i] {
			there = append(there, batch[i])
		}
	}
	return there, len(out) == 0
}

// namingsOf are the lists that a batch's entries name.
func namingsOf(batch []task) (all []*naming) {
	at := make(map[listName]*naming)
	for i := range batch {
		t := &batch[i]
		if t.step == stepRelease || t.inlined || t.entry.List == nil {
			continue
		}
		name := listName{t.entry.Tenant, t.entry.List.Hash()}
		n := at[name]
		if n == nil {
			n = &naming{name: name, list: t.entry.List}
			at[name], all = n, append(all, n)
		}
		if t.before != n.list && t.before.Bytes() > smallList {
			n.base = t.before
		}
		n.agents, n.tasks = append(n.agents, t.entry.Agent), append(n.tasks, i)
	}
	return all
}

// enterLists enters lists with their agents: as what has changed, if that can be, and
// whole where they are not there then. It says which it could not enter.
func (s *Redis) enterLists(ctx context.Context, all []*naming, fail func(*naming, error)) {
	var absent []*naming
	s.nameEach(ctx, all, (*naming).patch, func(n *naming, there int, err error) {
		switch {
		case err != nil:
			fail(n, err)
		case there == 0:
			absent = append(absent, n)
		}
	})
	s.nameEach(ctx, absent, (*naming).whole, func(n *naming, there int, err error) {
		if err == nil && there == 0 {
			err = fmt.Errorf("list: %w", errReply)
		}
		if err != nil {
			fail(n, err)
		}
	})
}

// A listText is how a list is sent, if it is: whole, or as a patch of a base.
type listText struct {
	whole, patch []byte
	base         wire.ListHash
}

func (n *naming) whole() listText { return listText{whole: n.list.Encode()} }

func (n *naming) patch() (text listText) {
	if n.base != nil {
		if patch, ok := n.list.Patch(n.base); ok {
			return listText{patch: patch, base: n.base.Hash()}
		}
	}
	return text
}

// nameEach names lists, in pipelines that are no longer than they may be.
func (s *Redis) nameEach(ctx context.Context, all []*naming, text func(*naming) listText, answer func(n *naming, there int, err error)) {
	keep := (s.timing.stay + s.config.Keep).Milliseconds()
	for len(all) > 0 {
		var calls []call
		for size := 0; len(calls) < len(all) && len(calls) < batchCalls && size < batchBytes; {
			n := all[len(calls)]
			as := text(n)
			c := call{script: s.scripts.list, key: s.keys.list(n.name), also: []string{s.keys.listNames(n.name)}}
			var base string
			if as.patch != nil {
				base = as.base.String()
				c.also = append(c.also, s.keys.list(listName{n.name.tenant, as.base}))
			}
			c.args = append([]any{keep, n.list.Bytes(), as.whole, base, as.patch}, n.agents...)
			calls = append(calls, c)
			size += len(as.whole) + len(as.patch)
		}
		for i, cmd := range runCalls(ctx, s.clients.directory, calls) {
			there, err := cmd.Int()
			if err != nil {
				err = fmt.Errorf("list: %w", err)
			}
			answer(all[i], there, err)
		}
		all = all[len(calls):]
	}
}

// named are hashes as the scripts take them.
func named(lists []wire.ListHash) string {
	var b strings.Builder
	for _, hash := range lists {
		b.WriteString(hash.String())
		b.WriteByte(' ')
	}
	return b.String()
}

package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
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
	list, base *wire.TargetList // base: what Redis may have of it; nil: nothing
	agents     []any
	tasks      []int // places in the batch
}

// nameLists sees to it that the lists are there which the batch's entries name, and
// returns the tasks to go on with. The others have failed: then whole is false.
func (s *Redis) nameLists(ctx context.Context, batch []task) (named []task, whole bool) {
	namings := namingsOf(batch)
	if len(namings) == 0 {
		return batch, true
	}
	out := make(map[int]bool)
	fail := func(n *naming, err error) {
		for _, i := range n.tasks {
			out[i] = true
			s.entries.failed(&batch[i], err)
		}
	}
	calls, of := make([]call, 0, len(namings)), make([]*naming, 0, len(namings))
	for name, n := range namings {
		calls, of = append(calls, s.nameCall(name, n, nil)), append(of, n)
	}
	var absent []*naming
	for i, cmd := range runCalls(ctx, s.clients.directory, calls) {
		switch there, err := cmd.Int(); {
		case err != nil:
			fail(of[i], fmt.Errorf("list: %w", err))
		case there == 0:
			absent = append(absent, of[i])
		}
	}
	for len(absent) > 0 {
		n := s.enterLists(ctx, batch, absent, fail)
		absent = absent[n:]
	}
	for i := range batch {
		if !out[i] {
			named = append(named, batch[i])
		}
	}
	return named, len(out) == 0
}

// enterLists sends as many lists as go in one pipeline, whole, and says how many.
func (s *Redis) enterLists(ctx context.Context, batch []task, absent []*naming, fail func(*naming, error)) (n int) {
	var calls []call
	for size := 0; n < len(absent) && size < batchBytes; n++ {
		a := absent[n]
		name := listName{batch[a.tasks[0]].entry.Tenant, a.list.Hash()}
		calls = append(calls, s.nameCall(name, a, a.list.Encode()))
		size += a.list.Bytes()
	}
	for i, cmd := range runCalls(ctx, s.clients.directory, calls) {
		switch there, err := cmd.Int(); {
		case err != nil:
			fail(absent[i], fmt.Errorf("list: %w", err))
		case there == 0:
			fail(absent[i], fmt.Errorf("list: %w", errReply))
		}
	}
	return n
}

// namingsOf are the lists that a batch's entries name.
func namingsOf(batch []task) map[listName]*naming {
	namings := make(map[listName]*naming)
	for i := range batch {
		t := &batch[i]
		if t.step == stepRelease || t.inlined || t.entry.List == nil {
			continue
		}
		name := listName{t.entry.Tenant, t.entry.List.Hash()}
		n := namings[name]
		if n == nil {
			n = &naming{list: t.entry.List}
			namings[name] = n
		}
		if t.before != n.list && t.before.Bytes() > smallList {
			n.base = t.before
		}
		n.agents, n.tasks = append(n.agents, t.entry.Agent), append(n.tasks, i)
	}
	return namings
}

// nameCall names a list, and sends it, whole or as what has changed, if it can be sent so.
func (s *Redis) nameCall(name listName, n *naming, whole []byte) call {
	c := call{script: s.scripts.list, key: s.keys.list(name)}
	var base string
	var patch []byte
	if n.base != nil && whole == nil {
		if made, ok := n.list.Patch(n.base); ok {
			base, patch = n.base.Hash().String(), made
			c.also = []string{s.keys.list(listName{name.tenant, n.base.Hash()})}
		}
	}
	keep := (s.timing.stay + s.config.Keep).Milliseconds()
	c.args = append([]any{keep, n.list.Bytes(), whole, base, patch}, n.agents...)
	return c
}

// An unnamed list is one that an agent's record does not name any more.
type unnamed map[listName][]any // agents

// add notes the lists that a script says were dropped from an agent's record.
func (u unnamed) add(key wire.AgentKey, dropped string) {
	for _, hash := range parseDropped(dropped) {
		name := listName{key.Tenant, hash}
		u[name] = append(u[name], key.Agent)
	}
}

// unname notes which agents name lists no longer. It is best effort: what is not noted
// goes when all of the list's agents have gone for as long as they are listed.
func (s *Redis) unname(ctx context.Context, lists unnamed) {
	if len(lists) == 0 {
		return
	}
	calls := make([]call, 0, len(lists))
	for name, agents := range lists {
		calls = append(calls, call{script: s.scripts.unlist, key: s.keys.list(name), args: append([]any{s.timing.unnamed.Milliseconds()}, agents...)})
	}
	runCalls(ctx, s.clients.directory, calls)
}

// readLists reads lists by their hashes. Those that are not there, or not as they were
// written, are missing in what it returns.
func (s *Redis) readLists(ctx context.Context, tenant string, hashes []wire.ListHash) (map[wire.ListHash]*wire.TargetList, error) {
	read := make(map[wire.ListHash]*wire.TargetList, len(hashes))
	unread, err := s.readChanged(ctx, tenant, hashes, read)
	if err != nil {
		return nil, err
	}
	texts, err := s.fetchField(ctx, tenant, unread, "list")
	if err != nil {
		return nil, err
	}
	lists := make([]*wire.TargetList, len(unread))
	onAllProcessors(len(unread), func(i int) {
		if list, err := wire.ParseTargetList(texts[i]); err == nil && list.Hash() == unread[i] {
			lists[i] = list
		}
	})
	for i, hash := range unread {
		switch {
		case lists[i] != nil:
			read[hash] = lists[i]
			s.lists.put(hash, lists[i])
		case texts[i] != "": // then whoever holds the link writes it anew
			_ = s.clients.directory.Del(ctx, s.keys.list(listName{tenant, hash})).Err()
		}
	}
	return read, nil
}

// readChanged reads those lists that are made of one that is known, and returns the
// others.
func (s *Redis) readChanged(ctx context.Context, tenant string, hashes []wire.ListHash, read map[wire.ListHash]*wire.TargetList) (unread []wire.ListHash, err error) {
	texts, err := s.fetchField(ctx, tenant, hashes, "made")
	if err != nil {
		return nil, err
	}
	for i, hash := range hashes {
		list := s.lists.made(texts[i])
		if list.Hash() != hash {
			unread = append(unread, hash)
			continue
		}
		read[hash] = list
		s.lists.put(hash, list)
	}
	return unread, nil
}

// made makes a list as it was made, beginning with the last that is known; nil if that
// cannot be.
func (l *targetLists) made(how string) (list *wire.TargetList) {
	for step := range strings.Lines(how) {
		hash, patch, _ := strings.Cut(step, " ")
		if base, ok := wire.ParseListHash(hash); ok {
			list = cmp.Or(l.find(base), list)
		}
		list, _ = list.Patched(patch)
	}
	return list
}

// fetchField reads a field of lists; one that is not there is empty.
func (s *Redis) fetchField(ctx context.Context, tenant string, hashes []wire.ListHash, field string) ([]string, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	pipe := s.clients.directory.Pipeline()
	cmds := make([]*redis.StringCmd, len(hashes))
	for i, hash := range hashes {
		cmds[i] = pipe.HGet(ctx, s.keys.list(listName{tenant, hash}), field)
	}
	exec(ctx, pipe)
	texts := make([]string, len(cmds))
	for i, cmd := range cmds {
		text, err := cmd.Result()
		if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			return nil, fmt.Errorf("lists: %w", err)
		}
		texts[i] = text
	}
	return texts, nil
}

package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

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
	var bad []wire.ListHash
	for i, hash := range unread {
		if lists[i] == nil {
			bad = append(bad, hash)
			continue
		}
		read[hash] = lists[i]
		s.lists.put(hash, lists[i])
	}
	return read, s.dropSpoilt(ctx, tenant, bad)
}

// dropSpoilt drops what stands in the place of lists: whoever holds the link writes
// them anew. What is not there at all may be on its way.
func (s *Redis) dropSpoilt(ctx context.Context, tenant string, bad []wire.ListHash) error {
	lengths, err := s.fetchField(ctx, tenant, bad, "bytes")
	for i, length := range lengths {
		if length != "" {
			_ = s.clients.directory.Del(ctx, s.keys.list(listName{tenant, bad[i]})).Err() // best effort
		}
	}
	return err
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

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/token"
)

// readKeys reads the keys that are the value of KEY, or in the file that KEY_FILE
// names; nil, if neither is set. Its errors quote neither.
func readKeys(value, file string) (*token.Keyring, error) {
	text, err := settings.Secret(value, file, "KEY")
	if text == nil || err != nil {
		return nil, err
	}
	setting := "FARSCRAPE_KEY"
	if file != "" {
		setting = "FARSCRAPE_KEY_FILE"
	}
	ring, err := token.ParseKeys(text)
	switch {
	case file == "" && looksLikeAPath(string(text), err != nil):
		return nil, fmt.Errorf("%[1]s: looks like a path: did you mean %[1]s_FILE?", setting)
	case err != nil:
		return nil, fmt.Errorf("%s: %w. One key a line; make one: openssl rand -hex 32", setting, err)
	}
	return ring, nil
}

// looksLikeAPath reports whether what should be a key names a file: a long path
// would else be a key, and one that others know. A key in base64 may start with a
// slash, but then with no folder that is there.
func looksLikeAPath(key string, isNone bool) bool {
	if _, err := os.Stat(key); err == nil {
		return true
	}
	if strings.HasPrefix(key, "./") || strings.HasPrefix(key, "../") || strings.HasPrefix(key, "~/") {
		return true
	}
	path, rooted := strings.CutPrefix(key, "/")
	folder, _, deep := strings.Cut(path, "/")
	if rooted && !isNone && deep {
		_, err := os.Stat("/" + folder)
		return err == nil
	}
	return rooted && isNone
}

// watchKeys takes new keys without a restart; bad ones it leaves alone.
func (r *replica) watchKeys(ctx context.Context, c *config) {
	settings.Watch(ctx, r.log, c.KeyFile, func() {
		text, err := settings.ReadFile(c.KeyFile)
		if err == nil {
			var ring *token.Keyring
			if ring, err = token.ParseKeys(text); err == nil {
				tellKeys(r.log, r.keys.Current(), ring, r.relay.LinksByKey())
				r.keys.Set(ring)
				return
			}
		}
		r.log.Error("FARSCRAPE_KEY_FILE changed and is no good; the last good keys stay", "err", err)
	})
}

// tellKeys says which keys there are now, and warns of those that went while
// agents still need them. links are counted by key.
func tellKeys(log *slog.Logger, before, now *token.Keyring, links map[string]int) {
	if slices.Equal(now.KeyIDs(), before.KeyIDs()) {
		return
	}
	var removed []string
	inUse := 0
	for _, id := range before.KeyIDs() {
		if !now.Has(id) {
			removed = append(removed, id)
			inUse += links[id]
		}
	}
	if inUse == 0 {
		log.Info("keys changed", "keys", now.KeyIDs())
		return
	}
	log.Warn("keys changed: links have tokens of one that was removed", "keys", now.KeyIDs(), "removed", removed, "links", inUse,
		"mend", "their tokens are refused now: if that was not meant, put the old key back, as a line below the new")
}

package store

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	good := []string{
		"redis://127.0.0.1",
		"redis://user:p%40ss@127.0.0.1:6379/3",
		"rediss://127.0.0.1:6379",
		"redis://:secret@127.0.0.1:6379?addr=127.0.0.1:6380&addr=127.0.0.1:6381",
		"rediss://127.0.0.1:26379?master_name=mymaster&addr=127.0.0.1:26380&password=secret",
		"unix:///tmp/redis.sock",
	}
	for _, u := range good {
		if _, err := NewRedis(RedisConfig{URL: u, Replica: wire.NewID[wire.ReplicaID]()}); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	bad := []string{
		"", "127.0.0.1:6379", "http://user:hunter2@host", "redis://user:hunter2#x@host", "redis://:hunter2/y@host",
		"redis://user:hunter2@host/db", "redis://user:hunter2@host:port", "redis://user:hunter2@host?unknown=1", "redis://user:%zzhunter2@host",
		"redis://user:hunter2@host:26379?master_name=m&password=hunter2&bad=x", "redis://:hunter2@host/x?addr=b:1",
	}
	for _, u := range bad {
		_, err := NewRedis(RedisConfig{URL: u, Replica: wire.NewID[wire.ReplicaID]()})
		if err == nil {
			t.Errorf("%q is taken", u)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	if _, err := NewRedis(RedisConfig{URL: "redis://127.0.0.1", TLS: &tls.Config{}, Replica: wire.NewID[wire.ReplicaID]()}); err == nil {
		t.Error("TLS settings with a URL without TLS are taken")
	}
	if _, err := NewRedis(RedisConfig{URL: "redis://127.0.0.1"}); err == nil {
		t.Error("no replica ID is taken")
	}
	if _, err := NewRedis(RedisConfig{URL: "redis://127.0.0.1", Replica: wire.NewID[wire.ReplicaID](), Prefix: strings.Repeat("p", maxPrefix+1)}); err == nil {
		t.Error("a prefix of any length is taken")
	}
}

// A syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// rights are those that a user of Redis needs.
func rights() []any {
	all := []any{"+@connection", "+evalsha", "+eval", "+zrange", "+zrem", "+subscribe", "+publish", "+pubsub|numsub"}
	for right := range strings.FieldsSeq(scriptRights) {
		all = append(all, right)
	}
	return all
}

// TestACL: what a user of Redis needs, and no more; and a password that is wrong
// at first.
func TestACL(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do(slices.Concat([]any{"ACL", "SETUSER", "farscrape", "reset", "on", ">s3cr@t", "~fs:*", "&fs:*"}, rights())...)
	u := &url.URL{Scheme: "redis", User: url.UserPassword("farscrape", "s3cr@t"), Host: server.Addr()}
	r := replicas(t, 1, RedisConfig{URL: u.String(), Prefix: "fs:", Keep: time.Hour})[0]
	l := r.register(t, "t", "a")
	if _, err := r.List(t.Context(), "t"); err != nil {
		t.Error(err)
	}
	r.Release(l.Link, wire.CauseAgentStopped.String())
	storetest.WaitUntil(t, within, "the release", func() bool {
		a, err := r.Lookup(t.Context(), l.AgentKey)
		return err == nil && !a.Connected()
	})
	if err := r.Forget(t.Context(), l.AgentKey); err != nil {
		t.Error(err)
	}

	var out syncBuffer
	u.User = url.UserPassword("farscrape", "hunter2")
	wrong := run(t, open(t, RedisConfig{URL: u.String(), Prefix: "fs:", Logger: slog.New(slog.NewTextHandler(&out, nil))}))
	wrong.Await(t, within, storetest.BusIs(false))
	if _, err := wrong.Register(t.Context(), storetest.NewLease("t", "b")); err == nil {
		t.Error("registered with a wrong password")
	}
	server.Do("ACL", "SETUSER", "farscrape", ">hunter2")
	wrong.Await(t, within, storetest.BusIs(true))
	if strings.Contains(out.String(), "hunter2") || !strings.Contains(out.String(), "WRONGPASS") {
		t.Errorf("the log is\n%s", out.String())
	}
}

// TestNoChannels: Redis 7 gives a new user no channels.
func TestNoChannels(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do("ACL", "SETUSER", "u", "reset", "on", ">p", "~*", "+@all", "resetchannels")
	r := run(t, open(t, RedisConfig{URL: "redis://u:p@" + server.Addr(), Keep: time.Hour}))
	r.Await(t, within, storetest.BusIs(false))
	l := r.register(t, "t", "a") // the directory works
	storetest.WaitUntil(t, within, "the agent is linked", r.linked(t, l))
	server.Do("ACL", "SETUSER", "u", "allchannels")
	r.Await(t, within, storetest.BusIs(true))
}

// TestOutOfMemory: a Redis that takes no more writes is as good as away, and
// heals.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	server.Do("CONFIG", "SET", "maxmemory", "1")
	l := storetest.NewLease("t", "a")
	if _, err := r.Register(t.Context(), l); err == nil {
		t.Error("registered without memory")
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	r.Await(t, within, storetest.RegisteredAs(l.Link))
}

func TestEvictionIsWarnedOf(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	var out syncBuffer
	run(t, open(t, RedisConfig{URL: server.URL(), Logger: slog.New(slog.NewTextHandler(&out, nil))}))
	storetest.WaitUntil(t, within, "a warning", func() bool { return strings.Contains(out.String(), "noeviction") })
}

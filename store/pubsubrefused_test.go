package store_test

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// allow sets the rights of a Cluster's user.
func allow(cluster *storetest.RedisCluster, user, prefix string, rights ...any) {
	for _, node := range append(cluster.Masters, cluster.Replica) {
		node.Do(append([]any{"ACL", "SETUSER", user, "reset", "on", ">p", "~" + prefix + "*", "&" + prefix + "*"}, rights...)...)
	}
}

// as is the configuration of a replica that has those rights, and logs to out.
func as(t *testing.T, cluster *storetest.RedisCluster, prefix string, out io.Writer, rights ...any) store.RedisConfig {
	t.Helper()
	user := strings.TrimSuffix(prefix, ":")
	allow(cluster, user, prefix, rights...)
	config := inCluster(cluster, prefix, store.PubSubAuto)
	config.URL = strings.Replace(config.URL, "redis://", "redis://"+user+":p@", 1)
	config.Logger = slog.New(slog.NewTextHandler(out, nil))
	return config
}

// Where Redis refuses one of the sharded commands, auto does without, says so once,
// and tries again with the next subscription.
func testShardedIsRefused(t *testing.T, cluster *storetest.RedisCluster) {
	for _, command := range []string{"ssubscribe", "spublish"} {
		var out syncBuffer
		user, prefix := "no-"+command, "no-"+command+":"
		r := replicas(t, 1, as(t, cluster, prefix, &out, "+@all", "-"+command))[0]
		other := replicas(t, 1, inCluster(cluster, prefix, store.PubSubAuto))[0]
		awaitSharded(t, []*replica{r, other}, 0)
		pass(t, r, other, 10)
		pass(t, other, r, 10)
		allow(cluster, user, prefix, "+@all")
		again := func() {
			owner := cluster.Masters[cluster.Owner(r.inbox())]
			r.Clear()
			owner.Do("CLIENT", "KILL", "TYPE", "pubsub", "USER", user)
			r.Await(t, within, storetest.BusIs(true))
		}
		again()
		awaitSharded(t, []*replica{r, other}, 1)
		allow(cluster, user, prefix, "+@all", "-"+command)
		again()
		awaitSharded(t, []*replica{r, other}, 0)
		stopAll([]*replica{r, other})
		if n := strings.Count(out.String(), "needs=+"+command); n != 2 || strings.Contains(out.String(), "still down") {
			t.Errorf("told %d times:\n%s", n, out.String())
		}
	}
}

// Where the setting asks for it, the bus waits for it, and says what is missing.
func TestShardedPubSubThatIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		told string
	}{
		"too old":         {[]string{"--rename-command", "SSUBSCRIBE", "none"}, "set FARSCRAPE_REDIS_PUBSUB to auto"},
		"half of it":      {[]string{"--rename-command", "SPUBLISH", "none"}, "set FARSCRAPE_REDIS_PUBSUB to auto"},
		"without a right": {nil, "needs=+ssubscribe"},
		"it is there":     {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out syncBuffer
			server := storetest.StartRedis(t, c.args...)
			if strings.HasPrefix(c.told, "needs=") {
				server.Do("ACL", "SETUSER", "default", "-ssubscribe")
			}
			r := run(t, open(t, store.RedisConfig{
				URL: server.URL(), PubSub: store.PubSubSharded, Keys: ring(keyA), Logger: slog.New(slog.NewTextHandler(&out, nil)),
			}))
			if c.told == "" {
				other := run(t, open(t, store.RedisConfig{URL: server.URL(), PubSub: store.PubSubSharded, Keys: ring(keyA)}))
				awaitSharded(t, []*replica{r, other}, 1)
				pass(t, r, other, 10)
				return
			}
			storetest.WaitUntil(t, within, "it is told", func() bool { return strings.Contains(out.String(), c.told) })
			r.stop()
			if r.Has(storetest.BusIs(true)) {
				t.Error("the bus is up")
			}
		})
	}
}

// On one server either is the same, so auto asks for no new right.
func TestOneServerIsNotSharded(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, store.RedisConfig{URL: server.URL(), Keys: ring(keyA)})
	awaitSharded(t, all, 0)
	pass(t, all[0], all[1], 10)
	if stats := server.Do("INFO", "commandstats"); strings.Contains(stats, "ssubscribe") || strings.Contains(stats, "spublish") {
		t.Error("it is asked for sharded pub/sub")
	}
}

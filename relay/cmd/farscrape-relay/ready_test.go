package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/store/storetest"
)

// startRelay runs a replica as main does, until the test ends.
func startRelay(t *testing.T, env ...string) (url string) {
	t.Helper()
	listen := fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
	env = append(env, "FARSCRAPE_LISTEN="+listen, "FARSCRAPE_KEY="+strings.Repeat("k", 32), "FARSCRAPE_DRAIN_TIMEOUT=2s")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, env, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return "http://" + listen
}

func status(url string) int {
	resp, err := http.Get(url)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// looks is the time between two of them, where nothing must happen.
const looks = 20 * time.Millisecond

// TestReadyOnceRedisHasAnswered, and from then on whatever Redis does.
func TestReadyOnceRedisHasAnswered(t *testing.T) {
	server := storetest.StartRedis(t)
	server.Pause()
	relay := startRelay(t, "FARSCRAPE_REDIS_URL="+server.URL())
	storetest.WaitUntil(t, 20*time.Second, "it listens", func() bool { return status(relay+"/-/healthy") == http.StatusOK })
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(looks) {
		if status(relay+"/-/ready") == http.StatusOK {
			t.Fatal("ready, and has never heard of Redis")
		}
	}
	server.Resume()
	storetest.WaitUntil(t, 20*time.Second, "it is ready", func() bool { return status(relay+"/-/ready") == http.StatusOK })
	server.Kill()
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); time.Sleep(looks) {
		if status(relay+"/-/ready") != http.StatusOK {
			t.Fatal("a Redis that went away takes the replica out of the balancer")
		}
	}
}

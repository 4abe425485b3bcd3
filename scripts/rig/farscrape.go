package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/farscrape/farscrape/store/storetest"
)

// Key signs the tokens of every relay on a rig.
const Key = "rig-key-0123456789abcdef0123456789abcdef"

// Build builds the commands of this tree into a folder, as released.
func Build(dir string) error { return build(".", dir) }

// BuildRevision builds the commands of a revision of this repository into a
// folder, from a work tree of its own that is gone when it returns.
func BuildRevision(revision, dir string) error {
	tree := filepath.Join(dir, "tree")
	if out, err := exec.Command("git", "worktree", "add", "--detach", tree, revision).CombinedOutput(); err != nil {
		return fmt.Errorf("git worktree add %s: %v\n%s", revision, err, out)
	}
	err := build(tree, dir)
	if out, removing := exec.Command("git", "worktree", "remove", "--force", tree).CombinedOutput(); removing != nil {
		return errors.Join(err, fmt.Errorf("git worktree remove: %v\n%s", removing, out))
	}
	return err
}

// build builds the commands of a tree into a folder.
func build(tree, dir string) error {
	cmd := exec.Command("go", "build", "-o", dir+"/", "./relay/cmd/farscrape-relay", "./agent/cmd/farscrape-agent")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %v\n%s", err, out)
	}
	return nil
}

// Mint runs farscrape-relay token, of that folder.
func (r *Rig) Mint(binaries string, args ...string) string {
	cmd := exec.Command(filepath.Join(binaries, "farscrape-relay"), append([]string{"token"}, args...)...)
	cmd.Env = []string{"FARSCRAPE_KEY=" + Key}
	out, err := cmd.Output()
	r.Must(err)
	return strings.TrimSpace(string(out))
}

// Ready reports whether the replica at addr is.
func Ready(addr string) bool {
	resp, err := http.Get("http://" + addr + "/-/ready")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// generations is more marks than the store draws; see store/doc.go. On a
// Cluster they lie on several masters.
const generations = 16

// Seed gives a new Redis the marks of one that was emptied in 1970, so that the
// replicas need not wait out their 45 s of doubt.
func (r *Rig) Seed(server *storetest.RedisServer) {
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2, DisableIdentity: true})
	defer client.Close()
	for i := range generations {
		err := client.Set(context.Background(), fmt.Sprintf("farscrape:generation:%d", i), "rig 1", 0).Err()
		if err != nil && !strings.HasPrefix(err.Error(), "MOVED") {
			r.Must(err)
		}
	}
}

// Listens reports whether somebody does.
func Listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// Metric adds up the series of that name, with all of these label pairs, that a
// process shows; 0 if it shows none.
func Metric(ops, name string, pairs ...string) (sum float64) {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + ops + "/metrics")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	all, _ := io.ReadAll(resp.Body)
	for line := range bytes.Lines(all) {
		series, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		found, labels, _ := strings.Cut(series, "{")
		if found == name && hasAll(labels, pairs) {
			var v float64
			_, _ = fmt.Sscan(value, &v)
			sum += v
		}
	}
	return sum
}

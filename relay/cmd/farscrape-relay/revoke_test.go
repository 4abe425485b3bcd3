package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
)

const (
	patience = 20 * time.Second
	// revokedWithin is how soon what is taken back is felt everywhere.
	revokedWithin = 5 * time.Second
)

// A fleet is replicas with one store, a target, and agents before it.
type fleet struct {
	t        *testing.T
	env      []string // of replicas, and of the commands
	replicas []string // their URLs
	target   string
	scraper  string
}

func newFleet(t *testing.T, replicas int, env ...string) *fleet {
	t.Helper()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }))
	t.Cleanup(target.Close)
	f := &fleet{t: t, env: append(env, "FARSCRAPE_SD_GRACE=0s"), target: target.URL}
	f.scraper = f.mint("-scraper", "prometheus")
	for range replicas {
		f.addReplica()
	}
	return f
}

func (f *fleet) addReplica() {
	f.t.Helper()
	url := startRelay(f.t, f.env...)
	storetest.WaitUntil(f.t, patience, "a replica is ready", func() bool { return status(url+"/-/ready") == http.StatusOK })
	f.replicas = append(f.replicas, url)
}

// command runs one of the relay's, and returns what it says.
func (f *fleet) command(args ...string) (string, error) {
	f.t.Helper()
	var out strings.Builder
	err := command(f.t.Context(), args, append(f.env, "FARSCRAPE_KEY="+strings.Repeat("k", 32)), nil, &out, io.Discard)
	return out.String(), err
}

// does runs a command that must succeed, and say so.
func (f *fleet) does(says string, args ...string) {
	f.t.Helper()
	start := time.Now()
	out, err := f.command(args...)
	if err != nil || !strings.Contains(out, says) || time.Since(start) > revokedWithin {
		f.t.Fatalf("%v, after %v: %v\n%s\nwant %s", args, time.Since(start), err, out, says)
	}
}

func (f *fleet) mint(args ...string) string {
	f.t.Helper()
	out, err := f.command(append([]string{"token"}, args...)...)
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// link runs an agent with that token until the test ends, linked to every replica: to
// each by an instance of its own, beside the others. It returns once it is.
func (f *fleet) link(name, token string) {
	f.t.Helper()
	for _, url := range f.replicas {
		f.linkTo(url, name, token)
	}
	storetest.WaitUntil(f.t, patience, name+" is linked to every replica", func() bool { return f.scrapes(name, http.StatusOK) })
}

func (f *fleet) linkTo(url, name, token string) {
	f.t.Helper()
	a, err := agent.New(agent.Config{RelayURL: url, Name: name, Token: token, Targets: "app=" + f.target + "/metrics", Links: 1, Shared: true},
		agent.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = a.Run(ctx) }()
	f.t.Cleanup(func() { stop(); <-ended })
}

// scrapes reports whether a scrape of the agent has that status at every replica.
func (f *fleet) scrapes(name string, want int) bool {
	for _, url := range f.replicas {
		if f.scrape(url, name, f.scraper) != want {
			return false
		}
	}
	return true
}

// scrapedBy reports whether any replica scrapes the agent.
func (f *fleet) scrapedBy(name string) bool {
	return slices.ContainsFunc(f.replicas, func(url string) bool { return f.scrape(url, name, f.scraper) == http.StatusOK })
}

func (f *fleet) scrape(url, name, token string) int {
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, url+"/scrape/"+name+"/app", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// stays asks for so long whether an agent is, or is not, to be scraped.
func (f *fleet) stays(what string, is func() bool) {
	f.t.Helper()
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); time.Sleep(looks) {
		if !is() {
			f.t.Fatal("not any more: " + what)
		}
	}
}

// Of agents at three replicas those that are taken back close within seconds and stay
// out, whatever becomes of Redis and of replicas; no other notices; and who has a token
// that was issued later is in at once.
func TestRevokedAgentsCloseEverywhereAndStayOut(t *testing.T) {
	server := storetest.StartRedis(t)
	f := newFleet(t, 3, "FARSCRAPE_REDIS_URL="+server.URL())
	stolen := f.mint("-agent", "edge-1")
	f.link("edge-1", stolen)
	f.link("edge-2", f.mint("-agent", "edge-*"))
	f.link("core-1", f.mint("-agent", "core-1"))
	out := func() bool { return !f.scrapedBy("edge-1") && !f.scrapedBy("edge-2") }
	others := func() bool { return f.scrapes("core-1", http.StatusOK) }

	f.does("replicas that have confirmed: 3; links closed: 6\n", "revoke", "-agent", "edge-*")
	if !out() || !others() {
		t.Fatal("the command has returned before all was done, or too much")
	}
	f.does("edge-*", "revoke", "-list")

	server.Do("FLUSHALL")
	f.addReplica() // to an emptied Redis
	f.linkTo(f.replicas[3], "edge-1", stolen)
	storetest.WaitUntil(t, revokedWithin, "the others have told it what is taken back", out)
	f.stays("with Redis emptied, edge-* out and core-1 in", func() bool { return out() && others() })

	server.Kill()
	f.stays("with Redis stopped, edge-* out", out)
	server.Start()
	storetest.WaitUntil(t, patience, "core-1 is found from everywhere", others)

	fresh := f.mint("-agent", "edge-1") // the first revocation's second is long over
	f.does("confirmed", "revoke", "-agent", "edge-1")
	f.linkTo(f.replicas[0], "edge-1", fresh)
	f.stays("edge-1 out by a token that was taken back later", func() bool { return !f.scrapedBy("edge-1") })
	f.link("edge-1", f.mint("-agent", "edge-1"))
}

func TestRevokedScrapersAreRefusedEverywhere(t *testing.T) {
	server := storetest.StartRedis(t)
	f := newFleet(t, 2, "FARSCRAPE_REDIS_URL="+server.URL())
	f.link("edge-1", f.mint("-agent", "edge-1"))
	other := f.mint("-scraper", "other")
	f.does("replicas that have confirmed: 2; links closed: 0\n", "revoke", "-scraper", "prometheus")
	if !f.scrapes("edge-1", http.StatusUnauthorized) {
		t.Error("its token is still good")
	}
	f.scraper = f.mint("-scraper", "prometheus")
	if !f.scrapes("edge-1", http.StatusOK) {
		t.Error("what was issued once the command had returned is not good")
	}
	f.scraper = other
	if !f.scrapes("edge-1", http.StatusOK) {
		t.Error("another's token is not good")
	}
}

// With the embedded store the list is a file, which the replica watches.
func TestWithTheEmbeddedStoreAFileSaysWhatIsTakenBack(t *testing.T) {
	list := filepath.Join(t.TempDir(), "revoked")
	if err := os.WriteFile(list, []byte("# ours\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, 1, "FARSCRAPE_REVOKED_FILE="+list)
	f.link("edge-1", f.mint("-agent", "edge-1"))
	f.link("core-1", f.mint("-agent", "core-1"))
	f.does("written to "+list, "revoke", "-agent", "edge-1")
	storetest.WaitUntil(t, revokedWithin, "edge-1 is out", func() bool { return f.scrapes("edge-1", http.StatusServiceUnavailable) })
	f.link("edge-1", f.mint("-agent", "edge-1"))
	if !f.scrapes("core-1", http.StatusOK) {
		t.Error("another is out")
	}
	f.does("default  agent  edge-1", "revoke", "-list")
	text, err := os.ReadFile(list)
	if err != nil || !strings.HasPrefix(string(text), "# ours\nagent:edge-1 before=20") || strings.Count(string(text), "\n") != 2 {
		t.Errorf("%q, %v", text, err)
	}
	if info, err := os.Stat(list); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}

	if err := os.WriteFile(list, []byte("scraper:prometheus\nnonsense\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	f.stays("edge-1 in while the list is no good", func() bool { return f.scrapes("edge-1", http.StatusOK) })
	if _, err := f.command("revoke", "-agent", "x"); err == nil || !strings.Contains(err.Error(), "FARSCRAPE_REVOKED_FILE: line 2: it must begin with") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(list, []byte("scraper:prometheus\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	storetest.WaitUntil(t, revokedWithin, "the scraper is out", func() bool { return f.scrapes("edge-1", http.StatusUnauthorized) })
	f.does("good again", "unrevoke", "-scraper", "prometheus")
	storetest.WaitUntil(t, revokedWithin, "the scraper is in", func() bool { return f.scrapes("edge-1", http.StatusOK) })
	if _, err := f.command("unrevoke", "-scraper", "prometheus"); err == nil || !strings.Contains(err.Error(), "scraper prometheus of tenant default: it is not taken back by that name: farscrape-relay revoke -list has what is") {
		t.Errorf("%v", err)
	}
}

// Commands that edit the list at a time each find what the others have written.
func TestAFileLosesNothingOfCommandsAtATime(t *testing.T) {
	list := filepath.Join(t.TempDir(), "revoked")
	if err := os.WriteFile(list, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, env: []string{"FARSCRAPE_REVOKED_FILE=" + list}}
	const commands = 20
	var all sync.WaitGroup
	for i := range commands {
		all.Go(func() {
			if _, err := f.command("revoke", "-token", fmt.Sprintf("%016x", i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if set, err := readRevoked(list); err != nil || set.Len() != commands {
		t.Errorf("of %d the list has %d, %v", commands, set.Len(), err)
	}
}

// A replica that has never heard of Redis says so, and lets in, or not, as it is set.
func TestAReplicaWithoutRedisSaysThatItDoesNotKnow(t *testing.T) {
	known := func(url, token string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		page, _ := io.ReadAll(resp.Body)
		_, value, _ := strings.Cut(string(page), "\nfarscrape_relay_revocations_known ")
		value, _, _ = strings.Cut(value, "\n")
		return resp.Header.Get(wire.HeaderError) + value
	}
	server := storetest.StartRedis(t)
	server.Kill()
	scraper := (&fleet{t: t}).mint("-scraper", "p")
	allows := startRelay(t, "FARSCRAPE_REDIS_URL="+server.URL())
	refuses := startRelay(t, "FARSCRAPE_REDIS_URL="+server.URL(), "FARSCRAPE_REVOKED_UNKNOWN=refuse")
	storetest.WaitUntil(t, patience, "the one lets in and says that it does not know, the other does not", func() bool {
		return known(allows, scraper) == "0" && known(refuses, scraper) == "bus_unavailable"
	})
	server.Start()
	storetest.WaitUntil(t, patience, "both know", func() bool { return known(allows, scraper) == "1" && known(refuses, scraper) == "1" })
}

// Who takes back what cannot be reads which flag it is, and what to write.
func TestWhatAWrongRevokeSays(t *testing.T) {
	const before = "2026-11-22T12:00:00Z"
	redis := "FARSCRAPE_REDIS_URL=redis://127.0.0.1:1"
	for args, want := range map[string]string{
		"revoke":                                       "say -agent NAME, -scraper NAME or -token ID; see farscrape-relay revoke -help",
		"unrevoke":                                     "say -agent NAME, -scraper NAME or -token ID; see farscrape-relay unrevoke -help",
		"revoke -agent a -scraper b":                   "say one of -agent NAME, -scraper NAME and -token ID",
		"revoke -agent a b":                            "what is behind the flags?",
		"revoke -list -agent a":                        "-list goes alone",
		"unrevoke -list":                               "flag provided but not defined: -list; see farscrape-relay unrevoke -help",
		"unrevoke -agent a -before " + before:          "flag provided but not defined: -before",
		"revoke -agent a -before yesterday":            "-before must be a time such as 2026-11-22T12:00:00Z",
		"revoke -agent a -before 9999-01-01T00:00:00Z": "-before is a time to come",
		"revoke -agent edge-[":                         `-agent: pattern "edge-[": syntax error in pattern`,
		"revoke -scraper team-*":                       "-scraper: scraper name \"team-*\": must be 1 to 64 of",
		"revoke -token s3cret":                         "-token: a token's ID has 16 digits of 0-9 a-f",
		"revoke -token 0123456789abcdef -tenant t":     "-tenant does not go with -token",
		"revoke -agent a":                              "redis at 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused: nothing listens there",
		"revoke -list":                                 "redis at 127.0.0.1:1: ",
	} {
		var out strings.Builder
		err := command(t.Context(), strings.Fields(args), []string{redis}, nil, &out, io.Discard)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v; want %s", args, err, want)
		}
	}
	for env, want := range map[string]string{
		"":                                       "FARSCRAPE_REDIS_URL must be set, as the replicas have it; or, where the one replica has the embedded store, FARSCRAPE_REVOKED_FILE",
		"FARSCRAPE_REVOKED_FILE=/nowhere/s3cret": "FARSCRAPE_REVOKED_FILE: open /nowhere/s3cret: no such file or directory: make it; it may be empty",
		"FARSCRAPE_REDIS_URL=http://:s3cret@x":   "FARSCRAPE_REDIS_URL: the Redis URL must begin with redis://",
	} {
		err := command(t.Context(), []string{"revoke", "-agent", "a"}, []string{env}, nil, io.Discard, io.Discard)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
	if err := command(t.Context(), []string{"revoke", "-help"}, nil, nil, io.Discard, io.Discard); err != nil {
		t.Error(err)
	}
}

// Replicas that have not done what they are to are named.
func TestARevocationThatIsNotCarriedOutEverywhereFails(t *testing.T) {
	server := storetest.StartRedis(t)
	f := newFleet(t, 1, "FARSCRAPE_REDIS_URL="+server.URL())
	old := wire.NewID[wire.ReplicaID]()
	server.Do("HSET", "farscrape:replicas", string(old), fmt.Sprintf("%d 7", time.Now().Add(time.Minute).UnixMilli()))
	out, err := f.command("revoke", "-agent", "edge-1")
	if err == nil || !strings.Contains(out, "replicas that have confirmed: 1;") ||
		err.Error() != fmt.Sprintf("[%s] are of an earlier version, which knows nothing of this: they go on as before until they are updated", old) {
		t.Errorf("%v\n%s", err, out)
	}
}

// Where no replica is, as with the prefix of another fleet, nobody has carried it out.
func TestARevocationThatNobodyIsThereForFails(t *testing.T) {
	server := storetest.StartRedis(t)
	f := newFleet(t, 1, "FARSCRAPE_REDIS_URL="+server.URL())
	f.env = append(f.env, "FARSCRAPE_REDIS_PREFIX=another:")
	for _, order := range []string{"revoke", "unrevoke"} {
		out, err := f.command(order, "-agent", "edge-1")
		if err == nil || err.Error() != "no replica is alive there: check FARSCRAPE_REDIS_URL and FARSCRAPE_REDIS_PREFIX; it stands in Redis all the same" {
			t.Errorf("%s: %v\n%s", order, err, out)
		}
	}
}

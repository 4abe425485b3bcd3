package webconfig_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// users writes a configuration with alice, whose password is good.
func (w *world) users(more string) {
	w.t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("good"), bcrypt.MinCost)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("web.yaml", "basic_auth_users: {alice: "+string(hash)+more+"}\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n")
}

func ask(t *testing.T, url, user, password string) *http.Response {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

func TestOnlyUsersOfTheFileAreLetIn(t *testing.T) {
	w := newWorld(t)
	defer http.DefaultClient.CloseIdleConnections()
	w.users("")
	_, addr := w.serve()
	for range 2 { // the second time it is known
		for _, c := range []struct {
			path, user, password string
			status               int
		}{
			{"/metrics", "alice", "good", 200}, {"/metrics", "alice", "bad", 401}, {"/metrics", "alice", "", 401},
			{"/metrics", "bob", "good", 401}, {"/metrics", "", "", 401}, {"/debug/pprof/", "", "", 401},
			{"/-/healthy", "", "", 200}, {"/-/ready", "", "", 200}, {"//-/ready", "", "", 401}, {"/-/ready/", "", "", 401},
		} {
			resp := ask(t, "http://"+addr+c.path, c.user, c.password)
			if resp.StatusCode != c.status || (c.status == 401) != (resp.Header.Get("WWW-Authenticate") != "") || resp.Header.Get("X-Frame-Options") != "deny" {
				t.Errorf("%s, %s:%s: %d %v", c.path, c.user, c.password, resp.StatusCode, resp.Header)
			}
		}
	}
}

func TestAUserWhoIsTakenOutIsKnownNoMore(t *testing.T) {
	w := newWorld(t)
	defer http.DefaultClient.CloseIdleConnections()
	w.users("")
	_, addr := w.serve()
	if got := ask(t, "http://"+addr, "alice", "good").StatusCode; got != 200 {
		t.Fatalf("at first: %d", got)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("other"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	w.write("web.yaml", "basic_auth_users: {alice: "+string(hash)+"}")
	eventually(t, "her password is another", func() bool { return ask(t, "http://"+addr, "alice", "good").StatusCode == 401 })
}

// Whoever guesses passwords keeps one processor busy, and nobody out whose own is known.
func TestGuessesKeepNoScraperOut(t *testing.T) {
	w := newWorld(t)
	defer http.DefaultClient.CloseIdleConnections()
	w.users("")
	_, addr := w.serve()
	ask(t, "http://"+addr, "alice", "good")
	var guessing sync.WaitGroup
	var over atomic.Bool
	turned := make(chan int, 1)
	for range 64 {
		guessing.Go(func() {
			for !over.Load() {
				if status := ask(t, "http://"+addr, "alice", "guess").StatusCode; status == 503 {
					select {
					case turned <- status:
					default:
					}
				}
			}
		})
	}
	<-turned // there are more of them than places
	for range 20 {
		if got := ask(t, "http://"+addr, "alice", "good").StatusCode; got != 200 {
			t.Errorf("alice: %d", got)
		}
	}
	over.Store(true)
	guessing.Wait()
}

package agent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// unsigned is a token that says so, which the agent cannot check.
func unsigned(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"HS256","kid":"01234567"}`)) + "." + part([]byte(claims)) + ".c2ln"
}

var joinToken = unsigned(`{"role":"join","sub":"edge-*","jti":"0123456789abcdef"}`)

// A desk answers those who join: each in turn by the next of its answers, and then by a
// token for the name that is asked for.
type desk struct {
	*httptest.Server
	mu      sync.Mutex
	answers []http.HandlerFunc
	asked   []wire.JoinRequest
	shown   []string
}

func newDesk(t *testing.T, answers ...http.HandlerFunc) *desk {
	d := &desk{answers: answers}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		var req wire.JoinRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.Method != http.MethodPost || r.URL.Path != "/prefix"+wire.JoinPath {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		d.asked, d.shown = append(d.asked, req), append(d.shown, r.Header.Get("Authorization"))
		if n := len(d.asked); n <= len(d.answers) {
			d.answers[n-1](w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(wire.JoinAnswer{Token: agentToken(req.Name, time.Now().Add(time.Hour))})
	}))
	t.Cleanup(d.Close)
	return d
}

func agentToken(name string, ends time.Time) string {
	return unsigned(fmt.Sprintf(`{"role":"agent","sub":%q,"jti":"fedcba9876543210","exp":%d,"labels":"site=berlin,env=prod"}`, name, ends.Unix()))
}

func refuses(status int, reason, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if reason != "" {
			w.Header().Set(wire.HeaderError, reason)
		}
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, "says why", status)
	}
}

func (d *desk) config(t *testing.T) Config {
	return Config{RelayURL: d.URL + "/prefix/", Name: "edge-1", StateDir: filepath.Join(t.TempDir(), "state"), Links: 1}
}

func mustJoin(t *testing.T, c Config, given string) Config {
	t.Helper()
	c, err := Join(t.Context(), c, Options{}, given)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestJoining(t *testing.T) {
	d := newDesk(t)
	plain := d.config(t)
	c := mustJoin(t, plain, joinToken)
	if len(d.asked) != 1 || d.asked[0].Name != "edge-1" || !d.asked[0].JoinID.Valid() || d.shown[0] != "Bearer "+joinToken {
		t.Fatalf("asked %+v, showing %q", d.asked, d.shown)
	}
	token, err := c.token()
	if claims, ok := readClaims(token); err != nil || !ok || claims.Name != "edge-1" {
		t.Errorf("has %+v, %v", claims, err)
	}
	for _, file := range []string{"token", "join"} {
		if info, err := os.Stat(filepath.Join(c.StateDir, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if plain.JoinToken = filepath.Join(t.TempDir(), "join-token"); os.WriteFile(plain.JoinToken, []byte(joinToken+"\n"), 0o600) != nil {
		t.Fatal("no file")
	}
	if again := mustJoin(t, plain, ""); again.TokenFile != c.TokenFile || len(d.asked) != 1 {
		t.Errorf("started again it has %q, after %d joins", again.TokenFile, len(d.asked))
	}
	if !HasJoined(plain) {
		t.Error("it has not joined")
	}
	mustJoin(t, plain, joinToken) // who is given one redeems it
	if len(d.asked) != 2 || d.asked[1] != d.asked[0] {
		t.Errorf("asks as %+v", d.asked)
	}

	a, err := New(Config{RelayURL: d.URL, TokenFile: c.TokenFile, Links: 1, Labels: "env=test"}, Options{})
	if err != nil || a.name != "edge-1" || a.labels["site"] != "berlin" || a.labels["env"] != "test" {
		t.Errorf("the agent is %q, labels %v, %v", a.name, a.labels, err)
	}
}

// An agent whose token has ended joins anew, as the same, by what its file holds now.
func TestAJoinTokenFileIsRedeemedWhereThereIsNoGoodToken(t *testing.T) {
	d := newDesk(t)
	c := d.config(t)
	c.JoinToken = filepath.Join(t.TempDir(), "join-token")
	if _, err := Join(t.Context(), c, Options{}, ""); err == nil || !strings.Contains(err.Error(), "FARSCRAPE_JOIN_TOKEN_FILE") || !strings.Contains(err.Error(), "-join NAME") {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(c.JoinToken, []byte(joinToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := mustJoin(t, c, "")
	if err := os.WriteFile(got.TokenFile, []byte(agentToken("edge-1", time.Now().Add(-time.Minute))), 0o600); err != nil {
		t.Fatal(err)
	}
	mustJoin(t, c, "")
	if len(d.asked) != 2 || d.asked[1] != d.asked[0] {
		t.Errorf("asked %+v", d.asked)
	}
}

// Whether a token has ended the relay judges: a host whose clock is ahead goes on with it.
func TestAClockThatIsAheadEndsNoAgent(t *testing.T) {
	d := newDesk(t)
	c := d.config(t)
	had := mustJoin(t, c, joinToken)
	if err := os.WriteFile(had.TokenFile, []byte(agentToken("edge-1", time.Now().Add(-time.Minute))), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mustJoin(t, c, ""); got.TokenFile != had.TokenFile || HasJoined(c) {
		t.Errorf("without a join token: %q", got.TokenFile)
	}
	c.JoinToken = filepath.Join(t.TempDir(), "join-token")
	if err := os.WriteFile(c.JoinToken, []byte(joinToken), 0o600); err != nil {
		t.Fatal(err)
	}
	d.answers = []http.HandlerFunc{nil, refuses(401, "unauthorized", "")}
	if got := mustJoin(t, c, ""); got.TokenFile != had.TokenFile || len(d.asked) != 2 {
		t.Errorf("with one that has ended: %q, %d asked", got.TokenFile, len(d.asked))
	}
}

// Whoever was killed, or had no room, while the token was written joins anew as the same.
func TestATokenThatIsNotThereWholeIsNone(t *testing.T) {
	for _, left := range []string{"", "\n", "eyJhbGci"} {
		d := newDesk(t)
		c := d.config(t)
		had := mustJoin(t, c, joinToken)
		if err := os.WriteFile(had.TokenFile, []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := mustJoin(t, c, ""); got.TokenFile != "" {
			t.Errorf("%q is a token", left)
		}
		again := mustJoin(t, c, joinToken)
		if token, err := again.token(); err != nil || !strings.HasPrefix(token, "eyJ") || len(d.asked) != 2 || d.asked[1] != d.asked[0] {
			t.Errorf("%q: has %q, %v", left, token, err)
		}
	}
}

func TestJoiningThatFailsForNowIsTriedAgainAsTheSame(t *testing.T) {
	breaks := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	d := newDesk(t, breaks, refuses(503, "bus_unavailable", "1"), refuses(502, "", ""))
	mustJoin(t, d.config(t), joinToken)
	if len(d.asked) != 4 {
		t.Fatalf("asked %d times", len(d.asked))
	}
	for _, as := range d.asked {
		if as != d.asked[0] {
			t.Errorf("asks as %+v, before as %+v", as, d.asked[0])
		}
	}
}

func TestJoiningThatIsRefusedSaysWhy(t *testing.T) {
	says := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		given  string
		change func(*Config)
		want   string
	}{
		"refused":              {refuses(403, "forbidden", ""), joinToken, nil, "status 403: forbidden: says why"},
		"a relay without":      {refuses(404, "agent_unknown", ""), joinToken, nil, "older than joining, or what stands before it does not let /agent/join in"},
		"no relay":             {says("hello"), joinToken, nil, "no Farscrape relay"},
		"another's token":      {says(`{"token":"` + agentToken("edge-2", time.Now().Add(time.Hour)) + `"}`), joinToken, nil, "no token for this agent"},
		"an endless answer":    {says(`{"token":"` + strings.Repeat("a", wire.MaxJoin) + `"}`), joinToken, nil, "no token for this agent"},
		"no token":             {nil, "s3cret", nil, "this is no join token"},
		"an agent's token":     {nil, agentToken("edge-1", time.Now()), nil, "this is not a join token but the token of agent"},
		"a token besides":      {nil, joinToken, func(c *Config) { c.Token = "x" }, "FARSCRAPE_TOKEN is set, and so is a join token"},
		"nowhere to keep it":   {nil, joinToken, func(c *Config) { c.StateDir = "" }, "FARSCRAPE_STATE_DIR must be set"},
		"a folder that is not": {nil, joinToken, func(c *Config) { c.StateDir = "/proc/none" }, "FARSCRAPE_STATE_DIR"},
		"a name that is none":  {nil, joinToken, func(c *Config) { c.Name = "a b" }, "FARSCRAPE_NAME"},
	} {
		d := newDesk(t, c.answer)
		config := d.config(t)
		if c.change != nil {
			c.change(&config)
		}
		_, err := Join(t.Context(), config, Options{}, c.given)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), joinToken) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// One folder is one agent's: it has another name only as long as it has no token.
func TestAFolderIsOneAgents(t *testing.T) {
	d := newDesk(t, refuses(403, "forbidden", ""))
	c := d.config(t)
	if _, err := Join(t.Context(), c, Options{}, joinToken); err == nil {
		t.Fatal("joined")
	}
	c.Name = "edge-2"
	mustJoin(t, c, joinToken)
	if d.asked[1].Name != "edge-2" || d.asked[1].JoinID != d.asked[0].JoinID {
		t.Errorf("asked %+v", d.asked)
	}
	c.Name = "edge-3"
	for _, given := range []string{"", joinToken} {
		if _, err := Join(t.Context(), c, Options{}, given); err == nil || !strings.Contains(err.Error(), `has joined as "edge-2"`) {
			t.Errorf("%v", err)
		}
	}
	c.Name = ""
	host := Options{Hostname: func() (string, error) { return "renamed.example.com", nil }}
	if _, err := Join(t.Context(), c, host, joinToken); err != nil || d.asked[2].Name != "edge-2" {
		t.Errorf("on a host that is called otherwise: %+v, %v", d.asked, err)
	}
}

func TestAnAgentThatHasTheTokenOfAHostNeedsNoName(t *testing.T) {
	d := newDesk(t)
	c := d.config(t)
	c.Name = ""
	if _, err := Join(t.Context(), c, Options{Hostname: func() (string, error) { return "0123456789ab", nil }}, joinToken); err == nil || !strings.Contains(err.Error(), "a container's ID") {
		t.Errorf("in a container: %v", err)
	}
	one := unsigned(`{"role":"join","sub":"edge-9"}`) // for one name: it is that
	mustJoin(t, c, one)
	if d.asked[0].Name != "edge-9" {
		t.Errorf("asked %+v", d.asked)
	}
}

func TestJoiningStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		c := Config{RelayURL: "http://192.0.2.1", Name: "edge-1", StateDir: t.TempDir()}
		refused := Options{dialRelay: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }}
		if _, err := Join(ctx, c, refused, joinToken); err == nil || !strings.Contains(err.Error(), "stopped before the agent had joined: dial 192.0.2.1") {
			t.Errorf("got %v", err)
		}
	})
}

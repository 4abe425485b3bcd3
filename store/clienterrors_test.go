package store_test

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// TestRefusalsAreTold: what Redis said, and which right is missing.
func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := []any{"on", ">p", "~*", "&*", "+@all"}
	for name, c := range map[string]struct {
		rights []any
		want   []string
	}{
		"publish":   {append(all, "-publish"), []string{"NOPERM", "needs=+publish"}},
		"subscribe": {append(all, "-subscribe"), []string{"NOPERM", "needs=+subscribe"}},
		"channels":  {append(all, "resetchannels"), []string{"NOPERM", `needs=&p:*`}},
		"keys":      {append(all, "resetkeys"), []string{"NOPERM", `needs=~p:*`}},
		"scripts":   {append(all, "-evalsha"), []string{"NOPERM", "needs=+evalsha"}},
		"hset":      {append(all, "-hset"), []string{"the list of replicas", "needs=", "+hset"}},
		"events":    {append(all, "-xadd"), []string{"redis does not take events", "needs=", "+xadd"}},
		"disabled":  {append(all, "off"), []string{"redis refuses;", "WRONGPASS", "mend=the user or the password in FARSCRAPE_REDIS_URL is wrong"}},
		"unknown":   {nil, []string{"redis refuses;", "WRONGPASS", "mend=the user or the password in FARSCRAPE_REDIS_URL is wrong"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.rights != nil {
				server.Do(append([]any{"ACL", "SETUSER", name, "reset"}, c.rights...)...)
			}
			var out syncBuffer
			u := &url.URL{Scheme: "redis", User: url.UserPassword(name, "p"), Host: server.Addr()}
			r := run(t, open(t, store.RedisConfig{URL: u.String(), Prefix: "p:", Logger: slog.New(slog.NewTextHandler(&out, nil))}))
			r.Record(storetest.NewEvent("t", "a", 1))
			storetest.WaitUntil(t, within, "it is told", func() bool {
				for line := range strings.Lines(strings.ReplaceAll(out.String(), `"`, "")) {
					told := true
					for _, want := range c.want {
						told = told && strings.Contains(line, want)
					}
					if told {
						return true
					}
				}
				return false
			})
			r.stop()
			for line := range strings.Lines(out.String()) {
				if strings.Contains(line, "unexpected type") || strings.Contains(line, "no probe came back") && !strings.Contains(line, "NOPERM") {
					t.Error(line)
				}
			}
		})
	}
}

// TestARefusalIsToldOnce, and again when it is another.
func TestARefusalIsToldOnce(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-publish")
	var out syncBuffer
	s := open(t, store.RedisConfig{URL: "redis://u:p@" + server.Addr(), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	s.SetPace(store.Pace{Look: 20 * time.Millisecond})
	r := run(t, s)
	told := func(what string) func() bool {
		return func() bool { return strings.Contains(out.String(), what) }
	}
	storetest.WaitUntil(t, within, "publish is missed", told("needs=+publish"))
	server.Do("ACL", "SETUSER", "u", "-subscribe")
	storetest.WaitUntil(t, within, "subscribe is missed", told("needs=+subscribe"))
	server.Do("ACL", "SETUSER", "u", "+@all")
	r.Await(t, within, storetest.BusIs(true))
	r.stop()
	if n := strings.Count(out.String(), "needs="); n != 2 {
		t.Errorf("told %d times:\n%s", n, out.String())
	}
}

// TestWhatAWrongRedisSays: what an operator who sets something wrong reads of it.
func TestWhatAWrongRedisSays(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t, "--requirepass", "s3cret")
	cert, key, pool := selfSigned(t)
	secure := func(clients string) string {
		port := strconv.Itoa(storetest.FreePort(t))
		storetest.StartRedis(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", clients)
		return net.JoinHostPort("127.0.0.1", port)
	}
	plain, asking := secure("no"), secure("yes")
	_, port, err := net.SplitHostPort(plain)
	if err != nil {
		t.Fatal(err)
	}
	gone := "127.0.0.1:" + strconv.Itoa(storetest.FreePort(t))
	trusting := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	_, _, another := selfSigned(t)
	mistaken := &tls.Config{RootCAs: another, MinVersion: tls.VersionTLS12}
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	for mistake, c := range map[string]struct {
		url  string
		tls  *tls.Config
		want string
	}{
		"a database too many":           {"redis://:s3cret@" + server.Addr() + "/99", nil, "redis refuses; ERR DB index is out of range mend=Redis has no database of that number: take another for the /N in FARSCRAPE_REDIS_URL_FILE"},
		"another CA":                    {"rediss://:s3cret@" + plain, mistaken, "redis does not answer; mend=FARSCRAPE_REDIS_TLS_CA_FILE, ca2.pem, does not hold the CA of Redis's certificate, CN=a CA of Redis's"},
		"an HTTP server":                {"redis://:s3cret@" + web.Listener.Addr().String(), nil, "redis does not answer; mend=that is no Redis, but an HTTP server: check the host and the port in FARSCRAPE_REDIS_URL_FILE"},
		"a wrong password":              {"redis://:s3cret2@" + server.Addr(), nil, "redis refuses; WRONGPASS mend=the user or the password in FARSCRAPE_REDIS_URL_FILE is wrong"},
		"no password":                   {"redis://" + server.Addr(), nil, "redis refuses; NOAUTH mend=Redis wants a password: write it into FARSCRAPE_REDIS_URL_FILE"},
		"rediss to plain Redis":         {"rediss://:s3cret@" + server.Addr(), nil, "redis does not answer; mend=nothing answers there by TLS: if that port is Redis's plain one, FARSCRAPE_REDIS_URL_FILE must start with redis://"},
		"redis to a port with TLS":      {"redis://" + plain, nil, "redis does not answer; mend=it ends the connection without an answer: if that port is Redis's with TLS, FARSCRAPE_REDIS_URL_FILE must start with rediss://"},
		"a private CA, and none set":    {"rediss://" + plain, nil, "redis does not answer; mend=set FARSCRAPE_REDIS_TLS_CA_FILE"},
		"a certificate of another name": {"rediss://localhost:" + port, trusting, "redis does not answer; mend=Redis's certificate is for another name: take one of its names in FARSCRAPE_REDIS_URL_FILE"},
		"no client certificate":         {"rediss://" + asking, trusting, "redis does not answer; set FARSCRAPE_REDIS_TLS_CERT_FILE and FARSCRAPE_REDIS_TLS_KEY_FILE"},
		"nobody listens":                {"redis://" + gone, nil, "redis does not answer; mend=nothing listens there: check the host and the port in FARSCRAPE_REDIS_URL_FILE"},
		"a misspelt host":               {"redis://rediss.invalid", nil, "redis does not answer; mend=the host in FARSCRAPE_REDIS_URL_FILE has no address here"},
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			var out syncBuffer
			caFile := ""
			if c.tls != nil {
				caFile = "ca2.pem"
			}
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			r := run(t, open(t, store.RedisConfig{
				URL: c.url, URLSetting: "FARSCRAPE_REDIS_URL_FILE", TLS: c.tls, CAFile: caFile, Logger: slog.New(slog.NewTextHandler(&out, nil)),
			}))
			said := func(start, want string) bool {
				for line := range strings.Lines(strings.ReplaceAll(out.String(), `"`, "")) {
					if strings.Contains(line, start) && strings.Contains(line, want) {
						return true
					}
				}
				return false
			}
			start, want, _ := strings.Cut(c.want, "; ")
			storetest.WaitUntil(t, within, "it is told", func() bool { return said("msg="+start, "") && said("msg=bus is down", "") })
			r.stop()
			code, mend, _ := strings.Cut(want, "mend=")
			if !said("msg="+start, mend) || !said("msg="+start, strings.TrimSpace(code)) || !said("msg="+start, "redis="+u.Host+" ") || !said("msg=bus is down", "redis="+u.Host+" ") || strings.Contains(out.String(), "s3cret") {
				t.Errorf("%q is not in\n%s", want, out.String())
			}
		})
	}
}

// rights are those that a user of Redis needs.
func rights() []any {
	return []any{
		"+@connection", "+evalsha", "+eval", "+zrange", "+zrem", "+subscribe", "+publish", "+pubsub|numsub",
		"+hget", "+hset", "+hdel", "+hgetall", "+del", "+exists", "+pexpire", "+get", "+set", "+time", "+zadd", "+zscore",
		"+xadd", "+xtrim", "+xrange", "+xrevrange",
	}
}

// TestTheDocumentedRightsAreThose: whoever sets up an ACL reads them in deploy.
func TestTheDocumentedRightsAreThose(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile("`ACL SETUSER [^`]*`").FindString(string(page))
	got := regexp.MustCompile(`\+[^ `+"`"+`]+`).FindAllString(command, -1)
	var want []string
	for _, right := range rights() {
		want = append(want, right.(string))
	}
	want = append(want, "+info") // which may be refused, with a warning
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("deploy/README.md has\n%q, needed are\n%q", got, want)
	}
}

// TestACL: what a user of Redis needs, and no more; and a password that is wrong
// at first.
func TestACL(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do(slices.Concat([]any{"ACL", "SETUSER", "farscrape", "reset", "on", ">s3cr@t", "~fs:*", "&fs:*"}, rights())...)
	u := &url.URL{Scheme: "redis", User: url.UserPassword("farscrape", "s3cr@t"), Host: server.Addr()}
	r := replicas(t, 1, store.RedisConfig{URL: u.String(), Prefix: "fs:", Keep: time.Hour})[0]
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
	r.Record(storetest.NewEvent("t", "a", 1))
	r.awaitEvents(t, "t", "1")
	if _, err := r.EventsAfter(t.Context(), "t", wire.EventID{}, 1); err != nil {
		t.Error(err)
	}
	by := revoker(t, store.RedisConfig{URL: u.String(), Prefix: "fs:"})
	if c := confirmed(t, by, revoke(t, by, edges, 1)); c.Replicas != 1 {
		t.Errorf("revoked: %+v", c)
	}

	var out syncBuffer
	u.User = url.UserPassword("farscrape", "hunter2")
	wrong := run(t, open(t, store.RedisConfig{URL: u.String(), Prefix: "fs:", Logger: slog.New(slog.NewTextHandler(&out, nil))}))
	wrong.Await(t, within, storetest.BusIs(false))
	if _, err := wrong.Register(t.Context(), storetest.NewEntry("t", "b")); err == nil {
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
	r := run(t, open(t, store.RedisConfig{URL: "redis://u:p@" + server.Addr(), Keep: time.Hour}))
	r.Await(t, within, storetest.BusIs(false))
	l := r.register(t, "t", "a") // the directory works
	storetest.WaitUntil(t, within, "the agent is linked", r.linked(t, l))
	server.Do("ACL", "SETUSER", "u", "allchannels")
	r.Await(t, within, storetest.BusIs(true))
}

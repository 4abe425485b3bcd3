package store

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

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
			r := run(t, open(t, RedisConfig{URL: u.String(), Prefix: "p:", Logger: slog.New(slog.NewTextHandler(&out, nil))}))
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
	s := open(t, RedisConfig{URL: "redis://u:p@" + server.Addr(), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	s.timing.pulse = 20 * time.Millisecond
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

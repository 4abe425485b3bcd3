package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/token"
)

func TestTheAgentKnowsTheRelaysVariables(t *testing.T) {
	if got, want := settings.RelayVariables(), settings.Names(new(config)); !slices.Equal(got, want) {
		t.Errorf("settings has\n%q, the relay reads\n%q", got, want)
	}
}

// What an operator who sets something wrong reads of it: which variable, what is
// wrong, and what to do.
func TestWhatAWrongSettingSays(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	short, twice := file("short", "s3cret\n"), file("twice", strings.Repeat("s3cret-s3cret-s3cret-s3cret-s3cret\n", 2))
	comment, redis := file("comment", "# none\n"), file("redis", "http://:s3cret@redis:6379")
	key := "FARSCRAPE_KEY=0123456789abcdef0123456789abcdef"
	mint := func(environ []string) error {
		var out strings.Builder
		return mint([]string{"-agent", "edge-1"}, environ, nil, &out, &out)
	}
	start := func(environ []string) error {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		var out strings.Builder
		return run(ctx, append(environ, "FARSCRAPE_LISTEN=127.0.0.1:0"), &out)
	}
	const making = ". One key a line; make one: openssl rand -hex 32"
	for mistake, c := range map[string]struct {
		run     func([]string) error
		environ []string
		want    string
	}{
		"a short key":                {start, []string{"FARSCRAPE_KEY=s3cret"}, "FARSCRAPE_KEY: keys: line 1: 6 bytes: must have at least 32" + making},
		"a short key, in a file":     {start, []string{"FARSCRAPE_KEY_FILE=" + short}, "FARSCRAPE_KEY_FILE: keys: line 1: 6 bytes: must have at least 32" + making},
		"a key twice":                {start, []string{"FARSCRAPE_KEY_FILE=" + twice}, "FARSCRAPE_KEY_FILE: keys: line 2: the same key as in an earlier line" + making},
		"a file without a key":       {start, []string{"FARSCRAPE_KEY_FILE=" + comment}, "FARSCRAPE_KEY_FILE: keys: none in it" + making},
		"to mint, a short key":       {mint, []string{"FARSCRAPE_KEY=s3cret"}, "FARSCRAPE_KEY: keys: line 1: 6 bytes: must have at least 32" + making},
		"to mint, one in a file":     {mint, []string{"FARSCRAPE_KEY_FILE=" + short}, "FARSCRAPE_KEY_FILE: keys: line 1: 6 bytes: must have at least 32" + making},
		"to mint, none":              {mint, nil, "FARSCRAPE_KEY_FILE (or FARSCRAPE_KEY) must be set to the relay's key"},
		"a path for a key":           {start, []string{"FARSCRAPE_KEY=" + short}, "FARSCRAPE_KEY: looks like a path: did you mean FARSCRAPE_KEY_FILE?"},
		"a path that is not there":   {start, []string{"FARSCRAPE_KEY=/run/s3cret/key"}, "FARSCRAPE_KEY: looks like a path: did you mean FARSCRAPE_KEY_FILE?"},
		"a long one":                 {start, []string{"FARSCRAPE_KEY=/etc/s3cret-s3cret-s3cret-s3cret/key"}, "FARSCRAPE_KEY: looks like a path: did you mean FARSCRAPE_KEY_FILE?"},
		"one from here":              {mint, []string{"FARSCRAPE_KEY=./s3cret-s3cret-s3cret-s3cret-s3cret"}, "FARSCRAPE_KEY: looks like a path: did you mean FARSCRAPE_KEY_FILE?"},
		"a URL for a host":           {start, []string{"FARSCRAPE_OWN_HOSTS=relay, https://u:s3cret@relay.example.com:8443/x"}, "FARSCRAPE_OWN_HOSTS: must be a host, not a URL: write relay.example.com:8443"},
		"a host with a path":         {start, []string{"FARSCRAPE_OWN_HOSTS=relay.example.com/s3cret"}, "FARSCRAPE_OWN_HOSTS: must be hosts, separated by commas, such as relay.example.com"},
		"PROXY_PROTOCOL of nobody":   {start, []string{key, "FARSCRAPE_PROXY_PROTOCOL=true"}, "FARSCRAPE_PROXY_PROTOCOL=true needs FARSCRAPE_TRUSTED_PROXIES: the networks of the load balancers whose word counts"},
		"a port alone":               {start, []string{"FARSCRAPE_OPS_LISTEN=9100"}, "FARSCRAPE_OPS_LISTEN=9100: must be host:port: write :9100"},
		"a wrong Redis URL":          {start, []string{key, "FARSCRAPE_REDIS_URL=http://:s3cret@redis"}, "FARSCRAPE_REDIS_URL: the Redis URL must begin with redis://, rediss:// or unix://"},
		"the same, in a file":        {start, []string{key, "FARSCRAPE_REDIS_URL_FILE=" + redis}, "FARSCRAPE_REDIS_URL_FILE: the Redis URL must begin with redis://, rediss:// or unix://"},
		"what is not known":          {start, []string{"FARSCRAPE_REVOKED_UNKNOWN=deny"}, "FARSCRAPE_REVOKED_UNKNOWN=deny: must be allow or refuse"},
		"tokens in REVOKED_FILE":     {start, []string{"FARSCRAPE_REVOKED_FILE=" + short}, "FARSCRAPE_REVOKED_FILE: line 1: it must begin with a token's ID (16 digits of 0-9 a-f, not the token), agent:NAME or scraper:NAME"},
		"no REVOKED_FILE":            {start, []string{"FARSCRAPE_REVOKED_FILE=/nowhere/revoked"}, "FARSCRAPE_REVOKED_FILE: open /nowhere/revoked: no such file or directory: make it; it may be empty"},
		"TLS files, and redis://":    {start, []string{key, "FARSCRAPE_REDIS_URL=redis://redis", "FARSCRAPE_REDIS_TLS_CERT_FILE=" + short}, "FARSCRAPE_REDIS_TLS_CERT_FILE and _KEY_FILE: set both or none"},
		"a certificate that is none": {start, []string{key, "FARSCRAPE_REDIS_URL=rediss://redis", "FARSCRAPE_REDIS_TLS_CERT_FILE=" + short, "FARSCRAPE_REDIS_TLS_KEY_FILE=" + short}, "FARSCRAPE_REDIS_TLS_CERT_FILE and _KEY_FILE: tls: failed to find any PEM data"},
		"a CA file that holds none":  {start, []string{key, "FARSCRAPE_REDIS_URL=rediss://redis", "FARSCRAPE_REDIS_TLS_CA_FILE=" + short}, "FARSCRAPE_REDIS_TLS_CA_FILE: " + short + " holds no PEM certificate"},
	} {
		err := c.run(c.environ)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", mistake, err)
		}
	}
}

func TestWhatAreKeysAndHosts(t *testing.T) {
	for _, setting := range []string{
		"KEY=/3q2+7xkZm1FQvSg0lLJ2c1pU8yWq0hTn5rE6dYbA9o=", "KEY=/3q2/7xkZm1FQvSg0lLJ2c1pU8yWq0hTn5rE6dYbA9o=",
	} {
		if _, err := mintingKeys([]string{"FARSCRAPE_" + setting}); err != nil {
			t.Errorf("%s: %v", setting, err)
		}
	}
	for _, hosts := range []string{"", "relay", "Relay.example.com., relay_1:8080", "10.0.0.1", "::1,[::1]:8080", "[fd00::1]"} {
		if _, err := loadConfig([]string{"FARSCRAPE_OWN_HOSTS=" + hosts}); err != nil {
			t.Errorf("%s: %v", hosts, err)
		}
	}
}

// A new key in the place of the old one is told to whoever did that, while agents
// still have links to be seen by.
func TestWhatAChangeOfKeysSays(t *testing.T) {
	ring := func(letters string) *token.Keyring {
		var text strings.Builder
		for _, l := range letters {
			text.WriteString(strings.Repeat(string(l), 32) + "\n")
		}
		keys, err := token.ParseKeys([]byte(text.String()))
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	old, both, fresh := ring("o"), ring("no"), ring("n")
	o, n := old.KeyIDs()[0], fresh.KeyIDs()[0]
	const mend = ` mend="their tokens are refused now: if that was not meant, put the old key back, as a line below the new"`
	for change, c := range map[string]struct {
		before, now *token.Keyring
		want        string
	}{
		"none":                     {both, both, ""},
		"one more":                 {old, both, `level=INFO msg="keys changed" keys="[` + n + " " + o + `]"`},
		"the old one in its place": {old, fresh, `level=WARN msg="keys changed: links have tokens of one that was removed" keys=[` + n + "] removed=[" + o + "] links=3" + mend},
		"one that nobody has":      {both, old, `level=INFO msg="keys changed" keys=[` + o + "]"},
	} {
		var out strings.Builder
		tellKeys(slog.New(slog.NewTextHandler(&out, nil)), c.before, c.now, map[string]int{o: 3})
		if got := out.String(); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %s", change, got)
		}
	}
}

package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/settings"
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
		"a short key":               {start, []string{"FARSCRAPE_KEY=s3cret"}, "FARSCRAPE_KEY: keys: line 1: 6 bytes: must have at least 32" + making},
		"a short key, in a file":    {start, []string{"FARSCRAPE_KEY_FILE=" + short}, "FARSCRAPE_KEY_FILE: keys: line 1: 6 bytes: must have at least 32" + making},
		"a key twice":               {start, []string{"FARSCRAPE_KEY_FILE=" + twice}, "FARSCRAPE_KEY_FILE: keys: line 2: the same key as in an earlier line" + making},
		"a file without a key":      {start, []string{"FARSCRAPE_KEY_FILE=" + comment}, "FARSCRAPE_KEY_FILE: keys: none in it" + making},
		"to mint, a short key":      {mint, []string{"FARSCRAPE_KEY=s3cret"}, "FARSCRAPE_KEY: keys: line 1: 6 bytes: must have at least 32" + making},
		"to mint, one in a file":    {mint, []string{"FARSCRAPE_KEY_FILE=" + short}, "FARSCRAPE_KEY_FILE: keys: line 1: 6 bytes: must have at least 32" + making},
		"to mint, none":             {mint, nil, "FARSCRAPE_KEY_FILE (or FARSCRAPE_KEY) must be set to the relay's key"},
		"a wrong Redis URL":         {start, []string{key, "FARSCRAPE_REDIS_URL=http://:s3cret@redis"}, "FARSCRAPE_REDIS_URL: the Redis URL must begin with redis://, rediss:// or unix://"},
		"the same, in a file":       {start, []string{key, "FARSCRAPE_REDIS_URL_FILE=" + redis}, "FARSCRAPE_REDIS_URL_FILE: the Redis URL must begin with redis://, rediss:// or unix://"},
		"TLS files, and redis://":   {start, []string{key, "FARSCRAPE_REDIS_URL=redis://redis", "FARSCRAPE_REDIS_TLS_CERT_FILE=" + short}, "FARSCRAPE_REDIS_TLS_CERT_FILE and _KEY_FILE: "},
		"a CA file that holds none": {start, []string{key, "FARSCRAPE_REDIS_URL=rediss://redis", "FARSCRAPE_REDIS_TLS_CA_FILE=" + short}, "FARSCRAPE_REDIS_TLS_CA_FILE: " + short + " holds no PEM certificate"},
	} {
		err := c.run(c.environ)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", mistake, err)
		}
	}
}

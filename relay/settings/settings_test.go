package settings_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/settings"
)

type config struct {
	Relay   string            `env:"RELAY_URL,required" help:"where the relay is"`
	Token   string            `env:"TOKEN" help:"the token"`
	Links   int               `env:"LINKS" envDefault:"2" help:"links to keep, each to another replica; with one replica alive one is enough, and so on for more than a line"`
	Shared  bool              `env:"SHARED" envDefault:"false" help:"others may hold the name"`
	Timeout time.Duration     `env:"SCRAPE_TIMEOUT" envDefault:"10s" help:"when none is sent"`
	MaxBody settings.Bytes    `env:"MAX_BODY" envDefault:"256MiB" help:"past it the scrape fails"`
	Trusted settings.Prefixes `env:"TRUSTED_PROXIES" help:"whose X-Forwarded headers count"`
	private int
}

func TestLoadFillsTheStructAndItsDefaults(t *testing.T) {
	var c config
	err := settings.Load(&c, []string{
		"FARSCRAPE_RELAY_URL=https://relay.example.com", "FARSCRAPE_LINKS=3", "FARSCRAPE_SHARED=true",
		"FARSCRAPE_TRUSTED_PROXIES=10.1.2.3/8, ::1", "LINKS=9", "FARSCRAPE_SCRAPE_TIMEOUT=",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Relay != "https://relay.example.com" || c.Links != 3 || !c.Shared || c.Timeout != 10*time.Second || c.MaxBody != 256<<20 || c.private != 0 {
		t.Errorf("got %+v", c)
	}
	for addr, want := range map[string]bool{"10.9.9.9": true, "::ffff:10.0.0.1": true, "::1": true, "11.0.0.1": false, "::2": false} {
		if got := c.Trusted.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Trusted.Contains(%s) = %v", addr, got)
		}
	}
}

func TestLoadNamesEveryVariableAndItsMend(t *testing.T) {
	err := settings.Load(new(config), []string{
		"FARSCRAPE_TOKEN=s3cret", "FARSCRAPE_LINKS=two", "FARSCRAPE_SHARED=perhaps", "FARSCRAPE_SCRAPE_TIMEOUT=10",
		"FARSCRAPE_MAX_BODY=lots", "FARSCRAPE_TRUSTED_PROXIES=home",
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"FARSCRAPE_RELAY_URL must be set: where the relay is",
		"FARSCRAPE_LINKS=two: must be a whole number",
		"FARSCRAPE_SHARED=perhaps: must be true or false",
		"FARSCRAPE_SCRAPE_TIMEOUT=10: must be a duration",
		"FARSCRAPE_MAX_BODY=lots: must be a size",
		`FARSCRAPE_TRUSTED_PROXIES=home: "home" must be a network`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a secret is in: %v", err)
	}
}

func TestUnknownNamesWhatNobodyReads(t *testing.T) {
	got := settings.Unknown(new(config), []string{
		"FARSCRAPE_LINK=2", "FARSCRAPE_LINKS=2", "FARSCRAPE_COLOUR=red", "HOME=/", "OTEL_TRACES=1",
		"FARSCRAPE_RELAY_SERVICE_HOST=10.0.0.1", "FARSCRAPE_RELAY_PORT=tcp://10.0.0.1:80",
		"FARSCRAPE_RELAY_PORT_80_TCP_ADDR=10.0.0.1", "FARSCRAPE_RELAY_SERVICE_PORT_HTTP=80",
	})
	want := []string{"FARSCRAPE_COLOUR", "FARSCRAPE_LINK (did you mean FARSCRAPE_LINKS?)"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUsageTellsEveryVariable(t *testing.T) {
	var out bytes.Buffer
	settings.Usage(&out, "farscrape-x does x.", new(config))
	for _, want := range []string{
		"farscrape-x does x.\n", "FARSCRAPE_RELAY_URL", "text, required", "FARSCRAPE_MAX_BODY", "size, default 256MiB",
		"number, default 2", "duration, default 10s", "where the relay is",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, &out)
		}
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 80 {
			t.Errorf("a line of %d: %s", len(line), line)
		}
	}
}

func TestBytes(t *testing.T) {
	for in, want := range map[string]settings.Bytes{
		"1024": 1024, "10MB": 10e6, "256MiB": 256 << 20, "1 GiB": 1 << 30, "5kB": 5000, "7B": 7, "0": 0, "256mib": 256 << 20, "10mb\n": 10e6,
	} {
		var b settings.Bytes
		if err := b.UnmarshalText([]byte(in)); err != nil || b != want {
			t.Errorf("%s: %d, %v", in, b, err)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "-1GB", "1.5", "10XB", "99999999999GiB", "16EiB", "1e3"} {
		var b settings.Bytes
		if err := b.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q gave %d", in, b)
		}
	}
}

func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from the file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := settings.Secret("", file, "TOKEN"); err != nil || string(got) != "from the file" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := settings.Secret("plain\n", "", "TOKEN"); err != nil || string(got) != "plain" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := settings.Secret("", "", "TOKEN"); err != nil || got != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := settings.Secret("plain", file, "TOKEN"); err == nil || !strings.Contains(err.Error(), "FARSCRAPE_TOKEN and FARSCRAPE_TOKEN_FILE are both set") || strings.Contains(err.Error(), "plain") {
		t.Errorf("both: %v", err)
	}
	if _, err := settings.Secret("", file+"2", "TOKEN"); err == nil || !strings.Contains(err.Error(), "FARSCRAPE_TOKEN_FILE") {
		t.Errorf("no file: %v", err)
	}
	long := strings.Repeat("s3cret", 10)
	for _, slip := range []string{
		"eyJhbGciOi.s3cret", "eyJ" + strings.Repeat(long, 5), "redis://:s3cret@host:6379", ":s3cret@host", long, "AbC/" + long + "=", "/AbC+/" + long,
	} {
		if _, err := settings.Secret("", slip, "TOKEN"); err == nil || !strings.Contains(err.Error(), "FARSCRAPE_TOKEN_FILE") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the secret in the place of its file: %v", err)
		}
	}
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"TOKEN": "what farscrape-relay token -agent NAME prints", "KEY": "what openssl rand -hex 32 prints",
	} {
		setting := "FARSCRAPE_" + name + "_FILE: "
		if _, err := settings.Secret("", file, name); err == nil || err.Error() != setting+file+" holds nothing: put into it "+content {
			t.Errorf("empty file: %v", err)
		}
		for _, gone := range []string{"gone", "./gone", "gone/edge-1.token", filepath.Dir(file) + "/" + strings.Repeat("gone", 10)} {
			want := setting + "open " + gone + ": no such file or directory: put into it " + content
			if _, err := settings.Secret("", gone, name); err == nil || err.Error() != want {
				t.Errorf("no file: %v", err)
			}
		}
	}
}

// An address that cannot be opened is told with its setting and the mend.
func TestListen(t *testing.T) {
	l, err := settings.Listen("LISTEN", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]string{
		"9100":            "FARSCRAPE_LISTEN=9100: must be host:port: write :9100",
		l.Addr().String(): "bind: address already in use: another process has it (ss -ltnp)",
		"a:b:c":           "FARSCRAPE_LISTEN: listen tcp: address a:b:c: too many colons in address",
	} {
		if _, err := settings.Listen("LISTEN", address); err == nil || !strings.HasPrefix(err.Error(), "FARSCRAPE_LISTEN") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAnUnknownVariableIsToldWithItsMend(t *testing.T) {
	var out bytes.Buffer
	settings.TellUnread(slog.New(slog.NewTextHandler(&out, nil)), new(config), []string{"FARSCRAPE_COLOUR=s3cret"})
	if got := out.String(); !strings.Contains(got, `variable=FARSCRAPE_COLOUR mend="see -help`) || strings.Contains(got, "s3cret") {
		t.Errorf("logged %s", got)
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	l, err := settings.Logger(&out, "warn", "json")
	if err != nil {
		t.Fatal(err)
	}
	l.Info("not this")
	l.Warn("this", slog.String("agent", "a"))
	if got := out.String(); strings.Contains(got, "not this") || !strings.Contains(got, `"agent":"a"`) {
		t.Errorf("logged %s", got)
	}
	for _, bad := range [][2]string{{"loud", "text"}, {"info", "xml"}} {
		if _, err := settings.Logger(&out, bad[0], bad[1]); err == nil || !strings.Contains(err.Error(), "FARSCRAPE_LOG_") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestBuildInfoIsOne(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(settings.BuildInfo("agent"))
	families, err := r.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "farscrape_agent_build_info" || families[0].Metric[0].Gauge.GetValue() != 1 {
		t.Errorf("gathered %v, %v", families, err)
	}
	if settings.Version() == "" {
		t.Error("no version")
	}
}

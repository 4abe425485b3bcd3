package store

import (
	"crypto/tls"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
)

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
	open, asking := secure("no"), secure("yes")
	_, port, err := net.SplitHostPort(open)
	if err != nil {
		t.Fatal(err)
	}
	gone := "127.0.0.1:" + strconv.Itoa(storetest.FreePort(t))
	trusting := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	for mistake, c := range map[string]struct {
		url  string
		tls  *tls.Config
		want string
	}{
		"a wrong password":              {"redis://:s3cret2@" + server.Addr(), nil, "redis refuses; WRONGPASS mend=the user or the password in FARSCRAPE_REDIS_URL_FILE is wrong"},
		"no password":                   {"redis://" + server.Addr(), nil, "redis refuses; NOAUTH mend=Redis wants a password: write it into FARSCRAPE_REDIS_URL_FILE"},
		"rediss to plain Redis":         {"rediss://:s3cret@" + server.Addr(), nil, "redis does not answer; mend=nothing answers there by TLS: if that port is Redis's plain one, FARSCRAPE_REDIS_URL_FILE must start with redis://"},
		"redis to a port with TLS":      {"redis://" + open, nil, "redis does not answer; mend=it ends the connection without an answer: if that port is Redis's with TLS, FARSCRAPE_REDIS_URL_FILE must start with rediss://"},
		"a private CA, and none set":    {"rediss://" + open, nil, "redis does not answer; mend=set FARSCRAPE_REDIS_TLS_CA_FILE"},
		"a certificate of another name": {"rediss://localhost:" + port, trusting, "redis does not answer; mend=Redis's certificate is for another name: take one of its names in FARSCRAPE_REDIS_URL_FILE"},
		"no client certificate":         {"rediss://" + asking, trusting, "redis does not answer; set FARSCRAPE_REDIS_TLS_CERT_FILE and FARSCRAPE_REDIS_TLS_KEY_FILE"},
		"nobody listens":                {"redis://" + gone, nil, "redis does not answer; mend=nothing listens there: check the host and the port in FARSCRAPE_REDIS_URL_FILE"},
		"a misspelt host":               {"redis://rediss.invalid", nil, "redis does not answer; mend=the host in FARSCRAPE_REDIS_URL_FILE has no address here"},
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			var out syncBuffer
			s, err := NewRedis(RedisConfig{
				URL: c.url, URLSetting: "FARSCRAPE_REDIS_URL_FILE", TLS: c.tls, Replica: wire.NewID[wire.ReplicaID](),
				Logger: slog.New(slog.NewTextHandler(&out, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			r := run(t, s)
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
			if !said("msg="+start, mend) || !said("msg="+start, strings.TrimSpace(code)) || strings.Contains(out.String(), "s3cret") {
				t.Errorf("%q is not in\n%s", want, out.String())
			}
		})
	}
}

// TestANewRedisSaysForHowLongDiscoveryWaits: it has answered, and agents may still
// be on their way.
func TestANewRedisSaysForHowLongDiscoveryWaits(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	r := replicas(t, 1, RedisConfig{URL: storetest.StartRedis(t).URL(), Logger: slog.New(slog.NewTextHandler(&out, nil)), Grace: Grace})[0]
	_, listed := r.List(t.Context(), "t")
	_, found := r.Lookup(t.Context(), wire.AgentKey{Tenant: "t", Agent: "a"})
	for what, err := range map[string]error{"List": listed, "Lookup": found} {
		if err == nil || !strings.Contains(err.Error(), "agents may not be back in it yet: for another ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if said := out.String(); !strings.Contains(said, `msg="redis answers" discovery_waits=`) || strings.Contains(said, "discovery_waits=0s") {
		t.Errorf("no word of it in\n%s", out.String())
	}
}

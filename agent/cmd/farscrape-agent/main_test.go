package main

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/relay/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-help"}, nil, nil, &out, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"RELAY_URL", "TOKEN", "TOKEN_FILE", "NAME", "TARGETS", "TARGETS_FILE", "LABELS", "LINKS", "SHARED", "EPHEMERAL",
		"LISTEN", "WEB_CONFIG_FILE", "TLS_CA_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "HEADERS_FILE", "LOG_LEVEL", "LOG_FORMAT",
	} {
		if !strings.Contains(out.String(), "\n  FARSCRAPE_"+want+" ") {
			t.Errorf("-help does not tell FARSCRAPE_%s", want)
		}
	}
	out.Reset()
	if err := run(t.Context(), []string{"-version"}, nil, nil, &out, &out); err != nil || !strings.HasPrefix(out.String(), "farscrape-agent ") {
		t.Errorf("-version: %q, %v", &out, err)
	}
	for _, args := range [][]string{{"-verbose"}, {"start"}} {
		if err := run(t.Context(), args, nil, nil, &out, &out); err == nil || !strings.Contains(err.Error(), "see -help") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestABadEnvironmentIsOneClearError(t *testing.T) {
	good := map[string]string{"RELAY_URL": "http://127.0.0.1:1", "TOKEN": "s3cret", "NAME": "edge-1"}
	for what, c := range map[string]struct{ name, value, want string }{
		"no relay":       {"RELAY_URL", "", "FARSCRAPE_RELAY_URL must be set"},
		"no token":       {"TOKEN", "", "FARSCRAPE_TOKEN or FARSCRAPE_TOKEN_FILE must be set"},
		"two tokens":     {"TOKEN_FILE", "/etc/token", "FARSCRAPE_TOKEN and FARSCRAPE_TOKEN_FILE are both set"},
		"a bad level":    {"LOG_LEVEL", "loud", "FARSCRAPE_LOG_LEVEL"},
		"a bad format":   {"LOG_FORMAT", "xml", "FARSCRAPE_LOG_FORMAT"},
		"a bad number":   {"LINKS", "many", "FARSCRAPE_LINKS=many"},
		"a bad name":     {"NAME", "edge 1", "FARSCRAPE_NAME"},
		"a bad target":   {"TARGETS", "x", "FARSCRAPE_TARGETS"},
		"no target file": {"TARGETS_FILE", "/nonexistent.yml", "FARSCRAPE_TARGETS_FILE"},
	} {
		var environ []string
		for name, value := range good {
			if name != c.name {
				environ = append(environ, "FARSCRAPE_"+name+"="+value)
			}
		}
		environ = append(environ, "FARSCRAPE_"+c.name+"="+c.value)
		var out bytes.Buffer
		err := run(t.Context(), nil, environ, nil, &out, &out)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAPortInUseIsToldWithItsSetting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	var out bytes.Buffer
	err = run(t.Context(), nil, []string{"FARSCRAPE_RELAY_URL=http://127.0.0.1:1", "FARSCRAPE_TOKEN=s3cret", "FARSCRAPE_NAME=edge-1", "FARSCRAPE_LISTEN=" + address}, nil, &out, &out)
	if err == nil || !strings.Contains(err.Error(), "FARSCRAPE_LISTEN: ") || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v", err)
	}
}

func TestItRunsUntilItIsToldToStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out bytes.Buffer
	err := run(ctx, nil, []string{"FARSCRAPE_RELAY_URL=http://127.0.0.1:1", "FARSCRAPE_TOKEN=s3cret", "FARSCRAPE_NAME=edge-1", "FARSCRAPE_LINK=1"}, nil, &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "agent stopped") || !strings.Contains(got, "did you mean FARSCRAPE_LINKS?") || strings.Contains(got, "s3cret") {
		t.Errorf("logged %s", got)
	}
}

func TestTheRelayKnowsTheAgentsVariables(t *testing.T) {
	if got, want := settings.AgentVariables(), settings.Names(new(agent.Config)); !slices.Equal(got, want) {
		t.Errorf("settings has\n%q, the agent reads\n%q", got, want)
	}
}

// Somebody has minted a token, and runs an agent in the same shell.
func TestTheRelaysVariablesAreNotUnknown(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out bytes.Buffer
	err := run(ctx, nil, []string{
		"FARSCRAPE_RELAY_URL=http://127.0.0.1:1", "FARSCRAPE_TOKEN=x", "FARSCRAPE_NAME=edge-1", "FARSCRAPE_TARGETS=a=http://h/",
		"FARSCRAPE_KEY_FILE=/etc/farscrape/key", "FARSCRAPE_KEYS_FILE=s3cret",
	}, nil, &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`level=INFO msg="variables of the other command are set: this one does not read them" variables=FARSCRAPE_KEY_FILE`,
		`level=WARN msg="unknown variable: no command reads it" variable=FARSCRAPE_KEYS_FILE`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "s3cret") || strings.Count(out.String(), "FARSCRAPE_KEY_FILE") != 1 {
		t.Errorf("got\n%s", &out)
	}
}

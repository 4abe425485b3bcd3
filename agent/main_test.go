package agent

import (
	"context"
	"io"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs an agent against relay until the test ends. Its targets are all
// served by the network targets; nil is none at all.
func start(t *testing.T, relay, targets *network, change ...func(*Config)) *Agent {
	t.Helper()
	o := Options{dialRelay: relay.dial}
	if targets != nil {
		o.dialTarget = targets.dial
	}
	return startAgent(t, o, change...)
}

// startAgent runs an agent until the test ends.
func startAgent(t testing.TB, o Options, change ...func(*Config)) *Agent {
	t.Helper()
	c := Config{
		RelayURL: "http://relay.example.com", Token: "secret-token", Name: "edge-1",
		Targets: "app=http://app.internal:8080/metrics", Links: 2, LogLevel: "info", LogFormat: "text",
	}
	for _, f := range change {
		f(&c)
	}
	a, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a
}

// linked starts an agent and gives it its one link.
func linked(t *testing.T, target http.Handler, change ...func(*Config)) *fakeLink {
	t.Helper()
	relay := newFakeRelay(t)
	start(t, relay.network, serve(t, target), change...)
	l := relay.link()
	l.welcome(1)
	return l
}

// text is a target that answers with s.
func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) })
}

func writeFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

package settings_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/settings"
)

func TestReady(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/-/ready" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
	}))
	address := server.Listener.Addr().String()
	_, port, _ := strings.Cut(address, ":")
	for _, a := range []string{address, ":" + port, "0.0.0.0:" + port} {
		if err := settings.Ready(t.Context(), a); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	status = http.StatusServiceUnavailable
	if err := settings.Ready(t.Context(), address); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("while it is not ready: %v", err)
	}
	server.Close()
	if settings.Ready(t.Context(), address) == nil {
		t.Error("nobody listens, and it is ready")
	}
	if settings.Ready(t.Context(), "8080") == nil {
		t.Error("an address without a port, and it is ready")
	}
}

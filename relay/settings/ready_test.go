package settings_test

import (
	"crypto/tls"
	"io"
	"log"
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
		if err := settings.Ready(t.Context(), a, false); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	status = http.StatusServiceUnavailable
	if err := settings.Ready(t.Context(), address, false); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("while it is not ready: %v", err)
	}
	server.Close()
	if settings.Ready(t.Context(), address, false) == nil {
		t.Error("nobody listens, and it is ready")
	}
	if settings.Ready(t.Context(), "8080", false) == nil {
		t.Error("an address without a port, and it is ready")
	}
}

// A health check knows the machine it asks, and no name that a certificate has.
func TestReadyOverTLS(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = new(tls.Config)
	server.StartTLS()
	defer server.Close()
	address := server.Listener.Addr().String()
	if err := settings.Ready(t.Context(), address, true); err != nil {
		t.Error(err)
	}
	status = http.StatusServiceUnavailable
	if err := settings.Ready(t.Context(), address, true); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("while it is not ready: %v", err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		demanding := httptest.NewUnstartedServer(http.NotFoundHandler())
		demanding.Config.ErrorLog = server.Config.ErrorLog
		demanding.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: version}
		demanding.StartTLS()
		if err := settings.Ready(t.Context(), demanding.Listener.Addr().String(), true); err != nil {
			t.Errorf("it asks for a certificate, by %s: %v", tls.VersionName(version), err)
		}
		demanding.Close()
	}
	status = http.StatusOK // an agent may ask for users only
	plain := httptest.NewServer(server.Config.Handler)
	if err := settings.Ready(t.Context(), plain.Listener.Addr().String(), true); err != nil {
		t.Errorf("plain HTTP: %v", err)
	}
	plain.Close()
	if settings.Ready(t.Context(), plain.Listener.Addr().String(), true) == nil {
		t.Error("nobody listens, and it is ready")
	}
}

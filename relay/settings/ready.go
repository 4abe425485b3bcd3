package settings

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// readyTimeout bounds the question: less than any health check waits.
const readyTimeout = 2 * time.Second

// Ready asks the process that listens on address, on this machine, whether it is
// ready: a health check where there is no shell. The error says what it answered. With
// secure it may be TLS that it speaks. Its name is not checked then, since the
// certificate is for those who come from elsewhere, and nothing secret is said; and if
// it takes requests of those only who show a certificate, that it shook hands is all
// that can be learnt, and enough.
func Ready(ctx context.Context, address string, secure bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("FARSCRAPE_LISTEN=%s: %w", address, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost" // it listens on all addresses
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	at := net.JoinHostPort(host, port)
	if secure {
		asked, err := false, error(nil)
		transport := &http.Transport{TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return new(tls.Certificate), nil
			},
		}}
		defer transport.CloseIdleConnections()
		err = askReady(ctx, transport, "https://"+at)
		refused, ok := errors.AsType[*net.OpError](err)
		switch {
		case asked && ok && refused.Op == "remote error": // it is TLS that says so
			return nil
		case !errors.Is(err, http.ErrSchemeMismatch):
			return err
		}
	}
	return askReady(ctx, http.DefaultTransport, "http://"+at)
}

func askReady(ctx context.Context, by http.RoundTripper, relay string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, relay+"/-/ready", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: by}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", resp.Status)
	}
	return nil
}

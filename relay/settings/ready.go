package settings

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// readyTimeout bounds the question: less than any health check waits.
const readyTimeout = 2 * time.Second

// Ready asks the process that listens on address, on this machine, whether it is
// ready: a health check where there is no shell. The error says what it answered.
func Ready(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("FARSCRAPE_LISTEN=%s: %w", address, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost" // it listens on all addresses
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/-/ready", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", resp.Status)
	}
	return nil
}

package agent

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A dialError is a dial that met no relay at all.
type dialError struct {
	relay string   // host and port
	proxy *url.URL // it went by; nil: none
	err   error
}

// Error says where the dial went and what came of it. The proxy's URL may hold a
// password, and its host does not.
func (e *dialError) Error() string {
	by := ""
	if e.proxy != nil {
		by = " by the proxy " + e.proxy.Host
	}
	return fmt.Sprintf("dial %s%s: %v", e.relay, by, e.err)
}

func (e *dialError) Unwrap() error { return e.err }

// A proxyError is a proxy's answer to a CONNECT that does not open the tunnel.
type proxyError struct{ status string }

func (e *proxyError) Error() string { return "the proxy answers " + e.status }

// cause is what a client's error is of, without the words around it, which repeat
// the URL and say which function has failed.
func cause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// An upgradeError is a replica's answer to a dial that is not an upgrade.
type upgradeError struct {
	status     int
	reason     string        // its Farscrape-Error, if it is one of ours
	text       string        // what it says, for a person
	retryAfter time.Duration // within what it wants us back; 0: it does not say
	elsewhere  string        // what it redirects to, as https://host:port; empty: nothing else
	proxy      *url.URL      // whose the answer may be; nil: no proxy's
}

// upgradeErrorOf is the error of an answer from relay's URL, by proxy. Through TLS a
// proxy does not answer: what it says of its CONNECT is a proxyError.
func upgradeErrorOf(r *http.Response, relay, proxy *url.URL) *upgradeError {
	text, _ := io.ReadAll(io.LimitReader(r.Body, wire.MaxDetail)) // the library has read it
	e := &upgradeError{
		status: r.StatusCode,
		reason: printable(r.Header.Get(wire.HeaderError)),
		text:   strings.TrimSpace(printable(strings.TrimSpace(string(text)))),
	}
	if r.StatusCode/100 == 3 {
		e.elsewhere = elsewhere(relay, r.Header.Get("Location"))
	}
	if relay.Scheme == "http" {
		e.proxy = proxy
	}
	e.text = strings.TrimPrefix(e.text, e.reason+": ") // an edge says it in both places
	if seconds, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.retryAfter = time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
	}
	return e
}

// elsewhere is the scheme and host that location names, if they are not relay's. The
// rest of it may hold a secret.
func elsewhere(relay *url.URL, location string) string {
	to, err := relay.Parse(location)
	switch {
	case err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" || len(to.Host) > wire.MaxAddress:
		return ""
	case to.Scheme == relay.Scheme && strings.EqualFold(to.Host, relay.Host):
		return ""
	}
	return to.Scheme + "://" + printable(to.Host)
}

func (e *upgradeError) Error() string {
	s := fmt.Sprintf("refused with status %d", e.status)
	for _, part := range []string{e.reason, e.text} {
		if part != "" {
			s += ": " + part
		}
	}
	return s
}

// held reports that the replica is held already: not a failure, and the next
// dial may meet another.
func (e *upgradeError) held() bool { return e.status == http.StatusConflict }

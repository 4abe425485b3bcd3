package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// A dialFailure is a dial that met no relay at all.
type dialFailure struct {
	relay string   // host and port
	proxy *url.URL // it went by; nil: none
	err   error
}

// Error says where the dial went and what came of it. The proxy's URL may hold a
// password, and its host does not.
func (f *dialFailure) Error() string {
	by := ""
	if f.proxy != nil {
		by = " by the proxy " + f.proxy.Host
	}
	return fmt.Sprintf("dial %s%s: %v", f.relay, by, f.err)
}

func (f *dialFailure) Unwrap() error { return f.err }

// A proxyRefusal is a proxy's answer to a CONNECT that does not open the tunnel.
type proxyRefusal struct{ status string }

func (r *proxyRefusal) Error() string { return "the proxy answers " + r.status }

// cause is what a client's error is of, without the words around it, which repeat
// the URL and say which function has failed.
func cause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// mend is what a person can do about a dial that met no relay.
func (c *Config) mend(f *dialFailure) string {
	if f.proxy != nil {
		if m := c.mendProxy(f.err); m != "" {
			return m
		}
	}
	if m := c.mendTLS(f.err); m != "" {
		return m
	}
	_, unresolved := errors.AsType[*net.DNSError](f.err)
	timeout, _ := errors.AsType[net.Error](f.err)
	switch {
	case unresolved:
		return "the host in FARSCRAPE_RELAY_URL has no address here: mend it, or this machine's DNS; where only a proxy leads out, set " + c.proxySetting()
	case errors.Is(f.err, syscall.ECONNREFUSED):
		return "nothing listens there: check FARSCRAPE_RELAY_URL's host and port, and that the relay runs"
	case errors.Is(f.err, context.DeadlineExceeded), timeout != nil && timeout.Timeout():
		return "nothing answers there: check FARSCRAPE_RELAY_URL and the firewalls on the way; where only a proxy leads out, set " + c.proxySetting()
	case brokenOff(f.err) && !c.overTLS():
		return "it ended the connection without an answer: if that port takes TLS, FARSCRAPE_RELAY_URL must start with https://"
	case brokenOff(f.err):
		return "it ended the connection without an answer: check FARSCRAPE_RELAY_URL's port, and that the load balancer there passes WebSockets on"
	}
	return "check FARSCRAPE_RELAY_URL"
}

// mendProxy is empty if the proxy is not to blame.
func (c *Config) mendProxy(err error) string {
	setting := c.proxySetting()
	if refused, ok := errors.AsType[*proxyRefusal](err); ok {
		if strings.HasPrefix(refused.status, "407") {
			return "the proxy wants a name and a password: write them into " + setting + ", http://user:password@host:port"
		}
		return "the proxy of " + setting + " does not let this agent through to FARSCRAPE_RELAY_URL: allow it there, or list the relay's host in NO_PROXY"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "proxyconnect" {
		return "the proxy of " + setting + " is not reached: mend " + setting + ", or list the relay's host in NO_PROXY"
	}
	return ""
}

// proxySetting is the variable that a proxy to the relay is set by.
func (c *Config) proxySetting() string {
	if c.overTLS() {
		return "HTTPS_PROXY"
	}
	return "HTTP_PROXY"
}

// mendTLS is empty if TLS is not to blame.
func (c *Config) mendTLS(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		noTLS   tls.RecordHeaderError
	)
	op, isOp := errors.AsType[*net.OpError](err)
	alert := isOp && op.Op == "remote error" // which crypto/tls makes of the other side's alert
	switch {
	case errors.As(err, &unknown) && c.TLSCAFile == "":
		return "a private CA signed the relay's certificate: set FARSCRAPE_TLS_CA_FILE to that CA's certificate"
	case errors.As(err, &unknown):
		return "FARSCRAPE_TLS_CA_FILE, " + c.TLSCAFile + ", does not hold the CA that signed the relay's certificate: put it there"
	case errors.As(err, &host):
		return "the relay's certificate is for another name: take one of its names in FARSCRAPE_RELAY_URL, or give the relay a certificate for this one"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the relay's certificate has expired, or is not valid yet: renew it, or set this machine's clock"
	case errors.As(err, &noTLS), errors.Is(err, http.ErrSchemeMismatch):
		return "that port speaks no TLS: check FARSCRAPE_RELAY_URL's port, or start it with http://"
	case alert && c.TLSCertFile == "":
		return "the relay's side ends the handshake: if it asks for a client certificate, set FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE"
	case alert:
		return "the relay's side ends the handshake: does it take the certificate of FARSCRAPE_TLS_CERT_FILE?"
	}
	return ""
}

// brokenOff reports whether the other side ended the connection.
func brokenOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// overTLS reports whether FARSCRAPE_RELAY_URL asks for TLS.
func (c *Config) overTLS() bool {
	return strings.HasPrefix(c.RelayURL, "https:") || strings.HasPrefix(c.RelayURL, "wss:")
}

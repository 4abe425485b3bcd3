package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// logDial says what happened to a dial, as loud as it matters.
func (c *Config) logDial(log *slog.Logger, err error, wait time.Duration) {
	wait = wait.Round(time.Millisecond)
	refused, answered := errors.AsType[*upgradeError](err)
	failed, _ := errors.AsType[*dialError](err)
	switch {
	case answered && refused.held():
		log.Debug("met a replica that is held already", "retry_in", wait)
	case answered:
		log.Warn("no link", "err", err, "mend", c.mendUpgrade(refused), "retry_in", wait)
	case failed != nil:
		log.Warn("no link", "err", err, "mend", c.mendDial(failed), "retry_in", wait)
	default: // a setting, which it names
		log.Warn("no link", "err", err, "retry_in", wait)
	}
}

// logLost says why a link ended, with what the replica has told, and what a person
// can do about it.
func (c *Config) logLost(log *slog.Logger, cause wire.Cause, told string, age time.Duration) {
	log = log.With("cause", cause, "age", age.Round(time.Second))
	switch cause {
	case wire.CauseDrained:
		log.Info("link closed")
	case wire.CauseSuperseded, wire.CauseNameTaken:
		log.Error("another agent holds this name; this one tries again, at first within 20 s, later each minute or two",
			"mend", "stop one of them, set another FARSCRAPE_NAME, or FARSCRAPE_SHARED=true on both")
	case wire.CauseRevoked:
		if strings.Contains(told, "client certificate") {
			log.Error("the relay does not take this agent's certificate any more", "err", told, "mend", "put another into FARSCRAPE_TLS_CERT_FILE, if whatever renews it does not")
			return
		}
		log.Error("the token was revoked or has expired, or its key was taken away", "mend", "set "+c.tokenSetting()+" to a new one")
	case wire.CauseRefused:
		if told == "" { // by an older relay
			log.Error("the relay did not take the targets", "mend", "its log says why")
			return
		}
		log.Error("the relay did not take the targets", "err", told,
			"mend", "declare what it takes; a limit is the relay's setting of that name")
	default:
		log.Warn("link lost")
	}
}

// mendDial is what a person can do about a dial that met no relay.
func (c *Config) mendDial(e *dialError) string {
	if e.proxy != nil {
		if m := c.mendProxy(e); m != "" {
			return m
		}
	}
	if m := c.mendTLS(e.err); m != "" {
		return m
	}
	_, unresolved := errors.AsType[*net.DNSError](e.err)
	timeout, _ := errors.AsType[net.Error](e.err)
	switch {
	case unresolved:
		return "the host in FARSCRAPE_RELAY_URL has no address here: mend it, or this machine's DNS; where only a proxy leads out, set " + c.proxySetting()
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return "nothing listens there: check FARSCRAPE_RELAY_URL's host and port, and that the relay runs"
	case errors.Is(e.err, context.DeadlineExceeded), timeout != nil && timeout.Timeout():
		return "nothing answers there: check FARSCRAPE_RELAY_URL and the firewalls on the way; where only a proxy leads out, set " + c.proxySetting()
	case brokenOff(e.err) && !c.overTLS():
		return "it ended the connection without an answer: if that port takes TLS, FARSCRAPE_RELAY_URL must start with https://"
	case brokenOff(e.err):
		return "it ended the connection without an answer: check FARSCRAPE_RELAY_URL's port, and that the load balancer there passes WebSockets on"
	}
	return "check FARSCRAPE_RELAY_URL"
}

// mendProxy is empty if the proxy is not to blame.
func (c *Config) mendProxy(e *dialError) string {
	setting := c.proxySetting()
	if refused, ok := errors.AsType[*proxyError](e.err); ok {
		if strings.HasPrefix(refused.status, "407") {
			return mendProxyPassword(e.proxy, setting)
		}
		return "the proxy of " + setting + " does not let this agent through to FARSCRAPE_RELAY_URL: allow it there, or list the relay's host in NO_PROXY"
	}
	if op, ok := errors.AsType[*net.OpError](e.err); ok && op.Op == "proxyconnect" {
		return "the proxy of " + setting + " is not reached: mend " + setting + ", or list the relay's host in NO_PROXY"
	}
	return ""
}

// mendProxyPassword is for a proxy's 407.
func mendProxyPassword(proxy *url.URL, setting string) string {
	if proxy != nil && proxy.User != nil {
		return "the proxy does not accept the name and password in " + setting + ": mend them there"
	}
	return "the proxy of " + setting + " wants a name and a password: write them into it, http://user:password@host:port"
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

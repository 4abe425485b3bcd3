package store

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// attrs are what a log line says of a Redis that does not do what it is asked:
// the error, the right that is missing, and what a person can do about it.
func (s *Redis) attrs(err error) []any {
	attrs := denied(err, s.config.Prefix).attrs(err)
	if mend := s.mend(err); mend != "" {
		attrs = append(attrs, "mend", mend)
	}
	return attrs
}

// mend is empty where the error itself says what to do.
func (s *Redis) mend(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		dns     *net.DNSError
		op      *net.OpError
		setting = s.config.URLSetting
	)
	answered := denied(err, "").code != ""
	switch {
	case redis.HasErrorPrefix(err, "WRONGPASS"):
		return "the user or the password in " + setting + " is wrong"
	case redis.HasErrorPrefix(err, "NOAUTH"):
		return "Redis wants a password: write it into " + setting + ", redis://user:password@host:port"
	case answered:
		return ""
	case errors.As(err, &unknown):
		return "set FARSCRAPE_REDIS_TLS_CA_FILE to the certificate of the CA that signed Redis's"
	case errors.As(err, &host):
		return "Redis's certificate is for another name: take one of its names in " + setting
	case errors.As(err, &op) && op.Op == "remote error":
		return "Redis ends the handshake: if it asks for a client certificate, set FARSCRAPE_REDIS_TLS_CERT_FILE and FARSCRAPE_REDIS_TLS_KEY_FILE"
	case errors.As(err, &dns):
		return "the host in " + setting + " has no address here: mend it, or this machine's DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check the host and the port in " + setting + ", and that Redis runs"
	case s.overTLS && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF)):
		return "nothing answers there by TLS: if that port is Redis's plain one, " + setting + " must start with redis://; else check firewalls"
	case errors.Is(err, context.DeadlineExceeded):
		return "nothing answers there: check the host and the port in " + setting + ", and firewalls"
	case !s.overTLS && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return "it ends the connection without an answer: if that port is Redis's with TLS, " + setting + " must start with rediss://"
	}
	return ""
}

// overTLS reports whether a Redis URL asks for TLS.
func overTLS(url string) bool { return strings.HasPrefix(url, "rediss:") }

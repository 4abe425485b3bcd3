package store

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// A denial is what Redis itself answered instead of doing what it was asked.
type denial struct {
	code string // its first word, such as NOPERM; empty: it answered nothing at all
	need string // the right that the user lacks, as ACL SETUSER takes it; empty if it is not that
}

// denied says what of err is Redis's own word. prefix is that of our keys and
// channels.
func denied(err error, prefix string) (d denial) {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return d
	}
	text := reply.Error()
	d.code, _, _ = strings.Cut(text, " ")
	inScript := strings.Contains(text, "executing the script can't") // Redis 7.0; later ones say NOPERM
	if !redis.IsPermissionError(err) && !inScript {
		return d
	}
	switch command := lackedCommand.FindStringSubmatch(text); {
	case inScript && strings.Contains(text, "command or subcommand"):
		d.need = "one of " + scriptRights // it does not say which
	case command != nil:
		d.need = "+" + command[1]
	case strings.Contains(text, "channel"):
		d.need = "&" + prefix + "*"
	case strings.Contains(text, "key"):
		d.need = "~" + prefix + "*"
	}
	return d
}

// scriptRights are the commands that the scripts call.
const scriptRights = "+hget +hset +hdel +hgetall +del +exists +pexpire +get +set +time +zadd +zscore +xadd +xtrim"

var lackedCommand = regexp.MustCompile(`run the '([^']+)' command`)

// A lastDenial is the denial that was told last, so that each is told once. The
// zero value is of none.
type lastDenial struct{ told denial }

// news reports whether err is another denial than the last. That Redis did not
// answer is none, and that it does, nil, ends the last.
func (g *lastDenial) news(err error, prefix string) (d denial, isNew bool) {
	d = denied(err, prefix)
	isNew = d.code != "" && d != g.told
	if d.code != "" || err == nil {
		g.told = d
	}
	return d, isNew
}

// attrs are what a log line says of a Redis that does not do what it is asked:
// which it is, the error, the right that is missing, and what a person can do
// about it.
func (s *Redis) attrs(err error) []any {
	attrs := []any{"redis", s.address, "err", err}
	if d := denied(err, s.config.Prefix); d.need != "" {
		attrs = append(attrs, "needs", d.need)
	}
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
	case errors.Is(err, errUnsharded) && s.config.PubSub == PubSubSharded && !redis.IsPermissionError(err):
		return "sharded pub/sub came with Redis 7.0: upgrade all nodes, or set FARSCRAPE_REDIS_PUBSUB to auto"
	case redis.HasErrorPrefix(err, "OOM"):
		return "Redis is full: give it more maxmemory"
	case answered && strings.Contains(err.Error(), "DB index is out of range"):
		return "Redis has no database of that number: take another for the /N in " + setting
	case answered:
		return ""
	case errors.As(err, &unknown) && s.config.CAFile == "":
		return "set FARSCRAPE_REDIS_TLS_CA_FILE to the certificate of the CA that signed Redis's"
	case errors.As(err, &unknown):
		return "FARSCRAPE_REDIS_TLS_CA_FILE, " + s.config.CAFile + ", does not hold the CA of Redis's certificate" + issuedBy(unknown.Cert)
	case strings.Contains(err.Error(), "redis: can't parse") && strings.Contains(err.Error(), `"HTTP/`):
		return "that is no Redis, but an HTTP server: check the host and the port in " + setting
	case strings.Contains(err.Error(), "redis: can't parse"):
		return "that is no Redis: check the host and the port in " + setting
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

// longestIssuer bounds what is told of a certificate, in bytes: whoever answers
// has written it.
const longestIssuer = 200

// issuedBy says who signed a certificate, if it does.
func issuedBy(cert *x509.Certificate) string {
	if cert == nil || len(cert.Issuer.Names) == 0 {
		return ""
	}
	issuer := cert.Issuer.String()
	return ", " + issuer[:min(len(issuer), longestIssuer)]
}

package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/farscrape/farscrape/relay/wire"
)

// shortBody is how much of a redirect's body is read, in bytes: what servers say
// is a line.
const shortBody = 4 << 10

// fetch asks the target. The answer's body must be closed. The only redirect
// that is followed is one that adds a slash to the path.
func (t *target) fetch(ctx context.Context, address *url.URL, fields []wire.Field) (*http.Response, *wire.Error) {
	header := requestHeader(fields, &t.http)
	r, err := t.get(ctx, address, header)
	if err != nil || !wire.IsRedirect(r.StatusCode) {
		return r, err
	}
	io.CopyN(io.Discard, r.Body, shortBody) // so that the connection can be used again
	r.Body.Close()
	next, ok := addsSlash(address, r)
	if !ok {
		return nil, wire.Errorf(wire.TargetRedirect, "it redirects to %s", location(r))
	}
	if r, err = t.get(ctx, next, header); err != nil || !wire.IsRedirect(r.StatusCode) {
		return r, err
	}
	r.Body.Close()
	return nil, wire.Errorf(wire.TargetRedirect, "it redirects again, to %s", location(r))
}

func (t *target) get(ctx context.Context, address *url.URL, header []wire.Field) (*http.Response, *wire.Error) {
	r, err := t.transport.get(ctx, address, header)
	if err != nil {
		return nil, failure(ctx, err)
	}
	return r, nil
}

// failure gives err its reason.
func failure(ctx context.Context, err error) *wire.Error {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var noTLS *insecure
	var noConn *unreached
	reason := wire.TargetBadAnswer
	switch {
	case ctx.Err() != nil:
		return over(ctx)
	case errors.As(err, &dns):
		reason = wire.TargetDNS
	case errors.As(err, &certificate), errors.As(err, &noTLS):
		reason = wire.TargetTLS
	case errors.As(err, &noConn):
		reason = wire.TargetRefused
	}
	return &wire.Error{Reason: reason, Detail: printable(err.Error())}
}

// over is why a scrape whose ctx has ended has failed.
func over(ctx context.Context) *wire.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return wire.Errorf(wire.Deadline, "the target has not answered in time")
	}
	return wire.Errorf(wire.Canceled, "nobody waits for it any more")
}

// printable makes a detail of what a target may have had a hand in.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s)
}

// fill reads until p is full, so that frames are worth their headers.
func fill(body io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = body.Read(p[n:])
		n += m
	}
	return n, err
}

// addsSlash is where r redirects to, and whether that is where it came from but
// for a slash after the path. The query stays as it was sent.
func addsSlash(from *url.URL, r *http.Response) (*url.URL, bool) {
	to, err := from.Parse(r.Header.Get("Location"))
	if err != nil || to.Scheme != from.Scheme || to.Host != from.Host || to.User != nil ||
		to.EscapedPath() != from.EscapedPath()+"/" {
		return nil, false
	}
	next := *from
	next.Path, next.RawPath = to.Path, to.RawPath
	return &next, true
}

// location is where r redirects to, without what could be a secret.
func location(r *http.Response) string {
	u, err := url.Parse(r.Header.Get("Location"))
	if err != nil {
		return "no address at all"
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return printable(u.String())
}

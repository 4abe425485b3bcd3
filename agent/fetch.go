package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/farscrape/farscrape/relay/wire"
)

// fetch asks the target. The answer's body must be closed. The only redirect
// that is followed is one that adds a slash to the path.
func (t *target) fetch(ctx context.Context, address *url.URL, fields []wire.Field) (*http.Response, *wire.Error) {
	header := requestHeader(fields, &t.http)
	r, err := t.roundTrip(ctx, address, header)
	if err != nil || !redirects(r) {
		return r, err
	}
	r.Body.Close()
	next, ok := addsSlash(address, r)
	if !ok {
		return nil, wire.Errorf(wire.TargetRedirect, "it redirects to %s", location(r))
	}
	if r, err = t.roundTrip(ctx, next, header); err != nil || !redirects(r) {
		return r, err
	}
	r.Body.Close()
	return nil, wire.Errorf(wire.TargetRedirect, "it redirects again, to %s", location(r))
}

func (t *target) roundTrip(ctx context.Context, address *url.URL, header http.Header) (*http.Response, *wire.Error) {
	p := newProgress()
	asking := context.WithValue(ctx, asker{}, ctx)
	r := (&http.Request{
		Method: http.MethodGet, URL: address, Host: address.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(httptrace.WithClientTrace(asking, &p.trace))
	resp, err := t.transport.RoundTrip(r)
	if err != nil {
		return nil, p.failure(ctx, err)
	}
	return resp, nil
}

// progress is how far a request has come; it tells failures apart that look
// alike.
type progress struct {
	stage atomic.Int32
	trace httptrace.ClientTrace
}

const (
	handshaking = 1 + iota
	connected
)

func newProgress() *progress {
	p := new(progress)
	// A dial that lost the race against an idle connection goes on in the
	// background: it must not undo connected.
	p.trace.TLSHandshakeStart = func() { p.stage.CompareAndSwap(0, handshaking) }
	p.trace.GotConn = func(httptrace.GotConnInfo) { p.stage.Store(connected) }
	return p
}

// failure gives err its reason.
func (p *progress) failure(ctx context.Context, err error) *wire.Error {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	reason := wire.TargetBadAnswer
	switch {
	case ctx.Err() != nil:
		return over(ctx)
	case errors.As(err, &dns):
		reason = wire.TargetDNS
	case errors.As(err, &certificate), p.stage.Load() == handshaking:
		reason = wire.TargetTLS
	case p.stage.Load() != connected:
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

func redirects(r *http.Response) bool {
	switch r.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
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

// asker is the key of the scrape's own context. Go's transport hands a dial the
// values of its request's context but not its end: a dial to a black hole would
// go on for minutes.
type asker struct{}

// limited lets dial take three quarters of the time that its scrape has: the
// rest is for saying that there is no connection.
func (dial dialFunc) limited(ctx context.Context, network, address string) (net.Conn, error) {
	if scrape, ok := ctx.Value(asker{}).(context.Context); ok {
		ctx = scrape
		if deadline, ok := scrape.Deadline(); ok {
			limit, stop := context.WithTimeout(scrape, time.Until(deadline)*3/4)
			defer stop()
			ctx = limit
		}
	}
	return dial(ctx, network, address)
}

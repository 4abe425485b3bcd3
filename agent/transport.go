package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync/atomic"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/farscrape/farscrape/relay/wire"
)

// dialFunc opens a connection.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A transport asks one target.
type transport interface {
	// get asks for u. The answer's body must be closed. The error tells by
	// *unreached and *insecure how far it came.
	get(ctx context.Context, u *url.URL, header []wire.Field) (*http.Response, error)
	// closeIdle closes idle connections now, and those in use when they are done
	// with.
	closeIdle()
}

// What keeps a request from a target.
type (
	unreached struct{ error } // there is no connection
	insecure  struct{ error } // there is one, without TLS
)

func (e *unreached) Unwrap() error { return e.error }
func (e *insecure) Unwrap() error  { return e.error }

// connect gives the target its transport.
func (t *target) connect(dial dialFunc) (err error) {
	next, err := promconfig.NewRoundTripperFromConfig(t.http, t.Name,
		promconfig.WithHTTP2Disabled(), promconfig.WithDialContextFunc(promconfig.DialContextFunc(dial.limited)))
	t.transport = &tracedTransport{next}
	return err
}

// limited lets dial take three quarters of the time that its scrape has, by ctx or
// its asker: the rest is for saying that there is no connection.
func (dial dialFunc) limited(ctx context.Context, network, address string) (net.Conn, error) {
	if scrape, ok := ctx.Value(asker{}).(context.Context); ok {
		ctx = scrape
	}
	if deadline, ok := ctx.Deadline(); ok {
		limit, stop := context.WithTimeout(ctx, time.Until(deadline)*3/4)
		defer stop()
		ctx = limit
	}
	return dial(ctx, network, address)
}

// A tracedTransport is Prometheus's own, with the target's HTTP settings. It tells how
// far a request that failed had come.
type tracedTransport struct{ next http.RoundTripper }

func (t *tracedTransport) get(ctx context.Context, u *url.URL, header []wire.Field) (*http.Response, error) {
	p := &progress{Context: ctx}
	resp, err := t.next.RoundTrip(newRequest(p.traced(), u, header))
	switch {
	case err == nil && headerBytes(resp.Header) > maxAnswerHeader:
		resp.Body.Close()
		return nil, fmt.Errorf("its header is longer than %d bytes", maxAnswerHeader)
	case err == nil:
		return resp, nil
	case p.stage.Load() == handshaking:
		return nil, &insecure{err}
	case p.stage.Load() != connected:
		return nil, &unreached{err}
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("it hung up without an answer: %w", err)
	}
	return nil, err
}

// A progress is a request's context that knows how far the request has come.
type progress struct {
	context.Context // the scrape's
	trace           httptrace.ClientTrace
	stage           atomic.Int32
	informational   int // answers of 1xx
}

// The stages of a request.
const (
	handshaking = 1 + iota
	connected
)

// traced is the context to ask with.
func (p *progress) traced() context.Context {
	p.trace = httptrace.ClientTrace{TLSHandshakeStart: p.handshake, GotConn: p.connect, Got1xxResponse: p.inform}
	return httptrace.WithClientTrace(p, &p.trace)
}

// handshake takes note that there is a connection. A dial that lost the race
// against an idle one goes on in the background: it must not undo connected.
func (p *progress) handshake() { p.stage.CompareAndSwap(0, handshaking) }

func (p *progress) connect(httptrace.GotConnInfo) { p.stage.Store(connected) }

func (p *progress) inform(int, textproto.MIMEHeader) error {
	if p.informational++; p.informational > maxInformational {
		return fmt.Errorf("more than %d answers of 1xx", maxInformational)
	}
	return nil
}

// asker is the key of the scrape's own context. Go's transport hands a dial the
// values of its request's context but not its end: a dial to a black hole would
// go on for minutes.
type asker struct{}

// Value is the scrape's context, or what that has.
func (p *progress) Value(key any) any {
	if key == (asker{}) {
		return p.Context
	}
	return p.Context.Value(key)
}

// What is taken of an answer before its body.
const (
	// maxAnswerHeader is the most, in bytes: what net/http's server takes of a
	// request's header. Far less fits in a HEAD.
	maxAnswerHeader = 1 << 20
	// maxInformational is how many 1xx there may be.
	maxInformational = 5
)

// headerBytes adds up names and values.
func headerBytes(h http.Header) (n int) {
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

func (t *tracedTransport) closeIdle() { (&http.Client{Transport: t.next}).CloseIdleConnections() }

// newRequest is a request as net/http has it. Names are canonical.
func newRequest(ctx context.Context, u *url.URL, header []wire.Field) *http.Request {
	h := make(http.Header, len(header)+1)
	values := make([]string, len(header)) // one for each field, in place of a slice each
	for i, f := range header {
		values[i] = f.Value
		if h[f.Name] == nil {
			h[f.Name] = values[i : i+1 : i+1]
		} else {
			h[f.Name] = append(h[f.Name], f.Value)
		}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // keeps Go from adding its own
	}
	return (&http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
}

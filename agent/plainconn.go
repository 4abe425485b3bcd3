package agent

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// What is read of an answer before its body.
const (
	// maxAnswerHeader is the most, in bytes, the 1xx before it included: what
	// net/http's server takes of a request's header. Far less fits in a HEAD.
	maxAnswerHeader = 1 << 20
	// maxInformational is how many 1xx there may be.
	maxInformational = 5
)

// A plainConn is a connection to a target: idle, or in use by one scrape.
type plainConn struct {
	net.Conn
	of        *plainTransport
	untouched func() bool      // while idle: nothing has come, and no end
	in        io.LimitedReader // the connection, as far as it may be read
	reader    *bufio.Reader    // of in
	writer    *bufio.Writer
	idleSince time.Time
}

func newPlainConn(conn net.Conn, of *plainTransport) *plainConn {
	c := &plainConn{Conn: conn, of: of, untouched: untouched(conn), in: io.LimitedReader{R: conn}, writer: bufio.NewWriter(conn)}
	c.reader = bufio.NewReader(&c.in)
	return c
}

// errNoAnswer is of a connection that ended before the answer began.
var errNoAnswer = errors.New("it hung up without an answer")

// get asks for u and reads the answer up to its body, which holds the connection
// from then on. The end of ctx closes it.
func (c *plainConn) get(ctx context.Context, u *url.URL, header []wire.Field) (*http.Response, error) {
	unbind := context.AfterFunc(ctx, func() { c.Close() })
	r, err := c.roundTrip(u, header)
	if err != nil {
		unbind()
		c.Close()
		return nil, err
	}
	r.Body = &plainBody{content: r.Body, conn: c, unbind: unbind, last: r.Close || r.StatusCode < http.StatusOK}
	return r, nil
}

// roundTrip sends the request and receives the answer. A target that answers while
// it does not read is not heard before the request has gone out; one that then
// hangs up is.
func (c *plainConn) roundTrip(u *url.URL, header []wire.Field) (*http.Response, error) {
	unsent := c.send(u, header)
	c.in.N = maxAnswerHeader
	if _, err := c.reader.Peek(1); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, cmp.Or(unsent, err))
	}
	r, err := c.receive()
	switch {
	case err == nil:
		r.Close = r.Close || unsent != nil
	case c.in.N <= 0:
		err = fmt.Errorf("its header is longer than %d bytes", maxAnswerHeader)
	}
	c.in.N = math.MaxInt64
	return r, err
}

// send writes the request. Of what it writes nothing can end a line: u is the
// declaration's, with what [target.address] or [addsSlash] let pass, and header
// what [wire.ValidField] did.
func (c *plainConn) send(u *url.URL, header []wire.Field) error {
	w := c.writer
	for _, s := range [...]string{"GET ", u.RequestURI(), " HTTP/1.1\r\nHost: ", c.of.host, "\r\n"} {
		w.WriteString(s)
	}
	for _, f := range header {
		w.WriteString(f.Name)
		w.WriteString(": ")
		w.WriteString(f.Value)
		w.WriteString("\r\n")
	}
	w.WriteString("\r\n")
	return w.Flush() // or whatever failed before
}

// receive reads the header of the answer, and of those before it that are only
// informational.
func (c *plainConn) receive() (*http.Response, error) {
	for range maxInformational + 1 {
		r, err := http.ReadResponse(c.reader, nil) // to a GET
		if err != nil || r.StatusCode < 100 || r.StatusCode > 199 || r.StatusCode == http.StatusSwitchingProtocols {
			return r, err
		}
	}
	return nil, fmt.Errorf("more than %d answers of 1xx", maxInformational)
}

// A plainBody is the body of an answer. It holds its connection until its end has
// been read, before anyone is told of that: the next scrape may come at once.
type plainBody struct {
	content io.Reader
	conn    *plainConn  // nil: let go
	unbind  func() bool // from the context; false: it has ended
	last    bool        // nothing may follow it on its connection
}

func (b *plainBody) Read(p []byte) (int, error) {
	n, err := b.content.Read(p)
	if errors.Is(err, io.EOF) {
		b.letGo(!b.last)
	}
	return n, err
}

// Close closes the connection of a body that was not read to its end.
func (b *plainBody) Close() error {
	b.letGo(false)
	return nil
}

// letGo makes the connection an idle one, if it may be used again and nothing is
// left on it, or closes it.
func (b *plainBody) letGo(again bool) {
	c := b.conn
	b.conn = nil
	switch {
	case c == nil:
	case b.unbind() && again && c.reader.Buffered() == 0:
		c.of.keep(c)
	default:
		c.Close()
	}
}

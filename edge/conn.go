package edge

import (
	"bytes"
	"container/list"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"github.com/farscrape/farscrape/relay/wire"
)

// A conn is a connection of a Server.
type conn struct {
	net.Conn

	// served is true from when a handler has the request until the server is
	// done with the answer. Owned by the server's goroutine for the connection,
	// and not changed any more once it is hijacked.
	served bool

	// spoke is whether something was written since it began to wait for a request.
	spoke atomic.Bool

	// Guarded by the waiting room's mu.
	place   *list.Element // nil: not in the room
	waiting bool          // for a request
}

// A secureConn is one that speaks TLS. Requests by it have what ConnectionState says.
type secureConn struct {
	conn
	connectionStater
}

// A connectionStater is what net/http asks what it puts into a request's TLS.
type connectionStater interface{ ConnectionState() tls.ConnectionState }

// connOf returns the conn of a connection that a listener of ours accepted, or nil.
func connOf(c net.Conn) *conn {
	switch c := c.(type) {
	case *conn:
		return c
	case *secureConn:
		return &c.conn
	}
	return nil
}

// NetConn is the connection that was accepted.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite says that nothing more comes. The server does so before it closes a
// connection with something unread on it: a reset would take the answer away.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection. TLS says so first, so that an answer that ends with the
// connection looks whole, and waits for up to 5 s for a peer that reads nothing: one
// that only waited for a request is owed no such word, and a crowd of them could hold
// up whoever closes them one after the other.
func (c *conn) Close() error {
	if !c.spoke.Load() {
		return innermost(c.Conn).Close()
	}
	return c.Conn.Close()
}

// innermost is the connection beneath ours, and beneath TLS.
func innermost(c net.Conn) net.Conn {
	for {
		around, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = around.NetConn()
	}
}

// Write writes p. While no handler has the request it is an answer of net/http's
// own: to what is no request, or one that it does not take.
func (c *conn) Write(p []byte) (int, error) {
	if !c.spoke.Load() {
		c.spoke.Store(true)
	}
	line := 0
	if !c.served && bytes.HasPrefix(p, []byte("HTTP/1.")) {
		line = bytes.IndexByte(p, '\n') + 1
	}
	if line == 0 {
		return c.Conn.Write(p)
	}
	answer := make([]byte, 0, len(p)+len(reasonLine))
	answer = append(append(append(answer, p[:line]...), reasonLine...), p[line:]...)
	if _, err := c.Conn.Write(answer); err != nil {
		return 0, err
	}
	return len(p), nil
}

var reasonLine = wire.HeaderError + ": " + wire.BadRequest.String() + "\r\n"

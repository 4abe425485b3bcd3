package edge

import (
	"bytes"
	"container/list"
	"errors"
	"net"

	"github.com/farscrape/farscrape/relay/wire"
)

// A conn is a connection of a Server.
type conn struct {
	net.Conn

	// served is true from when a handler has the request until the server is
	// done with the answer. Owned by the server's goroutine for the connection,
	// and not changed any more once it is hijacked.
	served bool

	// Guarded by the waiting room's mu.
	place   *list.Element // nil: not in the room
	waiting bool          // for a request
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

// Write writes p. While no handler has the request it is an answer of net/http's
// own: to what is no request, or one that it does not take.
func (c *conn) Write(p []byte) (int, error) {
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

package link

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A hijacker keeps the connection that is taken from an HTTP server, and gives
// the library smaller buffers than the server's, which are 4 KiB each: they are
// most of what an idle link costs. What does not fit passes them by.
type hijacker struct {
	http.ResponseWriter
	socket *agentConn
}

// What a link's buffers hold, in bytes: most answers' frames up to their body,
// and a few requests.
const (
	readAhead  = 2 << 10
	writeAhead = 1 << 10
)

// WriteHeader gives what the library refuses, an upgrade that is none, a reason.
func (h *hijacker) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		h.Header().Set(wire.HeaderError, wire.BadRequest.String())
	}
	h.ResponseWriter.WriteHeader(status)
}

// An agentConn bounds what its agent can do to a connection. Each write has
// PeerTimeout, or a second more: who has read nothing for so long is dead. And no
// more than maxUnheard is read without a message's end: what is neither its bytes
// nor, by far, its framing.
type agentConn struct {
	net.Conn
	unheard atomic.Int64 // bytes since the last message's end
	timed   time.Time    // when the deadline was set; the library writes one frame at a time
}

const maxUnheard = 2 * wire.MaxMessage

var errUnheard = errors.New("framing without messages")

func (c *agentConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.unheard.Add(int64(n)) > maxUnheard {
		return 0, errUnheard
	}
	return n, err
}

func (c *agentConn) Write(b []byte) (int, error) {
	if now := time.Now(); now.Sub(c.timed) > time.Second { // one serves all writes of a second
		if err := c.SetWriteDeadline(now.Add(wire.PeerTimeout + time.Second)); err != nil {
			return 0, err
		}
		c.timed = now
	}
	return c.Conn.Write(b)
}

// Hijack takes it.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.socket = &agentConn{Conn: conn}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what came with the request
	in := io.MultiReader(bytes.NewReader(bytes.Clone(early)), h.socket)
	buffered := bufio.NewReaderSize(in, max(readAhead, len(early)))
	_, _ = buffered.Peek(len(early))
	return h.socket, bufio.NewReadWriter(buffered, bufio.NewWriterSize(h.socket, writeAhead)), nil
}

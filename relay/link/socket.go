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
	clock  clock
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

// An agentConn bounds what its agent can do to a connection. No more than maxUnheard
// is read without a message's end: what is neither its bytes nor, by far, its framing.
// And it tells when a write has waited for too long for its agent to read, which the
// heartbeat looks at: a deadline would be a timer to set for each ping.
type agentConn struct {
	net.Conn
	clock   clock
	unheard atomic.Int64 // bytes since the last message's end
	overdue atomic.Int64 // when the write under way has waited for too long, by the replica's clock, nanoseconds; 0: none is
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
	c.overdue.Store(int64(c.clock.now() + wire.PeerTimeout)) // the library writes one frame at a time
	defer c.overdue.Store(0)
	return c.Conn.Write(b)
}

// Close closes the connection beneath TLS, too: that would wait for up to 5 s for an
// agent that reads nothing, to say what the WebSocket has said.
func (c *agentConn) Close() error {
	beneath := c.Conn
	for {
		around, ok := beneath.(interface{ NetConn() net.Conn })
		if !ok {
			return beneath.Close()
		}
		beneath = around.NetConn()
	}
}

// deaf is when an agent will have read nothing for so long that it is dead; never, if
// nothing waits for it.
func (c *agentConn) deaf() time.Duration {
	if at := c.overdue.Load(); at > 0 {
		return time.Duration(at)
	}
	return never
}

// Hijack takes it.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.socket = &agentConn{Conn: conn, clock: h.clock}
	in := io.Reader(h.socket)
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what came with the request
	if len(early) > 0 {
		in = io.MultiReader(bytes.NewReader(bytes.Clone(early)), in)
	}
	buffered := bufio.NewReaderSize(in, max(readAhead, len(early)))
	_, _ = buffered.Peek(len(early))
	return h.socket, bufio.NewReadWriter(buffered, bufio.NewWriterSize(h.socket, writeAhead)), nil
}

package proxied

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

const (
	// readAhead is what is read of a connection to look for a header, in bytes: one, and
	// most requests behind it. Of TLVs the library takes 4 KiB, and they are not kept.
	readAhead = 1 << 10
	// longestLine is a header of version 1 at its longest, in bytes.
	longestLine = 107
)

// A conn is a connection that may begin with a header.
type conn struct {
	net.Conn // of the peer
	listener *Listener
	trusted  bool // the peer is

	once sync.Once // sets what follows
	from net.Addr  // whose connection it is, as a trusted peer says; nil: the peer's
	err  error     // why nothing of it is read

	in *bufio.Reader // what came with the header and was not read; nil: nothing. The reader's
}

// NetConn is the connection that was accepted.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite says that nothing more comes.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// RemoteAddr is whose connection it is. It waits for a trusted peer's header, and is
// called before there are deadlines for reading.
func (c *conn) RemoteAddr() net.Addr {
	if c.trusted {
		c.once.Do(c.begin)
	}
	if c.from != nil {
		return c.from
	}
	return c.Conn.RemoteAddr()
}

// Read reads what comes after the header, if there is one.
func (c *conn) Read(p []byte) (int, error) {
	c.once.Do(c.begin)
	if c.err != nil {
		return 0, c.err
	}
	if c.in == nil {
		return c.Conn.Read(p)
	}
	n, err := c.in.Read(p)
	if c.in.Buffered() == 0 {
		c.in = nil
	}
	return n, err
}

// begin looks for a header, and reads it.
func (c *conn) begin() {
	if c.trusted { // else the deadline is that of whoever reads
		_ = c.Conn.SetReadDeadline(time.Now().Add(headerTimeout))
		defer func() { _ = c.Conn.SetReadDeadline(time.Time{}) }()
	}
	in := bufio.NewReaderSize(c.Conn, readAhead)
	header, err := signed(in)
	switch {
	case header && !c.trusted:
		c.refuse(stranger, errors.New("the peer is not trusted"))
	case header:
		if c.from, err = readHeader(in); err != nil {
			c.refuse(causeOf(err), err)
		}
	case c.trusted && errors.Is(err, os.ErrDeadlineExceeded) && in.Buffered() > 0:
		c.refuse(unfinished, err)
	case c.trusted && errors.Is(err, os.ErrDeadlineExceeded):
		c.err = err // nothing came at all
	}
	// Whatever else ended the reading ends the next, too.
	if in.Buffered() > 0 {
		c.in = in
	}
}

// causeOf says whether a header was not read for want of the rest of it.
func causeOf(err error) cause {
	if _, broken := errors.AsType[net.Error](err); broken || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return unfinished
	}
	return malformed
}

// refuse ends the connection, to whoever reads from it: no answer would reach who has
// to mend it, and neither HTTP nor TLS has anything to add to what the log says.
func (c *conn) refuse(why cause, err error) {
	c.listener.refuse(why, c.Conn.RemoteAddr(), err)
	c.err = io.EOF
}

// signed reports whether a connection begins as headers do. It waits for no more than
// it needs to tell.
func signed(in *bufio.Reader) (bool, error) {
	for n := 1; ; n++ {
		begin, err := in.Peek(n)
		if err != nil {
			return false, err
		}
		if bytes.Equal(begin, proxyproto.SIGV1) || bytes.Equal(begin, proxyproto.SIGV2) {
			return true, nil
		}
		if !bytes.HasPrefix(proxyproto.SIGV1, begin) && !bytes.HasPrefix(proxyproto.SIGV2, begin) {
			return false, nil
		}
	}
}

// readHeader reads a header, and says whose connection it is; nil, where that is the
// peer's own (LOCAL and UNKNOWN, as of health checks) or no TCP connection.
func readHeader(in *bufio.Reader) (net.Addr, error) {
	if err := awaitLine(in); err != nil {
		return nil, err
	}
	header, err := proxyproto.Read(in)
	if err != nil {
		return nil, err
	}
	if from, ok := header.SourceAddr.(*net.TCPAddr); ok && !header.Command.IsLocal() {
		return from, nil
	}
	return nil, nil
}

// awaitLine waits until the whole of a header of version 1 is there: the library takes
// it out of one read only, and TCP may deliver it in two.
func awaitLine(in *bufio.Reader) error {
	for n := len(proxyproto.SIGV1); n <= longestLine; n = in.Buffered() + 1 {
		if _, err := in.Peek(n); err != nil {
			return err
		}
		begin, _ := in.Peek(in.Buffered())
		if !bytes.HasPrefix(begin, proxyproto.SIGV1) || bytes.IndexByte(begin, '\n') >= 0 {
			return nil
		}
	}
	return nil
}

package webconfig

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// handshakeTimeout bounds a handshake, whatever its peer does, and so what one that
// stops half-way costs: a goroutine and some 18 KiB, for that long. How many there may
// be at once is for the server to bound, as of all connections that wait.
const handshakeTimeout = 10 * time.Second

// Listener returns what accepts connections as the file has it.
func (w *Web) Listener(l net.Listener) net.Listener {
	if !w.TLS() {
		return l
	}
	// Tickets are sealed with this one's keys, which change daily. All else is the
	// current one's.
	conf := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.now.Load().tls, nil }}
	return &listener{l, w, conf}
}

// TLS reports whether the listener speaks TLS.
func (w *Web) TLS() bool { return w != nil && w.now.Load().tls != nil }

type listener struct {
	net.Listener
	web  *Web
	conf *tls.Config
}

// Accept waits for the next connection, and not for its handshake.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{tls.Server(c, l.conf), l.web}, nil
}

// A conn is no [tls.Conn] to the HTTP server, which thus speaks HTTP/1.1 only.
type conn struct {
	*tls.Conn
	web *Web
}

// ConnectionState shakes hands first: the HTTP server asks for it once, for its
// requests, before it reads from the connection and has a buffer for that. What failed
// here fails there, too.
func (c *conn) ConnectionState() tls.ConnectionState {
	_ = c.SetDeadline(time.Now().Add(handshakeTimeout))
	if err := c.Handshake(); err != nil {
		c.fail(err)
	} else {
		_ = c.SetDeadline(time.Time{})
	}
	return c.Conn.ConnectionState()
}

// fail says what was wrong, to the peer as far as TLS has not done so.
func (c *conn) fail(err error) {
	defer c.NetConn().Close()
	if errors.Is(err, io.EOF) { // a balancer looks whether the port is open
		return
	}
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok && header.Conn != nil && looksLikeHTTP(header.RecordHeader) {
		_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n") // as Go has it
		err = errors.New("plain HTTP: the URL must begin with https://")
	}
	if errors.Is(err, net.ErrClosed) {
		err = errors.New("closed here meanwhile: too many connections wait, or the listener's end has come")
	}
	c.web.metrics.failed.Inc()
	if show, more := c.web.seldom.Due(time.Now()); show {
		c.web.Logger.Warn("TLS handshake failed", "setting", c.web.Setting, "remote_addr", c.RemoteAddr().String(), "err", err, "failed_since_last_said", more)
	}
}

// looksLikeHTTP reports whether what came in place of a TLS record begins a request.
func looksLikeHTTP(begin [5]byte) bool {
	switch string(begin[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "GET h", "CONNE":
		return true
	}
	return false
}

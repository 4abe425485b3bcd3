package edge

import (
	"net"
	"net/http"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// readTimeout bounds the reading of a request.
const readTimeout = 10 * time.Second

// Server returns an HTTP server for handler with the limits that an edge, and
// whatever shares its listener, needs. It is to serve what Listener returns.
func Server(handler http.Handler) *http.Server { return server(handler, maxWaiting()) }

// server is Server with so many connections waiting for a request at most.
func server(handler http.Handler, waiting int) *http.Server {
	room := newWaitingRoom(waiting)
	return &http.Server{
		Handler:           room.serving(withoutBody(handler)),
		ConnContext:       room.context,
		ConnState:         room.changed,
		ReadHeaderTimeout: readTimeout,
		MaxHeaderBytes:    64 << 10,
		// Longer than Prometheus's and the balancers', so that it is never the
		// server that closes a connection someone is about to use, unless too
		// many of them wait.
		IdleTimeout: 620 * time.Second,
		// OPTIONS * is 405 like any other method.
		DisableGeneralOptionsHandler: true,
	}
}

// withoutBody ends the connection of a request with a body after the answer:
// nobody here wants one, and whoever stands before us may take a part of it, or
// of what follows it, for another request. The server reads what it can of a
// body before it answers, or after, and would do so for ever; its ReadTimeout
// would break off long scrapes.
func withoutBody(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 { // also -1, chunked
			w.Header().Set("Connection", "close")
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
		}
		handler.ServeHTTP(w, r)
	})
}

// upgrade lets connect have an agent's request, if it is one: a body would be
// taken for the first of its frames.
func upgrade(w http.ResponseWriter, r *http.Request, connect http.Handler) {
	switch {
	case r.Method != http.MethodGet:
		fail(w, ownPage, wire.Errorf(wire.Method, "an upgrade is a GET"))
	case r.ContentLength != 0:
		fail(w, ownPage, wire.Errorf(wire.BadRequest, "an upgrade has no body"))
	default:
		connect.ServeHTTP(w, r)
	}
}

// Listener returns l for a Server: what net/http answers itself, before any
// handler sees the request (400, 417, 431, 501, 505), then has a reason, too. Where l
// speaks TLS, its connections tell that by a ConnectionState; none is a [tls.Conn] to
// the Server, and so none agrees on HTTP/2.
func Listener(l net.Listener) net.Listener { return &listener{l} }

type listener struct{ net.Listener }

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if state, ok := c.(connectionStater); ok {
		return &secureConn{conn{Conn: c}, state}, nil
	}
	return &conn{Conn: c}, nil
}

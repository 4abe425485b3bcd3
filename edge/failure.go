package edge

import (
	"io"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// fail answers with a failure: its reason in status, header and body.
func fail(w http.ResponseWriter, m mode, failure *wire.Error) {
	status := failure.Reason.Status()
	h := w.Header()
	switch failure.Reason {
	case wire.Unauthorized:
		if challenge(h, m); m == proxyMode {
			status = http.StatusProxyAuthRequired
		}
	case wire.Method:
		if h.Get("Allow") == "" {
			h.Set("Allow", http.MethodGet)
		}
	case wire.TargetStatus: // has none of its own: an answer carries it, never an error
		status = http.StatusInternalServerError
	}
	h.Set(wire.HeaderError, failure.Reason.String())
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, line(failure.Error())+"\n") // whoever does not read it is gone
}

// answerPanic, deferred, takes a panic for a bug of ours. Nothing has been sent:
// an exchange, which may have, looks after its own.
func (e *Edge) answerPanic(w http.ResponseWriter) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	fail(w, ownPage, e.bug(p))
}

// bug logs what was panicked with.
func (e *Edge) bug(p any) *wire.Error {
	e.Logger.Error("panic", "panic", p, "stack", string(debug.Stack()))
	return wire.Errorf(wire.Internal, "a bug in the relay: its log has more")
}

// line makes one line of a text that may come from an agent.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// deliver hands the answer on. If it fails before x.sent the client has seen
// nothing of it.
func (x *exchange) deliver(ctx context.Context, a *wire.Answer) *wire.Error {
	switch {
	case wire.IsRedirect(a.Status): // agents pass none on
		return wire.Errorf(wire.TargetRedirect, "status %d", a.Status)
	case !wire.IsFinal(a.Status):
		return wire.Errorf(wire.AgentProtocol, "status %d", a.Status)
	}
	length := lengthOf(a)
	if length > x.edge.MaxBody {
		return tooLarge(x.edge.MaxBody)
	}
	if a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		x.writeHeader(a, -1)
		return nil
	}
	out := &bodyWriter{exchange: x, answer: a, length: length}
	if _, err := io.Copy(out, a.Body); err != nil {
		return failureOf(ctx, err)
	}
	return out.end()
}

// pause is how short a piece of a body must be for a sign that the target pauses,
// in bytes: while it does not, pieces are about as long as messages.
const pause = 16 << 10

// A bodyWriter writes a body to the scraper, and the header before it: what fails
// before the first bytes still gets a reason. Its errors are *wire.Error.
type bodyWriter struct {
	*exchange
	answer *wire.Answer
	length int64 // announced; -1: not known
	total  int64
}

// Write writes one piece of the body.
func (b *bodyWriter) Write(p []byte) (int, error) {
	b.total += int64(len(p))
	switch {
	case b.total > b.edge.MaxBody:
		return 0, tooLarge(b.edge.MaxBody)
	case b.length >= 0 && b.total > b.length:
		return 0, wire.Errorf(wire.AgentProtocol, "more than the %d bytes announced", b.length)
	case !b.sent:
		b.writeHeader(b.answer, b.length)
	}
	if _, err := b.w.Write(p); err != nil {
		return 0, unread(err)
	}
	if !b.answer.Whole && len(p) < pause { // let go what the target has said
		if err := http.NewResponseController(b.w).Flush(); err != nil {
			return 0, unread(err)
		}
	}
	return len(p), nil
}

// end sees to it that the body was as long as announced.
func (b *bodyWriter) end() *wire.Error {
	if b.length >= 0 && b.total != b.length {
		return wire.Errorf(wire.AgentProtocol, "%d bytes where %d were announced", b.total, b.length)
	}
	if !b.sent {
		b.writeHeader(b.answer, b.total)
	}
	return nil
}

// writeHeader sends the target's header, and what path mode adds to it: there
// the target's pages share our origin.
func (x *exchange) writeHeader(a *wire.Answer, length int64) {
	h := x.w.Header()
	named := wire.NamedByConnection(wire.Values(a.Header, "Connection")...)
	values := make([]string, len(a.Header)) // one for each field, in place of a slice each
	for i, f := range a.Header {
		name := http.CanonicalHeaderKey(f.Name)
		if !wire.Travels(name, named) || forFrontEnds(name) || x.mode == pathMode && speaksForOrigin(name) {
			continue
		}
		values[i] = f.Value
		if h[name] == nil {
			h[name] = values[i : i+1 : i+1]
		} else {
			h[name] = append(h[name], f.Value)
		}
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // none was sent: net/http shall not guess one
	}
	if length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if x.mode == pathMode {
		for i, v := range h["Content-Type"] {
			if multipart(v) {
				h["Content-Type"][i] = "application/octet-stream"
			}
		}
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	}
	if a.Status >= 400 {
		h.Set(wire.HeaderError, wire.TargetStatus.String())
	}
	x.sent = true
	x.w.WriteHeader(a.Status)
}

// multipart reports whether a Content-Type's answer has parts with headers of
// their own, which browsers act on.
func multipart(contentType string) bool {
	const prefix = "multipart/"
	v := strings.TrimLeft(contentType, " \t")
	return len(v) >= len(prefix) && strings.EqualFold(v[:len(prefix)], prefix)
}

// lengthOf is the length of the whole body, or -1.
func lengthOf(a *wire.Answer) int64 {
	if a.Length >= 0 {
		return a.Length
	}
	if v := wire.Values(a.Header, "Content-Length"); len(v) == 1 {
		if n, err := strconv.ParseUint(v[0], 10, 63); err == nil {
			return int64(n)
		}
	}
	return -1
}

func tooLarge(limit int64) *wire.Error {
	return wire.Errorf(wire.BodyTooLarge, "the answer is longer than FARSCRAPE_MAX_BODY, %d bytes", limit)
}

// unread is the failure of a write to the scraper.
func unread(err error) *wire.Error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return wire.Errorf(wire.Deadline, "the scraper reads too slowly")
	}
	return wire.Errorf(wire.Canceled, "the scraper went away")
}

// abort breaks the connection off so that what was sent cannot be taken for the
// whole. HTTP/1.1 shows that by itself. An HTTP/1.0 answer without a length ends
// with the connection, so only a reset tells; nginx speaks 1.0 to its upstreams
// unless told otherwise.
func abort(w http.ResponseWriter, r *http.Request) {
	if r.ProtoAtLeast(1, 1) {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	inner := innermost(conn) // TLS would say that this was the end
	if tcp, ok := inner.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // close with a reset
	}
	_ = inner.Close()
}

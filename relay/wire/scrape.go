package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// A Request is REQUEST's payload: one GET of one declared target.
//
//	u32 time remaining, in milliseconds   u32 credit, in bytes
//	str link   str tenant   str agent   str target   str rest   str query
//	u16 count, then as many: str name, str value
//	extensions
//
// where str is a u16 length and so many bytes. Rest follows the path of a
// subtree target and is empty for any other; query is the raw query, without
// its question mark, byte for byte as it came.
type Request struct {
	Remaining time.Duration
	Credit    uint32
	Link      LinkID // which link the edge means; an owner checks it
	Tenant    string // an owner checks it against the link's
	Agent     string
	Target    string
	Rest      string // escaped, as it stood in the request line
	Query     string
	Header    []Field

	Extensions Extensions
}

// Append appends the encoded payload to b.
func (q *Request) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, milliseconds(q.Remaining))
	b = binary.BigEndian.AppendUint32(b, q.Credit)
	for _, s := range [...]string{string(q.Link), q.Tenant, q.Agent, q.Target, q.Rest, q.Query} {
		b = appendStr(b, s)
	}
	return append(appendFields(b, q.Header), q.Extensions...)
}

// Fits reports an error if the request is too large for a frame.
func (q *Request) Fits() error {
	if err := FitHeader(q.Header); err != nil {
		return err
	}
	size := 8 + 6*2 + len(q.Link) + len(q.Tenant) + len(q.Agent) + len(q.Target) + len(q.Rest) + len(q.Query) + 2 + len(q.Extensions)
	for _, f := range q.Header {
		size += 4 + len(f.Name) + len(f.Value)
	}
	if size > MaxPayload {
		return fmt.Errorf("request of %d bytes: %w", size, ErrTooLarge)
	}
	return nil
}

// ParseRequest decodes REQUEST's payload.
func ParseRequest(payload []byte) (*Request, error) {
	r := reader{b: payload}
	q := &Request{
		Remaining: time.Duration(r.u32()) * time.Millisecond,
		Credit:    r.u32(),
		Link:      LinkID(r.str()),
		Tenant:    r.str(),
		Agent:     r.str(),
		Target:    r.str(),
		Rest:      r.str(),
		Query:     r.str(),
		Header:    r.fields(),
	}
	q.Extensions = r.extensions()
	if q.Remaining > MaxTimeout {
		q.Remaining = MaxTimeout
	}
	return q, r.done("REQUEST")
}

// Knows is the highest reason that the edge knows.
func (q *Request) Knows() Reason {
	if known, ok := q.Extensions.Get(ExtensionReasons); ok && len(known) == 1 {
		return Reason(known[0])
	}
	return Canceled
}

// milliseconds rounds up, so that time that remains is never written as none.
func milliseconds(d time.Duration) uint32 {
	ms := (max(d, 0) + time.Millisecond - 1) / time.Millisecond
	return uint32(min(ms, math.MaxUint32))
}

// A Head is HEAD's payload: the target's answer up to its body.
//
//	u16 status   u16 count, then as many: str name, str value   extensions
//
// A Content-Length among the fields is the body's true length.
type Head struct {
	Status int // IsFinal
	Header []Field

	Extensions Extensions
}

// IsFinal reports whether a status can be a HEAD's: 1xx answers stay with the agent.
func IsFinal(status int) bool { return 200 <= status && status <= 599 }

// IsRedirect reports whether a client would go elsewhere for that status. No HEAD
// with one reaches a scraper: it would follow to another target of the same
// origin or, before prometheus/common 0.73, with its token anywhere.
func IsRedirect(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// Append appends the encoded payload to b.
func (h *Head) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(h.Status))
	return append(appendFields(b, h.Header), h.Extensions...)
}

// ParseHead decodes HEAD's payload.
func ParseHead(payload []byte) (*Head, error) {
	r := reader{b: payload}
	h := &Head{Status: int(r.u16()), Header: r.fields()}
	h.Extensions = r.extensions()
	if r.err == nil && !IsFinal(h.Status) {
		r.err = fmt.Errorf("status %d: %w", h.Status, ErrMalformed)
	}
	return h, r.done("HEAD")
}

// An End is END's payload: how a scrape ended at the agent.
//
//	u8 reason   str detail   u32 microseconds   extensions
type End struct {
	Failure *Error        // nil: OK, the whole body was sent
	Took    time.Duration // from REQUEST's arrival at the agent to its END

	Extensions Extensions
}

// Append appends the encoded payload to b.
func (e End) Append(b []byte) []byte {
	failure := e.Failure
	if failure == nil {
		failure = &Error{}
	}
	b = appendStr(append(b, byte(failure.Reason)), clip(failure.Detail))
	b = binary.BigEndian.AppendUint32(b, uint32(min(max(e.Took, 0).Microseconds(), math.MaxUint32)))
	return append(b, e.Extensions...)
}

// ParseEnd decodes END's payload. A reason that it does not know it takes for
// Internal.
func ParseEnd(payload []byte) (End, error) {
	r := reader{b: payload}
	reason, detail := Reason(r.u8()), clip(r.str())
	e := End{Took: time.Duration(r.u32()) * time.Microsecond, Extensions: r.extensions()}
	if reason != OK {
		e.Failure = knownReason(&Error{Reason: reason, Detail: detail})
	}
	return e, r.done("END")
}

// A Nack is NACK's payload: u8 reason, u8 elsewhere, str detail, extensions.
// Elsewhere is 0, 1 if another link may do better and the target was not asked, or 2 if another
// may do better and the target may have been.
type Nack struct {
	Error
	Elsewhere bool
	Asked     bool // only with Elsewhere

	Extensions Extensions
}

// Append appends the encoded payload to b.
func (n *Nack) Append(b []byte) []byte {
	var elsewhere byte
	switch {
	case n.Elsewhere && n.Asked:
		elsewhere = 2
	case n.Elsewhere:
		elsewhere = 1
	}
	return append(appendStr(append(b, byte(n.Reason), elsewhere), clip(n.Detail)), n.Extensions...)
}

// ParseNack decodes NACK's payload.
func ParseNack(payload []byte) (*Nack, error) {
	r := reader{b: payload}
	n := &Nack{Error: Error{Reason: Reason(r.u8())}}
	elsewhere := r.u8()
	n.Elsewhere, n.Asked = elsewhere != 0, elsewhere > 1
	n.Detail = clip(r.str())
	n.Extensions = r.extensions()
	if r.err == nil && n.Reason == OK {
		r.err = fmt.Errorf("reason ok: %w", ErrMalformed)
	}
	knownReason(&n.Error)
	return n, r.done("NACK")
}

func knownReason(e *Error) *Error {
	if int(e.Reason) >= len(reasons) {
		e.Detail = fmt.Sprintf("reason %d: %s", e.Reason, e.Detail)
		e.Reason = Internal
	}
	return e
}

func clip(s string) string {
	if len(s) > MaxDetail {
		return s[:MaxDetail]
	}
	return s
}

// AppendCredit appends CREDIT's payload: u32 bytes more.
func AppendCredit(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }

// ParseCredit decodes CREDIT's payload.
func ParseCredit(payload []byte) (uint32, error) {
	r := reader{b: payload}
	n := r.u32()
	return n, r.end("CREDIT")
}

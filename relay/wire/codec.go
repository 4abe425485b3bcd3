package wire

import (
	"encoding/binary"
	"fmt"
)

// A reader takes fixed-size numbers and length-prefixed strings off a payload.
// After the first failure it returns zero values; err tells.
type reader struct {
	b    []byte
	text string // of the end of the payload, b within it; empty before the first string
	err  error
}

func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b) {
		r.err = ErrTruncated
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// str reads a string: u16 length, then so many bytes. All strings of a payload
// are parts of one copy of it.
func (r *reader) str() string {
	n := int(r.u16())
	if n == 0 || n > len(r.b) {
		return string(r.take(n)) // empty, or truncated
	}
	if r.text == "" {
		r.text = string(r.b)
	}
	b := r.take(n)
	end := len(r.text) - len(r.b)
	return r.text[end-len(b) : end]
}

// end fails if anything is left, but for payloads that may grow at their end.
func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes too many: %w", len(r.b), ErrMalformed)
	}
	return r.done(what)
}

func (r *reader) done(what string) error {
	if r.err != nil {
		return fmt.Errorf("%s: %w", what, r.err)
	}
	return nil
}

// appendStr is str's other half. It panics past 65,535 bytes: callers keep to
// limits well below.
func appendStr(b []byte, s string) []byte {
	if len(s) > 1<<16-1 {
		panic(fmt.Sprintf("wire: string of %d bytes", len(s)))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

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

// A Field is one header field, as it came: names keep their case, values their
// bytes.
type Field struct {
	Name, Value string
}

// fields reads a header: u16 count, then name and value of each.
func (r *reader) fields() []Field {
	n := int(r.u16())
	if n > MaxHeaderFields {
		r.err = fmt.Errorf("%d header fields: %w", n, ErrTooLarge)
	}
	if r.err != nil || n == 0 {
		return nil
	}
	if 4*n > len(r.b) { // two lengths each: not even empty ones would fit
		r.err = ErrTruncated
		return nil
	}
	fields := make([]Field, 0, n)
	size := 0
	for range n {
		f := Field{Name: r.str(), Value: r.str()}
		if r.err == nil && !ValidField(f) {
			r.err = fmt.Errorf("header field %q: %w", f.Name, ErrMalformed)
		}
		if size += len(f.Name) + len(f.Value); size > MaxHeaderBytes {
			r.err = fmt.Errorf("header of %d bytes: %w", size, ErrTooLarge)
		}
		if r.err != nil {
			return nil
		}
		fields = append(fields, f)
	}
	return fields
}

func appendFields(b []byte, fields []Field) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(fields)))
	for _, f := range fields {
		b = appendStr(b, f.Name)
		b = appendStr(b, f.Value)
	}
	return b
}

// ValidField reports whether f is a header field as RFC 9110 has it: a token
// for its name, and no control character but the tab in its value. Nothing else
// may pass from a peer into an HTTP message.
func ValidField(f Field) bool {
	if f.Name == "" {
		return false
	}
	for i := range len(f.Name) {
		if !tokenByte(f.Name[i]) {
			return false
		}
	}
	for i := range len(f.Value) {
		if c := f.Value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func tokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

// EndToEnd reports whether an answer's field, by its canonical name, is known to
// speak of this answer and to whoever reads it: it is no connection's own, and
// nobody acts on it for more than the answer. All that a scraper needs is among
// them.
func EndToEnd(name string) bool {
	switch name {
	case "Accept-Ranges", "Age", "Allow", "Cache-Control", "Content-Encoding", "Content-Language", "Content-Length", "Content-Range",
		"Content-Type", "Date", "Etag", "Expires", "Last-Modified", "Pragma", "Retry-After", "Server", "Vary", "Warning":
		return true
	}
	return false
}

// FitHeader reports an error if fields are over the limits of a header.
func FitHeader(fields []Field) error {
	if len(fields) > MaxHeaderFields {
		return fmt.Errorf("%d header fields: %w", len(fields), ErrTooLarge)
	}
	size := 0
	for _, f := range fields {
		size += len(f.Name) + len(f.Value)
	}
	if size > MaxHeaderBytes {
		return fmt.Errorf("header of %d bytes: %w", size, ErrTooLarge)
	}
	return nil
}

package wire

import (
	"encoding/binary"
	"fmt"
	"net/textproto"
	"strings"
)

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

// Travels reports whether a header field, by its canonical name, goes on beyond the
// connection that it came by. Those of a connection do not (RFC 9110, 7.6.1, and
// what proxies have added to it), nor those that it says are its own, which are
// named; nor Host and Content-Length, which each hop says anew, nor ours.
func Travels(name string, named map[string]bool) bool {
	switch name {
	case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Host", "Content-Length":
		return false
	}
	return !named[name] && !strings.HasPrefix(name, "Proxy-") && !strings.HasPrefix(name, HeaderPrefix)
}

// NamedByConnection are the canonical names that values of Connection say are the
// connection's own.
func NamedByConnection(values ...string) map[string]bool {
	var named map[string]bool
	for _, list := range values {
		for name := range strings.SplitSeq(list, ",") {
			if named == nil {
				named = make(map[string]bool)
			}
			named[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return named
}

// Values are those of the fields of a canonical name.
func Values(fields []Field, name string) (values []string) {
	for _, f := range fields {
		if textproto.CanonicalMIMEHeaderKey(f.Name) == name {
			values = append(values, f.Value)
		}
	}
	return values
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

package wire

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A listReader reads a target list in the form that encoding/json gives it: all
// members in the order of [Target], and no space. So do replicas and agents write
// it, and it is read in a fifth of the time that encoding/json takes for any. It
// makes of it what that would make, or falls back: then the list is for encoding/json.
type listReader struct {
	rest   string   // what is yet to be read; nothing after it has fallen back
	odd    bool     // it has fallen back
	labels []string // names and values of one target; its memory is used again
	same   interned
}

// readList reads a list, and says whether it could.
func readList(list string) (targets []Target, ok bool) {
	const opening = `{"name":`
	r := listReader{rest: list, same: make(interned)}
	targets = make([]Target, 0, min(strings.Count(list, opening), MaxTargets))
	r.want("[")
	for more := true; more; more = r.has(",") {
		r.want(opening)
		targets = append(targets, r.target())
	}
	r.want("]")
	return targets, !r.odd && r.rest == ""
}

// target reads what follows the opening of a target.
func (r *listReader) target() (t Target) {
	t.Name = strings.Clone(r.text())
	if r.has(`,"scheme":`) {
		t.Scheme = r.same.string(r.text())
	}
	if r.has(`,"address":`) {
		t.Address = strings.Clone(r.text())
	}
	if r.has(`,"port":`) {
		t.Port = r.port()
	}
	if r.has(`,"path":`) {
		t.Path = r.same.string(r.text())
	}
	t.Subtree = r.has(`,"subtree":true`)
	if r.has(`,"labels":{`) {
		t.Labels = r.labelMap()
	}
	if r.has(`,"listed":`) {
		listed := r.has("true")
		if !listed {
			r.want("false")
		}
		t.Listed = &listed
	}
	r.want("}")
	return t
}

// labelMap reads what follows the opening of labels: one at least, and none twice.
func (r *listReader) labelMap() map[string]string {
	r.labels = r.labels[:0]
	for more := true; more; more = r.has(",") {
		name := r.text()
		r.want(":")
		r.labels = append(r.labels, name, r.text())
	}
	r.want("}")
	labels := make(map[string]string, len(r.labels)/2)
	for i := 0; i < len(r.labels); i += 2 {
		labels[r.same.string(r.labels[i])] = r.same.string(r.labels[i+1])
	}
	if len(labels) < len(r.labels)/2 {
		r.fallBack()
	}
	return labels
}

// port reads a number from 1 to 65535.
func (r *listReader) port() uint16 {
	digits := 0
	for digits < len(r.rest) && '0' <= r.rest[digits] && r.rest[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseUint(r.rest[:digits], 10, 16)
	if err != nil || r.rest[0] == '0' {
		r.fallBack()
		return 0
	}
	r.rest = r.rest[digits:]
	return uint16(n)
}

// text reads a string, which may share the memory of the list.
func (r *listReader) text() string {
	r.want(`"`)
	plain := true
	for i := 0; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '"':
			s := r.rest[:i]
			if !plain {
				s = r.unquote(s)
			}
			r.rest = r.rest[min(i+1, len(r.rest)):]
			return s
		case c == '\\':
			plain = false
			i++
		case c < ' ' || c >= utf8.RuneSelf:
			plain = false
		}
	}
	r.fallBack()
	return ""
}

// unquote has encoding/json read what is between the quotes of a string.
func (r *listReader) unquote(quoted string) (s string) {
	if err := json.Unmarshal([]byte(`"`+quoted+`"`), &s); err != nil {
		r.fallBack()
	}
	return s
}

// has reads a text, if it comes next.
func (r *listReader) has(text string) bool {
	rest, ok := strings.CutPrefix(r.rest, text)
	r.rest = rest
	return ok
}

// want reads a text that must come next.
func (r *listReader) want(text string) {
	if !r.has(text) {
		r.fallBack()
	}
}

func (r *listReader) fallBack() { r.rest, r.odd = "", true }

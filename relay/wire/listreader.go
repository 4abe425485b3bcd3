package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A listReader reads a target list, or a target, in the form that encoding/json gives
// it: all members in the order of [Target], and no space. So do replicas and agents write
// it, and it is read in a fifth of the time that encoding/json takes for any. It makes of
// it what that would make, or falls back: then it is for encoding/json.
type listReader struct {
	rest   string   // what is yet to be read; nothing after it has fallen back
	odd    bool     // it has fallen back
	labels []string // names and values of one target; its memory is used again
	same   interned
}

// ParseTargets decodes and checks a list that stands in JSON as one. Strings that
// come back share their memory.
func ParseTargets(list string) ([]Target, error) {
	targets, ok := readList(list)
	if !ok {
		var err error
		if targets, err = readAnyList(list); err != nil {
			return nil, err
		}
	}
	return targets, CheckTargets(targets)
}

// readAnyList reads a list of any form.
func readAnyList(list string) (targets []Target, err error) {
	if err := json.Unmarshal([]byte(list), &targets); err != nil {
		return nil, err
	}
	same := make(interned)
	for i := range targets {
		same.target(&targets[i])
	}
	return targets, nil
}

// opening is how a target begins.
const opening = `{"name":`

// readList reads a list, and says whether it could.
func readList(list string) (targets []Target, ok bool) {
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

// readLines reads targets that have a line each.
func readLines(text string) (targets []Target, lines []targetLine, err error) {
	n := min(strings.Count(text, "\n"), MaxTargets)
	targets, lines = make([]Target, 0, n), make([]targetLine, 0, n)
	same := make(interned)
	for line := range strings.Lines(text) {
		if len(targets) == MaxTargets {
			return nil, nil, fmt.Errorf("more than %d targets: %w", MaxTargets, ErrTooLarge)
		}
		if !strings.HasSuffix(line, "\n") {
			return nil, nil, fmt.Errorf("a line of a target list: %w", ErrTruncated)
		}
		r := listReader{rest: line, same: same}
		r.want(opening)
		t := r.target()
		if r.want("\n"); r.odd || r.rest != "" {
			t = Target{}
			if err := json.Unmarshal([]byte(line), &t); err != nil {
				return nil, nil, fmt.Errorf("a line of a target list: %w: %v", ErrMalformed, err)
			}
			same.target(&t)
		}
		targets, lines = append(targets, t), append(lines, lineOf(&t, []byte(line)))
	}
	return targets, lines, nil
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

// interned are the strings of a list that were met before.
type interned map[string]string

func (m interned) string(s string) string {
	if known, ok := m[s]; ok {
		return known
	}
	s = strings.Clone(s)
	m[s] = s
	return s
}

func (m interned) target(t *Target) {
	t.Scheme, t.Path = m.string(t.Scheme), m.string(t.Path)
	if len(t.Labels) == 0 {
		t.Labels = nil
		return
	}
	labels := make(map[string]string, len(t.Labels)) // no larger than it must be
	for name, value := range t.Labels {
		labels[m.string(name)] = m.string(value)
	}
	t.Labels = labels
}

package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unsafe"
)

// A TargetList is what an agent declares, as it is kept: checked, in the order of
// names, and never changed, so that any number may hold it. Nil is the list without
// targets.
//
// Encoded it is JSON Lines: each target as encoding/json has it, but for HTML, and a
// line feed.
type TargetList struct {
	targets []Target
	lines   []targetLine // of targets
	hash    ListHash
	bytes   int // encoded
	size    int // in memory
}

// A ListHash names a target list by what it has, whoever declares it: the first half
// of the SHA-256 of those of its lines.
type ListHash [sha256.Size / 2]byte

func (h ListHash) String() string { return hex.EncodeToString(h[:]) }

// Compare orders hashes.
func (h ListHash) Compare(other ListHash) int { return bytes.Compare(h[:], other[:]) }

// ParseListHash reads what String has written.
func ParseListHash(s string) (h ListHash, ok bool) {
	n, err := hex.Decode(h[:], []byte(s[:min(len(s), hex.EncodedLen(len(h)))]))
	return h, err == nil && n == len(h) && len(s) == hex.EncodedLen(n)
}

// A targetLine is what is known of a target without looking at it again.
type targetLine struct {
	sum   ListHash // of its line
	bytes int32    // of its line
	size  int32    // in memory
}

func lineOf(t *Target, text []byte) targetLine {
	return targetLine{halfSum(text), int32(len(text)), int32(t.size())}
}

func halfSum(b []byte) ListHash {
	sum := sha256.Sum256(b)
	return ListHash(sum[:len(ListHash{})])
}

// A lineEncoder encodes targets, each as a line.
type lineEncoder struct {
	bytes.Buffer
	json *json.Encoder
}

func newLineEncoder() *lineEncoder {
	e := new(lineEncoder)
	e.json = json.NewEncoder(e)
	e.json.SetEscapeHTML(false) // a list is no longer than the agent may have written it
	return e
}

// add appends a target's line.
func (e *lineEncoder) add(t *Target) {
	if err := e.json.Encode(t); err != nil {
		panic(fmt.Sprintf("wire: target: %v", err)) // a plain struct always marshals
	}
}

// NewTargetList makes a list of targets that are good (see [CheckTargets]), and keeps
// them.
func NewTargetList(targets []Target) *TargetList {
	if len(targets) == 0 {
		return nil
	}
	l := &TargetList{targets: targets}
	if !slices.IsSortedFunc(targets, byName) {
		l.targets = slices.SortedFunc(slices.Values(targets), byName)
	}
	l.lines = make([]targetLine, len(targets))
	line := newLineEncoder()
	for i := range l.targets {
		line.Reset()
		line.add(&l.targets[i])
		l.lines[i] = lineOf(&l.targets[i], line.Bytes())
	}
	return l.named()
}

func byName(a, b Target) int { return strings.Compare(a.Name, b.Name) }

// named gives a list its name, by its lines, and its sizes.
func (l *TargetList) named() *TargetList {
	if len(l.targets) == 0 {
		return nil
	}
	sums := make([]byte, 0, len(l.lines)*len(ListHash{}))
	for i := range l.lines {
		sums = append(sums, l.lines[i].sum[:]...)
		l.bytes += int(l.lines[i].bytes)
		l.size += int(l.lines[i].size)
	}
	l.hash = halfSum(sums)
	return l
}

// ParseTargetList decodes and checks what Encode has written. Strings share their memory.
func ParseTargetList(text string) (*TargetList, error) {
	targets, lines, err := readLines(text)
	if err != nil {
		return nil, err
	}
	return (&TargetList{targets: targets, lines: lines}).checked()
}

// checked is the list, if its targets are good and in their order, with its name.
func (l *TargetList) checked() (*TargetList, error) {
	if err := CheckTargets(l.targets); err != nil {
		return nil, err
	}
	if !slices.IsSortedFunc(l.targets, byName) {
		return nil, fmt.Errorf("a target list that is not in the order of names: %w", ErrMalformed)
	}
	return l.named(), nil
}

// add appends a target.
func (l *TargetList) add(t Target, line targetLine) {
	l.targets = append(l.targets, t)
	l.lines = append(l.lines, line)
}

// All are the targets, which nobody may change.
func (l *TargetList) All() []Target {
	if l == nil {
		return nil
	}
	return l.targets
}

// Len is how many targets there are.
func (l *TargetList) Len() int { return len(l.All()) }

// Hash names the list; zero without targets.
func (l *TargetList) Hash() ListHash {
	if l == nil {
		return ListHash{}
	}
	return l.hash
}

// Bytes is how long the list is, encoded.
func (l *TargetList) Bytes() int {
	if l == nil {
		return 0
	}
	return l.bytes
}

// Encode encodes the list.
func (l *TargetList) Encode() []byte {
	text := newLineEncoder()
	text.Grow(l.Bytes())
	for i := range l.All() {
		text.add(&l.targets[i])
	}
	return text.Bytes()
}

// Size estimates what the list takes in memory, in bytes, as if it shared no text with
// itself or another.
func (l *TargetList) Size() int {
	if l == nil {
		return 0
	}
	return l.size
}

func (t *Target) size() int {
	n := int(unsafe.Sizeof(*t)+unsafe.Sizeof(targetLine{})) + len(t.Name) + len(t.Address) + len(t.Path)
	if labels := len(t.Labels); labels > 8 {
		n += 64 * labels // a table of up to twice as many places, of 33 bytes
	} else if labels > 0 {
		n += 320 // one group of eight places
	}
	for name, value := range t.Labels {
		n += len(name) + len(value)
	}
	return n
}

// pairs walks two lists in the order of names. It gives the place of a name in each,
// -1 where it has none.
func pairs(a, b *TargetList) iter.Seq2[int, int] {
	return func(yield func(i, j int) bool) {
		for i, j := 0, 0; i < a.Len() || j < b.Len(); {
			order := 0
			switch {
			case i == a.Len():
				order = 1
			case j == b.Len():
				order = -1
			default:
				order = byName(a.targets[i], b.targets[j])
			}
			more := false
			switch {
			case order < 0:
				more = yield(i, -1)
				i++
			case order > 0:
				more = yield(-1, j)
				j++
			default:
				more = yield(i, j)
				i, j = i+1, j+1
			}
			if !more {
				return
			}
		}
	}
}

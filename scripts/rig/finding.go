package rig

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Finding is what a trial of a campaign came to, besides its figures.
type Finding struct {
	Misses []string // what was not reached
	Notes  []string // what was measured besides
	Took   time.Duration
}

// Miss tells of something that was not reached.
func (f *Finding) Miss(format string, args ...any) {
	f.Misses = append(f.Misses, fmt.Sprintf(format, args...))
}

// Note tells of something that was measured.
func (f *Finding) Note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

// OK reports whether nothing was missed.
func (f *Finding) OK() bool { return len(f.Misses) == 0 }

// Verdict is OK in a word.
func (f *Finding) Verdict() string {
	if f.OK() {
		return "ok"
	}
	return "FAIL"
}

// Print writes the notes and the misses of the trial of that name.
func (f *Finding) Print(w io.Writer, name string) {
	if len(f.Notes) > 0 {
		fmt.Fprintf(w, "%s: %s\n", name, strings.Join(f.Notes, "; "))
	}
	for _, m := range f.Misses {
		fmt.Fprintf(w, "%s: FAIL: %s\n", name, m)
	}
}

// ByFrequency are the keys of a count, the most frequent first.
func ByFrequency(count map[string]int) []string {
	return slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], cmp.Compare(a, b)) })
}

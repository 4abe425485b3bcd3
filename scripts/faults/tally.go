package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A tally is what a row tells of the scrapes.
type tally struct {
	tried, failed, wrong, late int
	reasons                    map[string]int
	longest                    time.Duration // the longest run of misses of one target
	first                      time.Duration // to the first success of a target that had missed; -1: none had
	most                       time.Duration // to where 99 % succeed and go on to; -1: never below
}

// within is the step in which 99 % are looked for.
const within = 500 * time.Millisecond

// tallyOf adds up results; times are from when the fault was relieved.
func tallyOf(results []result, relieved time.Time) tally {
	t := tally{reasons: make(map[string]int), first: -1, most: -1}
	for _, r := range results {
		t.tried++
		if !r.ok() {
			t.failed++
			t.reasons[r.reason]++
		}
		if r.wrong != "" {
			t.wrong++
		}
		if r.late {
			t.late++
		}
	}
	t.runs(results, relieved)
	t.settled(results, relieved)
	return t
}

// runs looks at each target by itself.
func (t *tally) runs(results []result, relieved time.Time) {
	byTarget := make(map[string][]result)
	for _, r := range results {
		k := r.job.agent + "/" + r.job.target.name + "/" + r.job.name
		byTarget[k] = append(byTarget[k], r)
	}
	for _, of := range byTarget {
		slices.SortFunc(of, func(a, b result) int { return a.start.Compare(b.start) })
		var missed time.Time // when the first of a run began
		for _, r := range of {
			switch {
			case !r.ok() && missed.IsZero():
				missed = r.start
			case r.ok() && !missed.IsZero():
				t.longest = max(t.longest, r.start.Sub(missed))
				missed = time.Time{}
				if after := r.end.Sub(relieved); r.start.After(relieved) && (t.first < 0 || after < t.first) {
					t.first = after
				}
			}
		}
		if !missed.IsZero() {
			t.longest = max(t.longest, of[len(of)-1].end.Sub(missed))
		}
	}
}

// settled finds the end of the last step after relieved in which not 99 % of
// the scrapes that began succeeded.
func (t *tally) settled(results []result, relieved time.Time) {
	type step struct{ tried, failed int }
	steps := make(map[int]step)
	for _, r := range results {
		if r.start.Before(relieved) {
			continue
		}
		n := int(r.start.Sub(relieved) / within)
		s := steps[n]
		s.tried++
		if !r.ok() {
			s.failed++
		}
		steps[n] = s
	}
	for n, s := range steps {
		if s.failed*100 > s.tried {
			t.most = max(t.most, time.Duration(n+1)*within)
		}
	}
}

// why lists the reasons, the most frequent first.
func (t *tally) why() string {
	all := rig.ByFrequency(t.reasons)
	for i, reason := range all {
		all[i] = fmt.Sprintf("%s %d", reason, t.reasons[reason])
	}
	return strings.Join(all, ", ")
}

// quantile is the duration below which that share of the good results lie.
func quantile(results []result, share float64) time.Duration {
	var all []time.Duration
	for _, r := range results {
		if r.ok() {
			all = append(all, r.took())
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(share*float64(len(all)-1))]
}

// only keeps the results that want takes.
func only(results []result, want func(*result) bool) []result {
	var kept []result
	for i := range results {
		if want(&results[i]) {
			kept = append(kept, results[i])
		}
	}
	return kept
}

// median is the middle one; of an even number the lower.
func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

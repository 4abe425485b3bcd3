package settings

import (
	"regexp"
	"slices"
	"strings"
)

// Unknown lists the variables of environ that start with our prefix and that
// neither a field of dst nor the other command reads, sorted, each with the name that was probably meant if one
// is near. A mistyped variable would else be a default, silently.
func Unknown(dst any, environ []string) []string {
	var known, unknown []string
	for _, v := range variables(dst) {
		known = append(known, v.name)
	}
	others := othersIn(dst, environ)
	// Kubernetes describes every Service to every container: one called
	// farscrape-relay gives FARSCRAPE_RELAY_SERVICE_HOST and such.
	service := regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?$`)
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, Prefix) || slices.Contains(known, name) || slices.Contains(others, name) || service.MatchString(name) {
			continue
		}
		if near := nearest(known, name); near != "" {
			name += " (did you mean " + near + "?)"
		}
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	return unknown
}

// nearest is the known name at most two slips of the pen away, or none.
func nearest(known []string, name string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(k, name); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters must be put in, left out or changed to make b of
// a (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

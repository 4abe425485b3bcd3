package wire_test

import (
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// TestPlacesAgreeWithMatchTarget holds discovery's rule and routing's together:
// over every set of three targets, the request that discovery makes for one finds
// that one, or discovery leaves it out.
func TestPlacesAgreeWithMatchTarget(t *testing.T) {
	var kinds []wire.Target
	for _, address := range []string{"", "Edge:80", "other:80"} {
		for _, path := range []string{"/a/", "/a/b", "/a/b/"} {
			for _, subtree := range []bool{false, true} {
				kinds = append(kinds, wire.Target{Port: 80, Address: address, Path: path, Subtree: subtree})
			}
		}
	}
	for _, a := range kinds {
		for _, b := range kinds {
			for _, c := range kinds {
				declared := []wire.Target{a, b, c}
				all := []*wire.Target{&declared[0], &declared[1], &declared[2]}
				places := wire.NewPlaces("edge", all)
				for _, want := range all {
					address := want.ProxyAddress("edge")
					got, _, err := wire.MatchTarget("edge", declared, address, want.Path)
					if finds := places.Finds(want, address); finds != (err == nil && got == want) {
						t.Fatalf("%+v of %+v: Finds says %t, MatchTarget %v, %v", want, declared, finds, got, err)
					}
				}
			}
		}
	}
}

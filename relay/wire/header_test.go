package wire

import (
	"slices"
	"strings"
	"testing"
)

func TestWhichFieldsTravel(t *testing.T) {
	named := NamedByConnection("close, x-hop", "X-Other")
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Proxy-Status",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Host", "Content-Length", HeaderError, HeaderToken, "X-Hop", "X-Other"} {
		if Travels(name, named) {
			t.Errorf("%s travels", name)
		}
	}
	for _, name := range []string{"Accept", "Authorization", "Content-Encoding", "Content-Type", "Set-Cookie", "X-Own", "Proxied"} {
		if !Travels(name, named) {
			t.Errorf("%s stays", name)
		}
	}
	if !Travels("X-Hop", NamedByConnection()) {
		t.Error("X-Hop stays, and no Connection names it")
	}
}

func TestValuesAreFoundWhateverTheCaseOfTheirName(t *testing.T) {
	fields := []Field{{"connection", "a"}, {"X", "b"}, {"CONNECTION", "c"}}
	if got := Values(fields, "Connection"); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("%q", got)
	}
}

func TestFitHeader(t *testing.T) {
	value := strings.Repeat("x", MaxHeaderBytes-1)
	for what, c := range map[string]struct {
		fields []Field
		fits   bool
	}{
		"as long as may be": {[]Field{{"A", value}}, true},
		"a byte more":       {[]Field{{"A", value + "x"}}, false},
		"as many as may be": {slices.Repeat([]Field{{"A", "b"}}, MaxHeaderFields), true},
		"one more":          {slices.Repeat([]Field{{"A", "b"}}, MaxHeaderFields+1), false},
	} {
		if err := FitHeader(c.fields); (err == nil) != c.fits {
			t.Errorf("%s: %v", what, err)
		}
	}
}

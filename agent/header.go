package agent

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	promconfig "github.com/prometheus/common/config"

	"github.com/farscrape/farscrape/relay/wire"
)

// namesLost reports whether r may have had a Connection that named more fields
// than close: net/http takes one with a close in it away. Which fields are the
// connection's own is then not known any more.
func namesLost(r *http.Response) bool {
	return r.Close && r.ProtoAtLeast(1, 1) && r.Header["Connection"] == nil
}

// requestHeader is what the target is asked with: of fields, whose memory it
// takes, those that travel on. What the target's own declaration sets wins.
func requestHeader(fields []wire.Field, own *promconfig.HTTPClientConfig) []wire.Field {
	for i := range fields {
		fields[i].Name = http.CanonicalHeaderKey(fields[i].Name)
	}
	named := wire.NamedByConnection(wire.Values(fields, "Connection")...)
	return slices.DeleteFunc(fields, func(f wire.Field) bool { return !wire.Travels(f.Name, named) || sets(own, f.Name) })
}

// sets tells whether a target's declaration sets the header field of that name.
func sets(own *promconfig.HTTPClientConfig, name string) bool {
	if name == "Authorization" && (own.Authorization != nil || own.BasicAuth != nil || own.OAuth2 != nil) {
		return true
	}
	if own.HTTPHeaders != nil {
		for declared := range own.HTTPHeaders.Headers {
			if http.CanonicalHeaderKey(declared) == name {
				return true
			}
		}
	}
	return false
}

// answerHead is HEAD's content for a target's answer.
func answerHead(r *http.Response) (wire.Head, *wire.Error) {
	if !wire.IsFinal(r.StatusCode) {
		return wire.Head{}, wire.Errorf(wire.TargetBadAnswer, "status %d", r.StatusCode)
	}
	h := wire.Head{Status: r.StatusCode, Header: make([]wire.Field, 0, len(r.Header)+1)}
	named := wire.NamedByConnection(r.Header["Connection"]...)
	unknown := namesLost(r)
	for name, values := range r.Header {
		if !wire.Travels(name, named) || unknown && !wire.EndToEnd(name) {
			continue
		}
		for _, value := range values {
			f := wire.Field{Name: name, Value: value}
			if !wire.ValidField(f) {
				return wire.Head{}, wire.Errorf(wire.TargetBadAnswer, "a header field that is none")
			}
			h.Header = append(h.Header, f)
		}
	}
	if r.ContentLength >= 0 {
		h.Header = append(h.Header, wire.Field{Name: "Content-Length", Value: strconv.FormatInt(r.ContentLength, 10)})
	}
	// Go gives them in no order; values of one name keep theirs.
	slices.SortStableFunc(h.Header, func(a, b wire.Field) int { return strings.Compare(a.Name, b.Name) })
	if err := wire.FitHeader(h.Header); err != nil {
		return wire.Head{}, wire.Errorf(wire.TargetBadAnswer, "%v", err)
	}
	return h, nil
}

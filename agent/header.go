package agent

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	promconfig "github.com/prometheus/common/config"

	"github.com/farscrape/farscrape/relay/wire"
)

// hopByHop are the header fields that belong to one connection (RFC 9110, 7.6.1,
// and what is known to be meant so).
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// passes tells whether a field of a header travels on: not those of the
// connection, nor those that Connection names, nor ours.
func passes(name string, named []string) bool {
	return !hopByHop[name] && !slices.Contains(named, name) && !strings.HasPrefix(name, wire.HeaderPrefix)
}

// namedByConnection are the fields that values of Connection say are the
// connection's.
func namedByConnection(values ...string) (named []string) {
	for _, list := range values {
		for name := range strings.SplitSeq(list, ",") {
			named = append(named, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	return named
}

// namesLost reports whether r may have had a Connection that named more fields
// than close: net/http takes one with a close in it away. Which fields are the
// connection's own is then not known any more.
func namesLost(r *http.Response) bool {
	return r.Close && r.ProtoAtLeast(1, 1) && r.Header["Connection"] == nil
}

// requestHeader is what the target is asked with: of fields, whose memory it
// takes, those that travel on. What the target's own declaration sets wins.
func requestHeader(fields []wire.Field, own *promconfig.HTTPClientConfig) []wire.Field {
	var named []string
	for i := range fields {
		f := &fields[i]
		f.Name = http.CanonicalHeaderKey(f.Name)
		if f.Name == "Connection" {
			named = append(named, namedByConnection(f.Value)...)
		}
	}
	return slices.DeleteFunc(fields, func(f wire.Field) bool {
		return !passes(f.Name, named) || f.Name == "Host" || f.Name == "Content-Length" || sets(own, f.Name)
	})
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
	if r.StatusCode < 200 || r.StatusCode > 599 {
		return wire.Head{}, wire.Errorf(wire.TargetBadAnswer, "status %d", r.StatusCode)
	}
	h := wire.Head{Status: r.StatusCode, Header: make([]wire.Field, 0, len(r.Header)+1)}
	named := namedByConnection(r.Header["Connection"]...)
	unknown := namesLost(r)
	for name, values := range r.Header {
		if !passes(name, named) || unknown && !wire.EndToEnd(name) || name == "Content-Length" {
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

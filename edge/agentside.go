package edge

import (
	"net/http"

	"github.com/farscrape/farscrape/relay/wire"
)

// An AgentSide serves agents.
type AgentSide struct {
	Connect http.HandlerFunc // wire.ConnectPath
	Join    http.HandlerFunc // wire.JoinPath
}

// serve serves what agents ask, and reports whether the request is that.
func (s *AgentSide) serve(e *Edge, w http.ResponseWriter, r *http.Request) bool {
	switch e.ownPath(r) {
	case wire.ConnectPath:
		upgrade(w, e.asClient(r), s.Connect)
	case wire.JoinPath:
		s.Join(w, e.asClient(r))
	default:
		return false
	}
	return true
}

// Agents serves what agents, and the load balancers before them, ask on a
// listener that Prometheus does not come by.
func (e *Edge) Agents(side *AgentSide) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if side.serve(e, w, r) {
			return
		}
		switch e.ownPath(r) {
		case "/-/healthy":
			e.Healthy(w, r)
		case "/-/ready":
			e.Ready(w, r)
		default:
			fail(w, ownPage, wire.Errorf(wire.AgentUnknown, "no page here: agents come by this port, and Prometheus by that of FARSCRAPE_EDGE_LISTEN"))
		}
	})
}

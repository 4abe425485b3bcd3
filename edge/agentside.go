package edge

import (
	"net/http"

	"github.com/farscrape/farscrape/relay/wire"
)

// Agents serves what agents, and the load balancers before them, ask on a
// listener that Prometheus does not come by. connect serves wire.ConnectPath.
func (e *Edge) Agents(connect http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch e.ownPath(r) {
		case wire.ConnectPath:
			upgrade(w, e.asClient(r), connect)
		case "/-/healthy":
			e.Healthy(w, r)
		case "/-/ready":
			e.Ready(w, r)
		default:
			fail(w, ownPage, wire.Errorf(wire.AgentUnknown, "no page here: agents come by this port, and Prometheus by that of FARSCRAPE_EDGE_LISTEN"))
		}
	})
}

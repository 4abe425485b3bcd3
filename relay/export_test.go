package relay

import "time"

// Tend looks at all links once, as the heartbeat does at now.
func (r *Relay) Tend(now time.Time) { r.links.Tend(now) }

// RoundTrips are those of all links, by their last ping.
func (r *Relay) RoundTrips() (all []time.Duration) {
	for _, l := range r.links.All() {
		all = append(all, l.RoundTrip())
	}
	return all
}

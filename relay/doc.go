// Package relay is the core of a replica. It composes what carries a scrape, from
// the edge that it came to over a link to an agent:
//
//	edge ─▶ Relay.Scrape ─▶ route ─▶ attempt ─┬──────────────▶ link ─▶ agent
//	                                          └─ bus ─▶ owner ─▶ link ─▶ agent
//
// A scrape has two ends. At the edge's, an attempt receives frames, grants credit
// for them and holds the answer back while it can still be tried again. At the
// owner's, a stream of the link stands for the request and passes the agent's
// frames to whoever asked: an attempt here, or another replica by the bus. Where
// one replica is both, the stream hands the frames to the attempt directly.
//
// Relay itself holds the owner's half of other replicas' scrapes, drains, balances
// links, and implements what the edge asks for. It knows no HTTP but the upgrade
// that opens a link, and the request to join, and no Redis: it declares the directory and the bus that it
// needs as interfaces. Below it the arrows run one way:
//
//	relay       → attempt, route, link, join, certificate, loglimit, recorder, tarpit, token, wire
//	attempt     → share, wire
//	route       → link, flight, share, wire
//	link        → certificate, loglimit, share, token, wire
//	join        → loglimit, share, token, wire
//	tarpit      → loglimit, share
//	loglimit    → share
//	recorder    → share, wire
//	share       → wire
//	certificate → certname, token, wire
//	certname    → wire
//	token       → wire
//	webconfig   → loglimit, settings
//	proxied     → loglimit
//	certtest    →
//	flight      →
//	settings    →
//	wire        →
package relay

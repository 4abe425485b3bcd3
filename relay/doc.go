// Package relay is the core of a replica: it holds links to agents, finds the
// link that a scrape needs, here or on another replica, and carries the scrape
// over it.
//
// A scrape has two ends. At the edge end an [exchange] receives one attempt's
// frames, grants credit for them and holds the answer back while it can still
// be tried again. At the owner end a [leg] stands for the request on its link
// and passes the agent's frames to whoever asked: an exchange here, or another
// replica by the bus. Where one replica is both, the leg hands the frames to
// the exchange directly.
//
//	Relay.Scrape ── route ──▶ exchange ◀─ frames ─ leg ◀─ link ◀─ agent
//	                              ╰──── bus ──────╯
//
// The package knows no HTTP but the upgrade that opens a link, and no Redis:
// it declares the directory and the bus that it needs as interfaces.
package relay

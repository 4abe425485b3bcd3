// Package wire is what every part of Farscrape says to every other: the frames
// that travel on a link and on the bus, the messages inside them, the reasons a
// scrape can fail for, the limits, and the values that describe agents and
// targets.
//
// One frame format serves both hops. An agent and a replica exchange frames in
// WebSocket messages; replicas exchange the same frames in [Envelope]s over the
// bus, and the replica in the middle forwards them as they are. PROTOCOL.md,
// beside this file, is the whole of it for someone who writes an agent in
// another language.
//
// Everything here decodes hostile bytes: a length is checked before anything is
// allocated for it, and no input panics. The package imports the standard
// library only, and nothing else of Farscrape.
package wire

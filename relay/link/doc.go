// Package link holds a replica's links to agents: WebSockets that agents have
// dialled, from the upgrade to the close.
//
// A [Link] carries requests to its agent and hands the frames that answer each to
// whoever asked: its [wire.Receiver], which it does not know. A request on its way
// is a stream; streams share the link, and none holds up another. [Links] are all
// links of a replica, what bounds them, and the heartbeat that keeps them alive.
package link

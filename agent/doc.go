// Package agent is the process in the private network. It dials out to replicas
// of a relay, keeps a link to as many of them as it should, tells them its
// targets, and answers their scrapes by asking those targets over HTTP: nothing
// else, ever.
//
// Follow one scrape: a REQUEST frame comes off the socket in [link.read], is
// admitted by the limiter in [link.serve], becomes an HTTP request in fetch.go that
// goes out by the target's transport (transport.go), and its answer leaves as HEAD,
// DATA and END through the link's one writer, never faster than the credit the edge
// has given (credit.go).
//
// Follow the links: [connector.run] decides when to dial and what to do with a link
// that drains or ends; link.go is the life of one.
package agent

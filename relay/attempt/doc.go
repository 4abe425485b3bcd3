// Package attempt carries a scrape at the edge's end: an [attempt] sends the request
// over one link, receives the frames that answer it, grants credit for them, and
// holds the answer back while the scrape could still be tried over another link.
//
// The link is held here or by another replica; either is a [Hop]. What is on its
// way of an answer is bounded by its [window], which borrows from a pool that all
// answers share.
package attempt

package wire

import (
	"io"
	"time"
)

// A Scrape is one request of an edge, authenticated, before it is known which
// target it means. In path mode Agent, Target and Rest say it; in proxy mode
// Host and Path.
type Scrape struct {
	Tenant string
	Allow  string // the pattern of agents that the credential may scrape; empty: all
	Agent  string
	Target string
	Rest   string // escaped, without a leading slash
	Host   string // proxy mode: host:port, in lower case; empty in path mode
	Path   string // proxy mode: the escaped path
	Query  string // raw, without its question mark
	Header []Field
}

// Proxy reports whether the scrape is a proxy-mode one.
func (s *Scrape) Proxy() bool { return s.Host != "" }

// An Answer is what a target said. Body must be closed. If Whole, all of it is
// here and the scrape has succeeded; else Body may still fail, with an *Error,
// and what was delivered must then be shown to be broken.
type Answer struct {
	Head
	Whole  bool
	Length int64 // of the body in bytes; -1 if it is not known yet
	Body   io.ReadCloser
	// AgentTook says, once Body is at its end, how long the agent had the
	// scrape, the target's time included; 0 if it is not known.
	AgentTook func() time.Duration
	Route     string // local or bus; empty beside an error before there was one
	Agent     string // as resolved, for logs
	Target    string
}

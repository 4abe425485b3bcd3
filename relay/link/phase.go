package link

// A phase is where a link is in its life. It only ever moves on.
type phase uint8

const (
	joining phase = iota // not welcomed yet
	serving              // takes requests
	leaving              // takes no more: it closes after the last stream
	closed               // the connection is closed, or about to be
)

// advanceLocked moves the link on, and reports whether it was not there yet.
func (l *Link) advanceLocked(to phase) bool {
	if to <= l.phase {
		return false
	}
	l.phase = to
	return true
}

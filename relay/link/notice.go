package link

import "github.com/farscrape/farscrape/relay/wire"

// Notice tells the agent which of its addresses are not granted, if it has not been
// told so last.
func (l *Link) Notice(n wire.Notice) {
	l.mu.Lock()
	if l.phase == joining || l.noticed == "" && len(n.Refused) == 0 { // as are most, with every listing
		l.mu.Unlock()
		return
	}
	payload := wire.MarshalControl(n)
	if l.noticed == string(payload) {
		l.mu.Unlock()
		return
	}
	l.noticed = string(payload)
	l.sendLocked(wire.Frame{Type: wire.TypeNotice, Payload: payload})
	l.mu.Unlock()
	if len(n.Refused) > 0 {
		first := n.Refused[0]
		l.log.Warn("addresses of the agent are not granted in proxy mode", "count", len(n.Refused)+n.More,
			"target", first.Target, "address", first.Address, "why", first.Why)
	}
}

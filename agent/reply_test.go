package agent

import (
	"github.com/farscrape/farscrape/relay/wire"
)

// A reply is all that an agent said to one request.
type reply struct {
	head  *wire.Head
	body  []byte
	acks  int
	end   *wire.Error // nil: whole
	nack  *wire.Nack
	datas int
}

// reason is how it ended.
func (r *reply) reason() wire.Reason {
	switch {
	case r.nack != nil:
		return r.nack.Reason
	case r.end != nil:
		return r.end.Reason
	}
	return wire.OK
}

func (r *reply) detail() string {
	switch {
	case r.nack != nil:
		return r.nack.Detail
	case r.end != nil:
		return r.end.Detail
	}
	return ""
}

func (r *reply) header(name string) string {
	for _, f := range r.head.Header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// reply is the answer to the scrape id, up to its END or NACK.
func (l *fakeLink) reply(id wire.ScrapeID) *reply {
	l.t.Helper()
	r := new(reply)
	for {
		f, ok := l.next()
		if !ok {
			l.t.Fatalf("the agent closed the link: %v", l.err)
		}
		if f.Scrape != id || f.Attempt != 1 {
			l.t.Fatalf("%v of scrape %v, attempt %d, within the answer to %v", f.Type, f.Scrape, f.Attempt, id)
		}
		var err error
		switch f.Type {
		case wire.TypeAck:
			r.acks++
		case wire.TypeHead:
			if r.head != nil {
				l.t.Fatal("two HEADs")
			}
			r.head, err = wire.ParseHead(f.Payload)
		case wire.TypeData:
			if r.head == nil {
				l.t.Fatal("DATA before HEAD")
			}
			r.datas++
			r.body = append(r.body, f.Payload...)
		case wire.TypeEnd:
			var end wire.End
			end, err = wire.ParseEnd(f.Payload)
			r.end = end.Failure
		case wire.TypeNack:
			r.nack, err = wire.ParseNack(f.Payload)
		default:
			l.t.Fatalf("unexpected %v", f.Type)
		}
		if err != nil {
			l.t.Fatal(err)
		}
		if f.Type == wire.TypeEnd || f.Type == wire.TypeNack {
			return r
		}
	}
}

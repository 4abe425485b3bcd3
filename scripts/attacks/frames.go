package main

import (
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// reply is a frame that belongs to a request's scrape.
func reply(request wire.Frame, is wire.Type, payload []byte) wire.Frame {
	return wire.Frame{Type: is, Attempt: request.Attempt, Scrape: request.Scrape, Payload: payload}
}

// head is a HEAD with those fields, Name: value.
func head(request wire.Frame, status int, fields ...string) wire.Frame {
	h := wire.Head{Status: status, Header: []wire.Field{{Name: "Content-Type", Value: "text/plain"}}}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Header = append(h.Header, wire.Field{Name: name, Value: value})
	}
	return reply(request, wire.TypeHead, h.Append(nil))
}

func end(request wire.Frame) wire.Frame { return reply(request, wire.TypeEnd, wire.End{}.Append(nil)) }

func nack(request wire.Frame, reason wire.Reason) wire.Frame {
	return reply(request, wire.TypeNack, (&wire.Nack{Error: wire.Error{Reason: reason, Detail: "says the agent"}}).Append(nil))
}

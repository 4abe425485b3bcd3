package link

import "github.com/farscrape/farscrape/relay/wire"

// agentWord is an agent's END or NACK as it goes on to whoever asked: one that
// does not decode, or comes out of place, or gives a reason that is not an
// agent's to give, becomes an END that says so. It is looked at where the link
// is held: over the bus come NACKs of the link's owner, too, which may say more.
func agentWord(f wire.Frame, headed bool, knows wire.Reason) wire.Frame {
	failure := breach(f, headed)
	if failure == nil {
		return f
	}
	return protocolEnd(f.Key(), knows, failure)
}

// breach is what is wrong with an agent's END or NACK; nil if nothing is.
func breach(f wire.Frame, headed bool) *wire.Error {
	if f.Type == wire.TypeEnd {
		e, err := wire.ParseEnd(f.Payload)
		switch {
		case err != nil:
			return wire.Errorf(wire.AgentProtocol, "%v", err)
		case e.Failure == nil && !headed:
			return wire.Errorf(wire.AgentProtocol, "END without HEAD")
		case e.Failure != nil && !e.Failure.Reason.FromAgent():
			return notItsToGive(e.Failure)
		}
		return nil
	}
	n, err := wire.ParseNack(f.Payload)
	switch {
	case err != nil:
		return wire.Errorf(wire.AgentProtocol, "%v", err)
	case headed:
		return wire.Errorf(wire.AgentProtocol, "NACK after HEAD: %s", n.Error.Error())
	case !n.Reason.FromAgent() || n.Reason == wire.Canceled: // which ends what has begun
		return notItsToGive(&n.Error)
	}
	return nil
}

func notItsToGive(said *wire.Error) *wire.Error {
	return wire.Errorf(wire.AgentProtocol, "the agent says what is not its to say: %s", said.Error())
}

// protocolEnd is the END of a scrape whose agent broke the protocol.
func protocolEnd(k wire.AttemptKey, knows wire.Reason, failure *wire.Error) wire.Frame {
	failure.Reason = failure.Reason.For(knows)
	return k.Frame(wire.TypeEnd, wire.End{Failure: failure}.Append(nil))
}

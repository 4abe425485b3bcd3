package store

import (
	"context"
	"log/slog"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// incoming is what is known of those who write to this replica's inbox, whichever
// subscription it comes by.
type incoming struct {
	from       peers
	seals      checker
	asked      time.Time // when the replicas were last counted for a stranger
	unbelieved occasion
	restarts   occasion
}

// message takes an envelope.
func (r *receiver) message(ctx context.Context, b []byte) {
	s := r.redis
	e, err := wire.ParseEnvelope(b)
	if err != nil {
		s.metrics.malformed.Inc()
		s.log.Debug("message on the bus is no envelope", "err", err)
		return
	}
	if err := r.doubt(ctx, e, b); err != nil {
		r.refuse(e, err)
		return
	}
	switch e.Kind {
	case wire.EnvelopeProbe:
		if e.Stream == r.session && e.From == s.config.Replica {
			r.probe(e.Seq)
		}
	case wire.EnvelopeNudge:
		for _, link := range splitLinks(e.Frames) {
			s.entries.rewriteLink(link)
		}
	case wire.EnvelopeFrames:
		r.frames(e)
	}
}

// doubt says why an envelope is not to be believed.
func (r *receiver) doubt(ctx context.Context, e *wire.Envelope, b []byte) error {
	s := r.redis
	switch {
	case e.Seal.Key == nil && (r.from.seals(e.From) || s.needsSeal(e.From) && !r.isOlder(ctx, e.From)):
		return errUnsealed
	case e.Seal.Key == nil:
		return nil
	case s.config.Keys == nil:
		return errUnknownKey
	}
	r.seals.use(s.config.Keys(), time.Now())
	return r.seals.check(e, b)
}

// askEvery is how often a stranger has the replicas counted: whoever may publish can
// be one, and the inbox waits.
const askEvery = time.Second

// recountTimeout bounds a count that the inbox waits for.
const recountTimeout = 100 * time.Millisecond

// isOlder reports whether a replica that does not seal has come since the last count.
// Else the first scrape through it would be lost.
func (r *receiver) isOlder(ctx context.Context, id wire.ReplicaID) bool {
	s := r.redis
	if s.config.SealedOnly || s.roster.knows(id) || time.Since(r.asked) < askEvery {
		return false
	}
	r.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, recountTimeout)
	defer cancel()
	_ = s.recount(ctx) // else nothing more is known of it
	return !s.needsSeal(id)
}

// disbelief is the metric's label, by what is wrong.
var disbelief = map[error]string{errUnsealed: "unsealed", errUnknownKey: "unknown_key", errBadSeal: "bad_seal"}

// refuse counts an envelope that is not believed.
func (r *receiver) refuse(e *wire.Envelope, why error) {
	s := r.redis
	s.metrics.refused.WithLabelValues(disbelief[why]).Inc()
	r.unbelieved.warn(s.log, "what came over the bus is not believed", "from", e.From, "err", why)
}

// frames takes an envelope of frames.
func (r *receiver) frames(e *wire.Envelope) {
	s := r.redis
	if e.Seal.Key != nil && !r.from.seals(e.From) {
		s.roster.sealed(e.From)
	}
	gap, deliver, anew := r.from.accept(e, time.Now(), &s.timing)
	if anew {
		s.metrics.restarts.Inc()
		r.restarts.warn(s.log, "all that came from a replica was out of place; it is believed anew", "from", e.From, "envelopes", staleEnvelopes, "within", s.timing.stale)
	}
	if gap {
		s.metrics.gaps.Inc()
		r.events.Gap(e.From)
	}
	if deliver {
		s.metrics.framesIn.Add(float64(countFrames(e.Frames)))
		s.metrics.bytesIn.Add(float64(len(e.Frames)))
		r.events.Frames(e.From, e.Frames)
	}
}

// An occasion for a line in the log, which others may cause as often as they like.
// The zero value is new.
type occasion struct {
	last time.Time
	left int // out since
}

// occasionEvery is how often one is told.
const occasionEvery = 10 * time.Second

func (o *occasion) warn(log *slog.Logger, text string, attrs ...any) {
	now := time.Now()
	if !o.last.IsZero() && now.Sub(o.last) < occasionEvery {
		o.left++
		return
	}
	if o.left > 0 {
		attrs = append(attrs, "left_out", o.left)
	}
	log.Warn(text, attrs...)
	o.last, o.left = now, 0
}

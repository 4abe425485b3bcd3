package agent

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A refusal is a replica's answer to a dial that is not an upgrade.
type refusal struct {
	status     int
	reason     string        // its Farscrape-Error, if it is one of ours
	text       string        // what it says, for a person
	retryAfter time.Duration // within what it wants us back; 0: it does not say
}

func refusalOf(r *http.Response) *refusal {
	text, _ := io.ReadAll(io.LimitReader(r.Body, wire.MaxDetail)) // the library has read it
	refused := &refusal{
		status: r.StatusCode,
		reason: printable(r.Header.Get(wire.HeaderError)),
		text:   strings.TrimSpace(printable(strings.TrimSpace(string(text)))),
	}
	if seconds, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && seconds > 0 {
		refused.retryAfter = time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
	}
	return refused
}

func (r *refusal) Error() string {
	s := fmt.Sprintf("refused with status %d", r.status)
	for _, part := range []string{r.reason, r.text} {
		if part != "" {
			s += ": " + part
		}
	}
	return s
}

// held reports that the replica is held already: not a failure, and the next
// dial may meet another.
func (r *refusal) held() bool { return r.status == http.StatusConflict }

// mend is what a person can do about it.
func (r *refusal) mend() string {
	switch r.status {
	case http.StatusBadRequest:
		return "the relay does not take this agent's name: set FARSCRAPE_NAME to a DNS name"
	case http.StatusUpgradeRequired:
		return "the relay speaks another version: update this agent"
	case http.StatusUnauthorized:
		return "the token is wrong, revoked or expired: set FARSCRAPE_TOKEN to a new one from farscrape-relay token -agent NAME"
	case http.StatusForbidden:
		return "the token does not allow this agent's name: set FARSCRAPE_NAME to one that it does, or use a token for this one"
	case http.StatusNotFound:
		return "no relay at that URL: check FARSCRAPE_RELAY_URL and its path prefix"
	case http.StatusServiceUnavailable:
		return "the replica drains or is overloaded: this agent comes back by itself"
	}
	if r.status < 400 && r.reason == "" {
		return "something answers there that is no relay, or does not pass WebSockets on: check FARSCRAPE_RELAY_URL and the load balancer"
	}
	if r.reason == "" {
		return "something in front of the relay refuses: does it pass WebSockets on?"
	}
	return "this agent tries again"
}

// logDial says what happened to a dial, as loud as it matters.
func logDial(log *slog.Logger, err error, wait time.Duration) {
	refused, ok := err.(*refusal)
	switch {
	case !ok:
		log.Warn("no link", "error", err, "retry_in", wait.Round(time.Millisecond))
	case refused.held():
		log.Debug("met a replica that is held already", "retry_in", wait.Round(time.Millisecond))
	default:
		log.Warn("no link", "error", refused, "mend", refused.mend(), "retry_in", wait.Round(time.Millisecond))
	}
}

// logLost says why a link ended, with what the replica has told, and what a person
// can do about it.
func logLost(log *slog.Logger, cause wire.Cause, told string, age time.Duration) {
	log = log.With("cause", cause, "age", age.Round(time.Second))
	switch cause {
	case wire.CauseDrained:
		log.Info("link closed")
	case wire.CauseSuperseded, wire.CauseNameTaken:
		log.Error("another agent holds this name; this one comes back in a minute or two",
			"mend", "stop one of them, set another FARSCRAPE_NAME, or FARSCRAPE_SHARED=true on both")
	case wire.CauseRevoked:
		log.Error("the token was revoked or has expired", "mend", "set FARSCRAPE_TOKEN to a new one")
	case wire.CauseRefused:
		if told == "" { // by an older relay
			log.Error("the relay did not take the targets", "mend", "its log says why")
			return
		}
		log.Error("the relay did not take the targets", "error", told,
			"mend", "declare what it takes; a limit is the relay's setting of that name")
	default:
		log.Warn("link lost")
	}
}

package agent

import (
	"errors"
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
	refused.text = strings.TrimPrefix(refused.text, refused.reason+": ") // an edge says it in both places
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

// mendRefusal is what a person can do about a replica's answer.
func (c *Config) mendRefusal(r *refusal) string {
	ours := r.reason != ""
	switch {
	case !ours && r.status == http.StatusBadRequest && !c.overTLS():
		return "that is no relay's answer: if the port takes TLS, FARSCRAPE_RELAY_URL must start with https://"
	case !ours && r.status == http.StatusProxyAuthRequired:
		return "the proxy of HTTP_PROXY wants a name and a password: write them into it, http://user:password@host:port"
	case !ours && r.status < 400:
		return "something answers there that is no relay, or does not pass WebSockets on: check FARSCRAPE_RELAY_URL and the load balancer"
	case r.status == http.StatusNotFound:
		return "no relay takes agents at that URL: check FARSCRAPE_RELAY_URL's host, port and path prefix, where the relay's FARSCRAPE_LISTEN is reached, not its FARSCRAPE_EDGE_LISTEN"
	case !ours:
		return "something in front of the relay refuses: does it pass WebSockets on? Check FARSCRAPE_RELAY_URL"
	}
	switch r.status {
	case http.StatusBadRequest:
		return "the relay does not take this agent's name: set FARSCRAPE_NAME to a DNS name"
	case http.StatusUpgradeRequired:
		return "the relay speaks another version: update this agent"
	case http.StatusUnauthorized:
		return "set " + c.tokenSetting() + " to a new token, from farscrape-relay token -agent NAME with the relay's first key"
	case http.StatusForbidden:
		return "the token does not allow this agent's name: set FARSCRAPE_NAME to one that it does, or " + c.tokenSetting() + " to a token for this name"
	case http.StatusServiceUnavailable:
		return "the replica drains or is overloaded: this agent comes back by itself"
	}
	return "this agent tries again"
}

// logDial says what happened to a dial, as loud as it matters.
func (c *Config) logDial(log *slog.Logger, err error, wait time.Duration) {
	wait = wait.Round(time.Millisecond)
	refused, answered := errors.AsType[*refusal](err)
	failed, _ := errors.AsType[*dialFailure](err)
	switch {
	case answered && refused.held():
		log.Debug("met a replica that is held already", "retry_in", wait)
	case answered:
		log.Warn("no link", "error", err, "mend", c.mendRefusal(refused), "retry_in", wait)
	case failed != nil:
		log.Warn("no link", "error", err, "mend", c.mend(failed), "retry_in", wait)
	default: // a setting, which it names
		log.Warn("no link", "error", err, "retry_in", wait)
	}
}

// logLost says why a link ended, with what the replica has told, and what a person
// can do about it.
func (c *Config) logLost(log *slog.Logger, cause wire.Cause, told string, age time.Duration) {
	log = log.With("cause", cause, "age", age.Round(time.Second))
	switch cause {
	case wire.CauseDrained:
		log.Info("link closed")
	case wire.CauseSuperseded, wire.CauseNameTaken:
		log.Error("another agent holds this name; this one tries again, at first within 20 s, later each minute or two",
			"mend", "stop one of them, set another FARSCRAPE_NAME, or FARSCRAPE_SHARED=true on both")
	case wire.CauseRevoked:
		log.Error("the token was revoked or has expired", "mend", "set "+c.tokenSetting()+" to a new one")
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

package join

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/farscrape/farscrape/relay/loglimit"
	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A refusal answers who does not join. It is told to a person, and holds no secret.
type refusal struct {
	reason wire.Reason
	err    error         // why the credential is refused, if it is that, or what the store says; for the log
	within time.Duration // come back within; 0: to ask again is no use
	text   string
}

func (r *refusal) Error() string { return r.text }

// mint is the mend of a join token that is not taken.
const mint = "farscrape-relay token -join NAME makes one"

var crowded = &refusal{reason: wire.Overloaded, within: time.Second, text: "as many are joining as may at a time"}

// refusalOf is the store's word to who asks for a name.
func refusalOf(err error, name string) *refusal {
	early := new(wire.JoinEarlyError)
	switch {
	case errors.As(err, &early) && early.By <= token.ClockSkew:
		return &refusal{reason: wire.BusUnavailable, within: early.By, text: err.Error() + ": it is taken once that has passed"}
	case errors.As(err, &early):
		return &refusal{reason: wire.Forbidden, text: fmt.Sprintf("%v: set the clock there, and mint another", err)}
	case errors.Is(err, wire.ErrJoinsUsedUp):
		return &refusal{reason: wire.Forbidden, text: "the join token is used up: as many have joined by it as may (-uses): " + mint}
	case errors.Is(err, wire.ErrJoinOld):
		return &refusal{reason: wire.Forbidden, text: "the join token is older than what the relay's store remembers: its Redis was emptied since, or it has none and was started again, so nobody knows how often the token was used: " + mint}
	case errors.Is(err, wire.ErrJoinRenamed):
		return &refusal{reason: wire.Forbidden, text: "this host has joined by the token under another name: set FARSCRAPE_NAME to that, or remove the file called join from its FARSCRAPE_STATE_DIR to join as another"}
	case errors.As(err, new(*wire.NameJoinedError)):
		return &refusal{reason: wire.Forbidden, text: fmt.Sprintf("another host has joined as %[1]q: set FARSCRAPE_NAME to another name, or, if this one takes its place, farscrape-relay revoke -agent %[1]s, and join by a token that is made after that", name)}
	case errors.Is(err, wire.ErrNameInUse):
		return &refusal{reason: wire.Forbidden, text: fmt.Sprintf("there is an agent called %[1]q, which has a token: set FARSCRAPE_NAME to another name, or, if this one takes its place, farscrape-relay revoke -agent %[1]s, have it forgotten by DELETE /api/v1/agents/%[1]s, and join by a token that is made after that", name)}
	}
	return &refusal{reason: wire.BusUnavailable, err: err, within: 2 * time.Second, text: "the relay's store cannot count who joins now"}
}

// refuse answers who does not join, and tells of it.
func (j *Joins) refuse(w http.ResponseWriter, req *http.Request, c token.Claims, r *refusal) {
	if r.reason == wire.Unauthorized {
		j.HoldRefused(req.Context(), req.RemoteAddr)
	}
	if cause := token.CauseOf(r.err); cause != token.None {
		j.CountRefused(token.Join, cause)
	}
	result, level := resultRefused, slog.LevelInfo
	if r.within > 0 {
		result, level = resultUnavailable, slog.LevelDebug
	}
	j.results.WithLabelValues(result).Inc()
	who := share.Member{Tenant: c.Tenant, Name: c.ID}
	if c.ID == "" {
		who = loglimit.Stranger(req.RemoteAddr)
	}
	j.Lines.Of(who).Log(req.Context(), level, "join refused", "reason", r.reason, "detail", r.text, "err", r.err, "join_token_id", c.ID, "remote_addr", req.RemoteAddr)
	if req.ContentLength != 0 { // the server waits for what is left of the body
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(unread))
	}
	h := w.Header()
	h.Set(wire.HeaderError, r.reason.String())
	if r.within > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.within+time.Second-1)/time.Second)))
	}
	switch r.reason {
	case wire.Unauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="farscrape"`)
	case wire.Method:
		h.Set("Allow", http.MethodPost)
	}
	http.Error(w, r.text, r.reason.Status())
}

// What came of a request to join, for the metric.
const (
	resultJoined      = "joined"
	resultAgain       = "again"       // it had joined before
	resultRefused     = "refused"     // for good
	resultUnavailable = "unavailable" // for now
)

func newResults(r prometheus.Registerer) *prometheus.CounterVec {
	results := promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		Name: "farscrape_relay_joins_total",
		Help: "Requests to join by a join token, by what came of them: joined, again (who has joined before), refused, unavailable (to be asked again).",
	}, []string{"result"})
	for _, result := range []string{resultJoined, resultAgain, resultRefused, resultUnavailable} {
		results.WithLabelValues(result)
	}
	return results
}

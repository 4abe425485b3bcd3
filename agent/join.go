package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
)

// Join sees that the agent has a token of its own: it redeems a join token, given or
// from FARSCRAPE_JOIN_TOKEN_FILE, and keeps what it gets in the state folder, where the
// configuration that it returns finds it. An agent that has such a token needs no join
// token any more, and who sets another token joins nothing. It asks until it is answered
// or ctx ends. Whether a token has ended the relay judges: where that is so by this host's
// clock alone, and no other is to be had, the agent goes on with it.
func Join(ctx context.Context, c Config, o Options, given string) (Config, error) {
	if c.Token != "" || c.TokenFile != "" {
		if given != "" || c.JoinToken != "" {
			return c, fmt.Errorf("%s is set, and so is a join token, which is for an agent without a token: unset one", c.tokenSetting())
		}
		return c, nil
	}
	state := joinState{dir: c.StateDir}
	kept, err := state.kept()
	if err == nil && kept != nil {
		err = state.isOf(c.Name, kept.Name)
	}
	if err != nil {
		return c, err
	}
	fromFile := given == "" && !kept.lasts(time.Now()) && c.JoinToken != ""
	if fromFile {
		text, err := settings.Secret("", c.JoinToken, "JOIN_TOKEN")
		if err != nil && kept == nil {
			return c, err
		}
		given = string(text)
	}
	if given != "" {
		err := redeem(ctx, c, o, given, state)
		if err != nil && (kept == nil || !fromFile || ctx.Err() != nil) {
			return c, fmt.Errorf("join: %w", err)
		}
		if err != nil && o.Logger != nil {
			o.Logger.Warn("the agent's token has ended by this host's clock, and it cannot join anew: it goes on with what it has", "err", err)
		}
	}
	if kept != nil || given != "" {
		c.TokenFile = state.token()
	}
	return c, nil
}

func redeem(ctx context.Context, c Config, o Options, token string, state joinState) error {
	j, err := newJoiner(c, o, token)
	if err != nil {
		return err
	}
	return j.join(ctx, state)
}

// HasJoined reports whether the agent has joined before and needs no join token.
func HasJoined(c Config) bool {
	kept, err := joinState{dir: c.StateDir}.kept()
	return err == nil && kept.lasts(time.Now())
}

// A joiner redeems a join token.
type joiner struct {
	config *Config
	client *http.Client
	url    string
	token  string
	name   string // that it wants; empty: the one that it has joined by, or the host's
	host   func() (string, error)
	log    *slog.Logger
}

func newJoiner(c Config, o Options, token string) (*joiner, error) {
	claims, ok := readClaims(token)
	switch {
	case !ok:
		return nil, errors.New("this is no join token, three parts with dots between them: take what farscrape-relay token -join NAME prints, whole")
	case claims.Role != "join":
		return nil, fmt.Errorf("this is not a join token but the token of %s: an agent's goes into FARSCRAPE_TOKEN_FILE; farscrape-relay token -join NAME makes one to join by", cmp.Or(claims.Role, "nobody"))
	}
	if !wire.IsGlob(claims.Name) {
		c.Name = cmp.Or(c.Name, claims.Name)
	}
	relay, err := c.connectURL()
	if err != nil {
		return nil, err
	}
	tlsConfig, err := c.relayTLS()
	if err != nil {
		return nil, err
	}
	j := &joiner{config: &c, token: token, name: c.Name, host: o.Hostname, log: o.Logger}
	j.url = strings.TrimSuffix(relay.String(), wire.ConnectPath) + wire.JoinPath
	transport := &http.Transport{
		Proxy:           func(r *http.Request) (*url.URL, error) { return relayProxy(o.Proxy, r) },
		TLSClientConfig: tlsConfig, TLSHandshakeTimeout: dialWithin, DisableKeepAlives: true,
		DialContext: o.dialRelay,
	}
	if transport.DialContext == nil {
		transport.DialContext = relayDialer().DialContext
	}
	j.client = &http.Client{Transport: transport, Timeout: dialWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if j.host == nil {
		j.host = hostFQDN
	}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	return j, nil
}

// join redeems the token, and writes down what it gets. Who asks is written down before,
// so that whoever is cut off, or killed, asks again as the same.
func (j *joiner) join(ctx context.Context, state joinState) error {
	as, err := state.draw(j.name, j.host)
	if err != nil {
		return err
	}
	for failures := 0; ; failures++ {
		token, err := j.ask(ctx, as)
		if err == nil {
			if err = state.keep(token); err == nil {
				j.log.Info("joined", "agent", as.Name, "token_file", state.token())
			}
			return err
		}
		wait, again := joinAgain(err, failures)
		switch {
		case ctx.Err() != nil:
			return stopped(err)
		case !again:
			return err
		}
		j.log.Warn("cannot join yet", "agent", as.Name, "err", err, "again_in", wait.Round(100*time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return stopped(err)
		}
	}
}

// stopped says that who was asked to stop had not joined, and why not.
func stopped(why error) error {
	return fmt.Errorf("stopped before the agent had joined: %w", why)
}

// maxJoinBackoff bounds the wait between two requests to join.
const maxJoinBackoff = 10 * time.Second

// joinAgain is when to ask again after so many failures before this one, if that is of
// any use: the relay says so, or nobody has answered who knows.
func joinAgain(err error, failures int) (wait time.Duration, again bool) {
	answer := new(upgradeError)
	switch {
	case errors.Is(err, errNoRelay):
		return 0, false
	case errors.As(err, &answer):
		if answer.retryAfter == 0 && answer.status != http.StatusTooManyRequests && answer.status/100 != 5 {
			return 0, false
		}
		wait = answer.retryAfter
	}
	backoff := min(time.Second<<min(failures, 10), maxJoinBackoff)
	return max(wait, backoff/2) + rand.N(backoff/2), true
}

var errNoRelay = errors.New("what answers is no Farscrape relay: its answer holds no token for this agent: check FARSCRAPE_RELAY_URL")

// ask asks once.
func (j *joiner) ask(ctx context.Context, as wire.JoinRequest) (token string, err error) {
	body, err := json.Marshal(as)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	extra, err := j.config.headers()
	if err != nil {
		return "", err
	}
	for _, f := range extra {
		req.Header.Add(f.Name, f.Value)
	}
	req.Header.Set("Authorization", "Bearer "+j.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "farscrape-agent/"+settings.Version())
	resp, err := j.client.Do(req)
	if err != nil {
		return "", &dialError{relay: req.URL.Host, err: cause(err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", j.refused(upgradeErrorOf(resp, req.URL, nil))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxJoin+1))
	if err != nil {
		return "", &dialError{relay: req.URL.Host, err: err}
	}
	var answer wire.JoinAnswer
	claims, ok := claims{}, len(text) <= wire.MaxJoin && json.Unmarshal(text, &answer) == nil
	if ok {
		claims, ok = readClaims(answer.Token)
	}
	if !ok || len(answer.Token) > wire.MaxToken || claims.Role != "agent" || claims.Name != as.Name || strings.ContainsFunc(answer.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", errNoRelay
	}
	return answer.Token, nil
}

// refused adds what to look at where it is not a replica of this version that refuses.
func (j *joiner) refused(e *upgradeError) error {
	if e.status == http.StatusNotFound || e.status == http.StatusMethodNotAllowed {
		return fmt.Errorf("%w: the relay there is older than joining, or what stands before it does not let %s in", e, wire.JoinPath)
	}
	return e
}

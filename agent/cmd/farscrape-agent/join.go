package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/relay/settings"
)

// A joining is what farscrape-agent join was told: where the relay is, and the join token
// if that was given as an argument.
type joining struct{ url, token string }

// parseJoin takes the arguments after join.
func parseJoin(args []string) (j joining, err error) {
	switch len(args) {
	case 1:
		return joining{url: args[0]}, nil
	case 2:
		return joining{args[0], args[1]}, nil
	}
	return j, errors.New("say farscrape-agent join URL: see -help")
}

// notACommand says that an argument is none that the command knows. A long one may be a
// token, and is not shown.
func notACommand(said string) error {
	const shortest = 32 // of tokens and keys, in bytes
	if len(said) >= shortest {
		said = "…"
	}
	return fmt.Errorf("%q: join is the only thing to say, and a token belongs into a file: see -help", said)
}

// environ is the environment with the relay's URL as the arguments have it.
func (j joining) environ(environ []string) []string {
	return append(environ, settings.Prefix+"RELAY_URL="+j.url)
}

// joinToken is the join token to redeem: the argument, or else what is typed or piped in,
// unless the agent needs none, or has a file for it.
func (j joining) joinToken(ctx context.Context, c agent.Config, log *slog.Logger, stdin io.Reader, stderr io.Writer) (string, error) {
	switch {
	case j.token != "":
		log.Warn("the join token stands in this machine's list of processes", "mend", "leave it out: it is asked for, or read from standard input")
		return j.token, nil
	case agent.HasJoined(c):
		log.Info("the agent has joined before, and needs no join token")
		return "", nil
	case c.JoinToken != "":
		return "", nil
	}
	text, err := ask(ctx, stdin, stderr)
	if err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	if token := strings.TrimSpace(string(text)); token != "" {
		return token, nil
	}
	return "", errors.New("no join token: farscrape-relay token -join NAME prints one, for farscrape-agent join URL to ask for, or to have on standard input")
}

// maxTyped bounds what is read for a join token, in bytes: more than any has.
const maxTyped = 64 << 10

// ask reads a join token from a terminal, which does not show it, or from what is piped in,
// until ctx ends: then the reading is left to itself, and the terminal is as it was.
func ask(ctx context.Context, stdin io.Reader, stderr io.Writer) ([]byte, error) {
	read := func() ([]byte, error) { return io.ReadAll(io.LimitReader(stdin, maxTyped)) }
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(stderr, "Join token: ")
		defer fmt.Fprintln(stderr)
		if as, err := term.GetState(int(f.Fd())); err == nil {
			defer func() { _ = term.Restore(int(f.Fd()), as) }()
		}
		read = func() ([]byte, error) { return term.ReadPassword(int(f.Fd())) }
	}
	type answer struct {
		text []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		text, err := read()
		typed <- answer{text, err}
	}()
	select {
	case a := <-typed:
		return a.text, a.err
	case <-ctx.Done():
		return nil, errors.New("stopped before one was given")
	}
}

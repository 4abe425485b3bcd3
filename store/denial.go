package store

import (
	"errors"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A denial is what Redis itself answered instead of doing what it was asked.
type denial struct {
	code string // its first word, such as NOPERM; empty: it answered nothing at all
	need string // the right that the user lacks, as ACL SETUSER takes it; empty if it is not that
}

// denied says what of err is Redis's own word. prefix is that of our keys and
// channels.
func denied(err error, prefix string) (d denial) {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return d
	}
	text := reply.Error()
	d.code, _, _ = strings.Cut(text, " ")
	inScript := strings.Contains(text, "executing the script can't") // Redis 7.0; later ones say NOPERM
	if !redis.IsPermissionError(err) && !inScript {
		return d
	}
	switch command := lackedCommand.FindStringSubmatch(text); {
	case inScript && strings.Contains(text, "command or subcommand"):
		d.need = "one of " + scriptRights // it does not say which
	case command != nil:
		d.need = "+" + command[1]
	case strings.Contains(text, "channel"):
		d.need = "&" + prefix + "*"
	case strings.Contains(text, "key"):
		d.need = "~" + prefix + "*"
	}
	return d
}

// scriptRights are the commands that the scripts call.
const scriptRights = "+hget +hset +hdel +hgetall +del +exists +pexpire +get +set +time +zadd +zscore"

var lackedCommand = regexp.MustCompile(`run the '([^']+)' command`)

// attrs are what a log line says of err.
func (d denial) attrs(err error) []any {
	attrs := []any{"err", err}
	if d.need != "" {
		attrs = append(attrs, "needs", d.need)
	}
	return attrs
}

// A grievance is the denial that was told last, so that each is told once. The
// zero value is of none.
type grievance struct{ told denial }

// news reports whether err is another denial than the last. That Redis did not
// answer is none, and that it does, nil, ends the last.
func (g *grievance) news(err error, prefix string) (d denial, isNew bool) {
	d = denied(err, prefix)
	isNew = d.code != "" && d != g.told
	if d.code != "" || err == nil {
		g.told = d
	}
	return d, isNew
}

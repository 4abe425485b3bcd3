package store

import (
	"context"
	"embed"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// scripts are the directory's; scripts/ says what each takes and returns.
type scripts struct {
	hold, claim, audit, release, bury, lookup, forget, restore *redis.Script // of an agent's record
	index, unindex, generation, alive, about, account          *redis.Script
	list, unlist                                               *redis.Script // of a target list
	journal                                                    *redis.Script // of a tenant's events
	revoke                                                     *redis.Script // of what is taken back
	join, joinable                                             *redis.Script // of who has joined
}

func loadScripts() *scripts {
	read := func(name string) string {
		b, err := scriptFiles.ReadFile("scripts/" + name + ".lua")
		if err != nil {
			panic(err) // they are compiled in
		}
		return string(b)
	}
	clock := read("clock")
	alone := func(name string) *redis.Script { return redis.NewScript(clock + read(name)) }
	record, living := read("record"), read("living")
	ofRecord := func(name string) *redis.Script { return redis.NewScript(clock + record + read(name)) }
	ofLiving := func(name string) *redis.Script { return redis.NewScript(clock + living + read(name)) }
	return &scripts{
		hold:       ofRecord("hold"),
		claim:      ofRecord("claim"),
		audit:      ofRecord("audit"),
		release:    ofRecord("release"),
		bury:       ofRecord("bury"),
		lookup:     ofRecord("lookup"),
		forget:     ofRecord("forget"),
		restore:    ofRecord("restore"),
		index:      alone("index"),
		unindex:    alone("unindex"),
		generation: alone("generation"),
		alive:      ofLiving("alive"),
		about:      ofLiving("about"),
		account:    alone("account"),
		list:       alone("list"),
		unlist:     alone("unlist"),
		journal:    alone("journal"),
		revoke:     alone("revoke"),
		join:       alone("join"),
		joinable:   alone("joinable"),
	}
}

// A call is one run of a script, on one key, and it may be on others of its slot.
type call struct {
	script *redis.Script
	key    string
	also   []string
	args   []any
}

func (c *call) keys() []string { return append([]string{c.key}, c.also...) }

// runCalls runs the calls in one pipeline. Each command that it returns has its
// own error; on a Cluster some may fail and others not. Redis forgets scripts
// when it restarts, so those it does not know are sent once more in full.
func runCalls(ctx context.Context, client redis.UniversalClient, calls []call) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(calls))
	pipe := client.Pipeline()
	for i, c := range calls {
		cmds[i] = c.script.EvalSha(ctx, pipe, c.keys(), c.args...)
	}
	exec(ctx, pipe)

	again := client.Pipeline()
	for i, c := range calls {
		if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
			cmds[i] = c.script.Eval(ctx, again, c.keys(), c.args...)
		}
	}
	if again.Len() > 0 {
		exec(ctx, again)
	}
	return cmds
}

// exec runs a pipeline, and sees that each command that was not run has an error:
// go-redis gives them none where it could not even log in.
func exec(ctx context.Context, pipe redis.Pipeliner) {
	cmds, err := pipe.Exec(ctx)
	if err == nil || slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Err() != nil }) {
		return
	}
	for _, c := range cmds {
		c.SetErr(err)
	}
}

// runCall runs one script.
func runCall(ctx context.Context, client redis.UniversalClient, c call) *redis.Cmd {
	return runCalls(ctx, client, []call{c})[0]
}

// errReply: a script answered what this version does not understand.
var errReply = errors.New("unexpected reply of a script")

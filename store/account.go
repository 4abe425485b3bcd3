package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// TenantLimits bound what the agents of one tenant take in the directory, those
// that have departed with them for as long as they are listed. 0 is the default.
//
// An agent counts with the target lists of its links, those that are the same as
// one, and has no more than a quarter of the bytes. A list that is over is refused
// with a [wire.LimitError]; who takes no more than before never is. A token for a
// pattern, which is good for any number of names, gets no further than three
// quarters of each, so that there is room for whoever has a token for its name.
type TenantLimits struct {
	Agents  int
	Targets int
	Bytes   int // of the target lists, as JSON
}

// The defaults of TenantLimits. 100,000 targets with five labels each have 15 to
// 19 MB as JSON, and 3.5 times that as a listing in memory. The worst lists, of
// targets with one short label, take 13 times their JSON.
const (
	defaultTenantAgents  = 10_000
	defaultTenantTargets = 100_000
	defaultTenantBytes   = 32 << 20
)

func (l TenantLimits) orDefault() TenantLimits {
	return TenantLimits{cmp.Or(l.Agents, defaultTenantAgents), cmp.Or(l.Targets, defaultTenantTargets), cmp.Or(l.Bytes, defaultTenantBytes)}
}

// of are the limits for a lease.
func (l TenantLimits) of(yielding bool) TenantLimits {
	if !yielding {
		return l
	}
	return TenantLimits{wire.PatternsPart(l.Agents), wire.PatternsPart(l.Targets), wire.PatternsPart(l.Bytes)}
}

// over makes the error of who would bring the tenant to so many agents, targets
// or bytes.
func (l TenantLimits) over(what string, value int, yielding bool) error {
	e := &wire.LimitError{What: what + " of the tenant", Value: value}
	switch what {
	case "agents":
		e.Limit, e.Setting = l.Agents, "FARSCRAPE_TENANT_MAX_AGENTS"
	case "targets":
		e.Limit, e.Setting = l.Targets, "FARSCRAPE_TENANT_MAX_TARGETS"
	default:
		e.Limit, e.Setting = l.Bytes, "FARSCRAPE_TENANT_MAX_BYTES"
	}
	switch {
	case what == "lists":
		e.What = "bytes of targets by all links (one agent fills 1/4)"
	case yielding:
		e.What += " (a pattern's token fills 3/4)"
	}
	return e
}

// A size is what a target list takes.
type size struct{ targets, bytes int }

// A sizedList is a target list as it is counted.
type sizedList struct {
	size
	hash string
}

func sized(targets []wire.Target) sizedList {
	b, err := json.Marshal(targets)
	if err != nil {
		panic(fmt.Sprintf("store: targets: %v", err)) // plain structs always marshal
	}
	return sizedList{size{len(targets), len(b)}, hashOf(b)}
}

// listIn is the JSON of a lease's targets, which end its details.
func listIn(details []byte) []byte {
	_, list, _ := bytes.Cut(details, []byte(targetsMember))
	return list[:len(list)-len("}")]
}

// hashOf tells a list from others, at every replica.
func hashOf(list []byte) string {
	sum := sha256.Sum256(list)
	return hex.EncodeToString(sum[:8])
}

// agentBytes is what the lists of one agent's links may take.
func (l TenantLimits) agentBytes() int { return l.Bytes / 4 }

// within reports whether s takes no more than other.
func (s size) within(other size) bool { return s.targets <= other.targets && s.bytes <= other.bytes }

// An account is who is counted together: one tenant's, under the same limits.
type account struct {
	tenant   string
	yielding bool
}

// accountCall counts agents: each has its name, its targets and their bytes in
// sizes. Zero limits refuse nobody.
func (s *Redis) accountCall(tenant string, limits TenantLimits, sizes []any) call {
	args := []any{s.indexKeep().Milliseconds(), limits.Agents, limits.Targets, limits.Bytes}
	return call{script: s.scripts.account, key: s.keys.usage(tenant), args: append(args, sizes...)}
}

// unaccountCall counts agents no longer.
func (s *Redis) unaccountCall(tenant string, agents []any) call {
	sizes := make([]any, 0, 3*len(agents))
	for _, agent := range agents {
		sizes = append(sizes, agent, "-", 0)
	}
	return s.accountCall(tenant, TenantLimits{}, sizes)
}

// admit asks for room for the leases that want more of it than they have, before
// any is written. It returns the tasks to go on with; the others have been
// refused, or have failed: then whole is false.
func (s *Redis) admit(ctx context.Context, batch []task, events wire.StoreEvents) (admitted []task, whole bool) {
	asking := make(map[account][]int) // places in batch
	for i := range batch {
		if t := &batch[i]; t.step == stepHold && t.asks {
			a := account{t.lease.Tenant, t.lease.Yielding}
			asking[a] = append(asking[a], i)
		}
	}
	if len(asking) == 0 {
		return batch, true
	}
	var calls []call
	var accounts []account
	for a, places := range asking {
		sizes := make([]any, 0, 3*len(places))
		for _, i := range places {
			sizes = append(sizes, batch[i].lease.Agent, batch[i].size.targets, batch[i].size.bytes)
		}
		accounts = append(accounts, a)
		calls = append(calls, s.accountCall(a.tenant, s.config.TenantLimits.of(a.yielding), sizes))
	}
	began, whole := time.Now(), true
	out := make(map[int]bool)
	for n, cmd := range runCalls(ctx, s.clients.directory, calls) {
		places := asking[accounts[n]]
		verdicts, err := parseVerdicts(cmd, len(places))
		if refusesWrites(err) {
			s.noteWrite(ctx, writeKeeper, began, err)
		}
		for j, i := range places {
			switch {
			case err != nil:
				out[i], whole = true, false
				s.keeper.failed(&batch[i], err)
			case verdicts[j] != "":
				out[i] = true
				s.refuse(&batch[i], verdicts[j], events)
			}
		}
	}
	for i := range batch {
		if !out[i] {
			admitted = append(admitted, batch[i])
		}
	}
	return admitted, whole
}

// parseVerdicts reads account.lua's reply for so many agents.
func parseVerdicts(cmd *redis.Cmd, n int) ([]string, error) {
	verdicts, err := cmd.StringSlice()
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	if len(verdicts) != n {
		return nil, fmt.Errorf("account: %w", errReply)
	}
	return verdicts, nil
}

// refuse tells the owner of a lease that there is no room for its targets, and
// has the tenant looked through for what is listed no longer.
func (s *Redis) refuse(t *task, verdict string, events wire.StoreEvents) {
	what, value, _ := strings.Cut(verdict, " ")
	n, _ := strconv.Atoi(value)
	err := s.config.TenantLimits.over(what, n, t.lease.Yielding)
	if s.keeper.refusedMore(t, err) {
		events.Lost(t.lease.Link, err)
	}
	select {
	case s.crowded <- t.lease.Tenant:
	default:
	}
}

// tidy counts a tenant's agents no longer that are not listed, neither now nor
// when one that is being registered would be: it is counted before it is listed.
func (s *Redis) tidy(ctx context.Context, tenant string) {
	if _, err := s.list(ctx, tenant); err != nil {
		return // it is not known who is
	}
	counted, err := s.clients.directory.HGetAll(ctx, s.keys.usage(tenant)).Result()
	if err != nil {
		return
	}
	delete(counted, "*")
	if s.leaveOut(ctx, counted, tenant) != nil || len(counted) == 0 {
		return
	}
	select {
	case <-time.After(s.timing.registering):
	case <-ctx.Done():
		return
	}
	if s.leaveOut(ctx, counted, tenant) != nil || len(counted) == 0 {
		return
	}
	var gone []any
	for name := range counted {
		gone = append(gone, name)
	}
	_ = runCall(ctx, s.clients.directory, s.unaccountCall(tenant, gone)).Err() // best effort
}

// leaveOut takes the names that are listed out of counted.
func (s *Redis) leaveOut(ctx context.Context, counted map[string]string, tenant string) error {
	names, err := s.clients.directory.ZRange(ctx, s.keys.index(tenant), 0, -1).Result()
	for _, name := range names {
		delete(counted, name)
	}
	return err
}

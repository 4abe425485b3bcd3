package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

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

// admit asks for room for the entries that want more of it than they have, before
// any is written. It returns the tasks to go on with; the others have been
// refused, or have failed: then whole is false.
func (s *Redis) admit(ctx context.Context, batch []task, events wire.StoreEvents) (admitted []task, whole bool) {
	asking := make(map[account][]int) // places in batch
	for i := range batch {
		if t := &batch[i]; t.step == stepHold && t.asks {
			a := account{t.entry.Tenant, t.entry.Yielding}
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
			sizes = append(sizes, batch[i].entry.Agent, batch[i].size.targets, batch[i].size.bytes)
		}
		accounts = append(accounts, a)
		calls = append(calls, s.accountCall(a.tenant, s.config.TenantLimits.of(a.yielding), sizes))
	}
	whole = true
	out := make(map[int]bool)
	for n, cmd := range runCalls(ctx, s.clients.directory, calls) {
		places := asking[accounts[n]]
		verdicts, err := parseVerdicts(cmd, len(places))
		if deniesWrites(err) {
			s.noteWrite(ctx, writeLeases, err)
		}
		for j, i := range places {
			switch {
			case err != nil:
				out[i], whole = true, false
				s.entries.failed(&batch[i], err)
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

// refuse tells the owner of an entry that there is no room for its targets, and
// has the tenant looked through for what is listed no longer.
func (s *Redis) refuse(t *task, verdict string, events wire.StoreEvents) {
	what, value, _ := strings.Cut(verdict, " ")
	n, _ := strconv.Atoi(value)
	err := s.config.TenantLimits.over(what, n, t.entry.Yielding)
	if s.entries.refusedMore(t, err) {
		events.Lost(t.entry.Link, err)
	}
	select {
	case s.crowded <- t.entry.Tenant:
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
	if s.removeListed(ctx, counted, tenant) != nil || len(counted) == 0 {
		return
	}
	select {
	case <-time.After(s.timing.registering):
	case <-ctx.Done():
		return
	}
	if s.removeListed(ctx, counted, tenant) != nil || len(counted) == 0 {
		return
	}
	var gone []any
	for name := range counted {
		gone = append(gone, name)
	}
	_ = runCall(ctx, s.clients.directory, s.unaccountCall(tenant, gone)).Err() // best effort
}

// removeListed takes the names that are listed out of counted.
func (s *Redis) removeListed(ctx context.Context, counted map[string]string, tenant string) error {
	names, err := s.clients.directory.ZRange(ctx, s.keys.index(tenant), 0, -1).Result()
	for _, name := range names {
		delete(counted, name)
	}
	return err
}

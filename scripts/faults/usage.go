package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A usage is what all replicas and all agents together use, but for memory,
// which is that of the largest of each.
type usage struct {
	relayGoroutines, agentGoroutines   int
	relayDescriptors, agentDescriptors int
	relayMemory, agentMemory           int // bytes, resident
}

func (s *stack) usage() (u usage) {
	for _, r := range s.Replicas {
		u.relayGoroutines += int(rig.Metric(r.Ops, "go_goroutines"))
		u.relayDescriptors += r.Descriptors()
		u.relayMemory = max(u.relayMemory, r.Memory("VmRSS"))
	}
	for _, a := range s.agents {
		u.agentGoroutines += int(rig.Metric(a.Ops, "go_goroutines"))
		u.agentDescriptors += a.Descriptors()
		u.agentMemory = max(u.agentMemory, a.Memory("VmRSS"))
	}
	return u
}

// beyond says what of u is more than before, by more than the tolerance: idle
// connections that are kept come and go, and Go's heap gives memory back late.
func (u usage) beyond(before usage) string {
	var all []string
	for _, c := range []struct {
		what         string
		now, before  int
		share, spare int // per cent and absolute
	}{
		{"goroutines of replicas", u.relayGoroutines, before.relayGoroutines, 10, 30},
		{"goroutines of agents", u.agentGoroutines, before.agentGoroutines, 10, 20},
		{"descriptors of replicas", u.relayDescriptors, before.relayDescriptors, 10, 30},
		{"descriptors of agents", u.agentDescriptors, before.agentDescriptors, 10, 15},
		{"MB of a replica", u.relayMemory >> 20, before.relayMemory >> 20, 50, 30},
		{"MB of an agent", u.agentMemory >> 20, before.agentMemory >> 20, 50, 20},
	} {
		if c.now > c.before+c.before*c.share/100+c.spare {
			all = append(all, fmt.Sprintf("%s %d, were %d", c.what, c.now, c.before))
		}
	}
	return strings.Join(all, ", ")
}

// A peak is the most memory that any one replica, and any one agent, has used.
type peak struct{ relay, agent int }

// A sampler watches for it: a process takes its own peak with it when it ends.
type sampler struct {
	running sync.WaitGroup
	stop    context.CancelFunc
	peak    peak // once it has ended
}

func startSampler(s *stack) *sampler {
	ctx, stop := context.WithCancel(s.Ctx)
	m := &sampler{stop: stop}
	for _, p := range s.Processes() {
		p.ResetPeak()
	}
	m.running.Go(func() {
		for ctx.Err() == nil {
			m.take(s)
			select {
			case <-time.After(250 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	s.Cleanup(m.end)
	return m
}

func (m *sampler) end() {
	m.stop()
	m.running.Wait()
}

func (m *sampler) take(s *stack) {
	for _, r := range s.Replicas {
		m.peak.relay = max(m.peak.relay, r.Memory("VmHWM"))
	}
	for _, a := range s.agents {
		m.peak.agent = max(m.peak.agent, a.Memory("VmHWM"))
	}
}

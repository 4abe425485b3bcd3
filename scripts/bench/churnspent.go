package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// spent is what a fleet has taken, up to some moment or since another.
type spent struct {
	at         time.Time
	length     time.Duration   // since the other; 0: since its start
	up, down   float64         // bytes on all links, from agents and to them
	in, out    float64         // bytes to Redis and from it
	operations float64         // of Redis
	cpu        []time.Duration // of the fleet's processes
	stored     float64         // in Redis's memory then, bytes
}

// used is what the fleet has taken so far.
func (f *fleet) used() spent {
	s := spent{at: time.Now()}
	for _, m := range f.meters {
		s.up += float64(m.up.Load())
		s.down += float64(m.down.Load())
	}
	for _, p := range f.processes {
		s.cpu = append(s.cpu, p.CPU())
	}
	stats := f.redisInfo(f.redis, "stats")
	s.in, s.out = infoNumber(stats, "total_net_input_bytes"), infoNumber(stats, "total_net_output_bytes")
	s.operations = infoNumber(stats, "total_commands_processed")
	s.stored = infoNumber(f.redisInfo(f.redis, "memory"), "used_memory")
	return s
}

// since is what was taken after before.
func (s spent) since(before spent) spent {
	s.length = s.at.Sub(before.at)
	s.up, s.down = s.up-before.up, s.down-before.down
	s.in, s.out = s.in-before.in, s.out-before.out
	s.operations -= before.operations
	for i := range s.cpu {
		s.cpu[i] -= before.cpu[i]
	}
	return s
}

// beyond is what one figure was more than in the same time at rest.
func (s spent) beyond(rest spent, of func(spent) float64) float64 {
	return of(s) - of(rest)*s.length.Seconds()/rest.length.Seconds()
}

// A keyKind is all keys of Redis whose names begin alike.
type keyKind struct {
	name  string
	keys  int
	bytes int64 // of memory
}

// keyKinds counts Redis's keys, the most memory first.
func (f *fleet) keyKinds() []keyKind {
	client := redis.NewClient(&redis.Options{Addr: f.redis, Protocol: 2, DisableIdentity: true})
	defer client.Close()
	kinds := make(map[string]keyKind)
	keys := client.Scan(f.Ctx, 0, "*", 1000).Iterator()
	for keys.Next(f.Ctx) {
		bytes, err := client.MemoryUsage(f.Ctx, keys.Val(), 0).Result()
		f.Must(err)
		name, _, _ := strings.Cut(strings.TrimPrefix(keys.Val(), "farscrape:"), ":")
		k := kinds[name]
		kinds[name] = keyKind{name, k.keys + 1, k.bytes + bytes}
	}
	f.Must(keys.Err())
	return slices.SortedFunc(maps.Values(kinds), func(a, b keyKind) int { return cmp.Compare(b.bytes, a.bytes) })
}

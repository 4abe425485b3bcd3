package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/farscrape/farscrape/scripts/rig"
)

// startRedis starts one for the replicas of a system: a process like others, since
// its time and memory are counted.
func (b *bench) startRedis(name string) (addr string, p *rig.Process) {
	addr = rig.FreePort()
	port := addr[strings.LastIndexByte(addr, ':')+1:]
	p = b.Start(name, nil, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", b.TempDir())
	p.AwaitListening(addr)
	b.RedisURL = "redis://" + addr
	return addr, p
}

// redisInfo is a section of what a Redis says of itself.
func (b *bench) redisInfo(addr, section string) string {
	client := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})
	defer client.Close()
	info, err := client.Info(b.Ctx, section).Result()
	b.Must(err)
	return info
}

// redisCPU is the processor time that a Redis has used; 0 where there is none.
func (b *bench) redisCPU(addr string) time.Duration {
	if addr == "" {
		return 0
	}
	info := b.redisInfo(addr, "cpu")
	return time.Duration((infoNumber(info, "used_cpu_sys") + infoNumber(info, "used_cpu_user")) * float64(time.Second))
}

// redisCalls is how often a command was called, by INFO commandstats.
func redisCalls(info, command string) float64 {
	for line := range strings.Lines(info) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			calls, _, _ := strings.Cut(rest, ",")
			n, _ := strconv.ParseFloat(calls, 64)
			return n
		}
	}
	return 0
}

// infoNumber is a number of INFO, such as total_commands_processed.
func infoNumber(info, name string) float64 {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return n
		}
	}
	return 0
}

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// spare is how many descriptors, and ports, are needed beside links'.
	spare = 500
	// linkMemory is what both ends of a link and Redis take of this machine, in
	// bytes, sockets included: 64 kB of 30,000 links at rest, and as much again
	// while they are made.
	linkMemory = 128 << 10
)

// afford is the number of links that are asked for, or as many as the machine
// allows: both ends of each are here, an end a process. Each replica has a crowd of
// its own.
func (b *bench) afford(replicas, links int) int {
	most, why := b.descriptors()-spare, "descriptors"
	for _, limit := range []struct {
		links int
		why   string
	}{{b.ports() - spare, "ports"}, {b.memory() / linkMemory / replicas, "memory"}} {
		if limit.links < most {
			most, why = limit.links, limit.why
		}
	}
	if most *= replicas; links > most {
		b.say("%s: %d links at most", why, most)
		return most
	}
	return links
}

// descriptors is how many a process of this run may have from now on: for root as
// many as the kernel gives anyone.
func (b *bench) descriptors() int {
	var limit unix.Rlimit
	b.Must(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	most := uint64(b.kernelNumbers("/proc/sys/fs/nr_open")[0])
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}) == nil {
		return int(most)
	}
	limit.Cur = limit.Max
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	return int(min(limit.Cur, most))
}

// ports is how many connections from one address to one other there can be.
func (b *bench) ports() int {
	between := b.kernelNumbers("/proc/sys/net/ipv4/ip_local_port_range")
	return between[1] - between[0] + 1
}

// memory is what processes may still take, in bytes.
func (b *bench) memory() int {
	content, err := os.ReadFile("/proc/meminfo")
	b.Must(err)
	var kB int
	_, available, _ := strings.Cut(string(content), "MemAvailable:")
	_, err = fmt.Sscan(available, &kB)
	b.Must(err)
	return kB << 10
}

// kernelNumbers are those of one of the kernel's settings.
func (b *bench) kernelNumbers(file string) (all []int) {
	content, err := os.ReadFile(file)
	b.Must(err)
	for _, word := range strings.Fields(string(content)) {
		n, err := strconv.Atoi(word)
		b.Must(err)
		all = append(all, n)
	}
	return all
}

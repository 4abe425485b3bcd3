package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// loadAttacks are of scrapers that ask too much, or not to an end.
func loadAttacks() []attack {
	return []attack{
		{name: "slow-headers", sent: "300 requests of which one byte a second comes", expected: "300 × ended within 12 s", run: slowHeaders},
		{name: "slow-readers", sent: "64 scrapes of 8 MB that nobody reads, with 2 s to answer", expected: "all given up within 5 s", bound: bound{memory: 128}, run: slowReaders},
		{name: "scrapes-at-once", sent: "400 scrapes at once of a target that does not answer, with 2 s to answer",
			expected: "336 × 429 too_many_scrapes, 64 × 504 deadline", run: func(t *trial) string {
				return t.many(400, 400, func(int) string { return t.scrape(0, "victim", slow).String() })
			}},
		{name: "scrapes-dropped", sent: "1,000 scrapes of a target that does not answer, given up at once", expected: "1000 × dropped", run: func(t *trial) string {
			return t.many(1000, 50, func(int) string { return t.drop("/scrape/victim/" + slow) })
		}},
		{name: "agents-unknown", sent: "5,000 scrapes of agents that nobody knows", expected: "5000 × 404 agent_unknown", run: func(t *trial) string {
			return t.asks(5000, t.token, func(i int) string { return fmt.Sprintf("/scrape/nobody-%d/t", i) })
		}},
		{name: "targets-unknown", sent: "5,000 scrapes of targets that an agent has not", expected: "5000 × 403 target_not_declared", run: func(t *trial) string {
			return t.asks(5000, t.token, func(i int) string { return fmt.Sprintf("/scrape/victim/t%d", i) })
		}},
		{name: "connections-idle", sent: "500 connections more than a listener keeps, each idle after an answer", expected: "500 were closed", bound: bound{memory: 200}, run: idle},
		{name: "sockets-mid-handshake", sent: "10,000 sockets that stop in the middle of an upgrade's header", expected: "all ended within 15 s", bound: bound{memory: 200}, run: stopAfter("GET /agent/connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSock")},
		{name: "sockets-mid-tls", sent: "10,000 sockets that stop in the middle of a TLS handshake, where the relay ends it", expected: "all ended within 15 s",
			plan: plan{split: true, tls: true}, bound: bound{memory: 200}, run: stopAfter("\x16\x03\x01\x02\x00\x01")},
		{name: "lists-at-once", sent: "200 who ask for /sd, /api/v1/agents, /clients and /metrics/agents at once, ten times", expected: "2000 × 200", run: func(t *trial) string {
			paths := []string{"/sd", "/api/v1/agents", "/clients", "/metrics/agents"}
			return t.many(2000, 200, func(i int) string { return fmt.Sprint(t.get(paths[i%len(paths)]).status) })
		}},
	}
}

// asks asks so often, on 8 connections that are kept, and counts the answers.
func (t *trial) asks(n int, token string, path func(int) string) string {
	client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	return t.many(n, 8, func(i int) string {
		resp, _, err := t.stack.get(client, t.stack.Replicas[0], path(i), token)
		if resp == nil {
			return err.Error()
		}
		return fmt.Sprintf("%d %s", resp.StatusCode, resp.Header.Get("Farscrape-Error"))
	})
}

func (t *trial) dial() net.Conn {
	conn, err := net.DialTimeout("tcp", t.stack.Replicas[0].Edge, rig.Patience)
	t.Must(err)
	return conn
}

// drop begins a scrape and goes away once it is on its way.
func (t *trial) drop(path string) string {
	conn := t.dial()
	defer conn.Close()
	_, _ = io.WriteString(conn, t.fill(request("GET "+path, "{auth}")))
	t.Wait(10 * time.Millisecond)
	return "dropped"
}

// keep asks once on a connection that stays open.
func (t *trial) keep(path string) (net.Conn, string) {
	conn := t.dial()
	_ = conn.SetDeadline(time.Now().Add(rig.Patience))
	_, _ = io.WriteString(conn, t.fill(request("GET "+path)))
	return conn, fmt.Sprint(readAnswer(bufio.NewReader(conn), "GET").status)
}

// mostWaiting is how many idle connections a listener keeps: edge/waiting.go's
// number, or a quarter of the descriptors that a process may have.
const mostWaiting = 8192

// idle opens more, and counts those that were closed for it. Bystanders' are never
// the oldest.
func idle(t *trial) string {
	var limit syscall.Rlimit
	t.Must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range min(mostWaiting, int(limit.Cur)/4) + 500 {
		conn, o := t.keep("/-/healthy")
		if conns = append(conns, conn); o != "200" {
			return o
		}
	}
	closed := 0
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !isTimeout(err) {
			closed++
		}
	}
	// A few are others': the bystanders', and those of who looks at the replica.
	if closed >= 500 && closed < 520 {
		closed = 500
	}
	return fmt.Sprintf("%d were closed", closed)
}

func slowHeaders(t *trial) string {
	return t.many(300, 300, func(int) string {
		conn := t.dial()
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET /scrape/victim/t HTTP/1.1\r\nHost: x\r\nA: ")
		began := time.Now()
		ended := make(chan struct{})
		go func() { defer close(ended); _, _ = io.Copy(io.Discard, conn) }()
		for time.Since(began) < 12*time.Second {
			select {
			case <-ended:
				return "ended within 12 s"
			case <-time.After(time.Second):
				_, _ = io.WriteString(conn, "x")
			}
		}
		_ = conn.Close()
		<-ended
		return "open"
	})
}

// slowReaders asks for large answers and reads nothing of them until they must
// have been given up. What the kernel still has of them it keeps for a while.
func slowReaders(t *trial) string {
	for range 64 {
		conn := t.dial().(*net.TCPConn)
		defer conn.Close()
		_ = conn.SetReadBuffer(4 << 10)
		_, _ = io.WriteString(conn, t.fill(request("GET /scrape/victim/"+large, "{auth}", seconds+"2")))
	}
	inflight := func() float64 { return rig.Metric(t.stack.Replicas[0].Ops, "farscrape_relay_inflight_scrapes") }
	t.Until(rig.Patience, "they are in flight", func() bool { return inflight() >= 64 })
	if _, ok := t.Poll(5*time.Second, func() bool { return inflight() < 4 }); !ok { // but for the bystanders'
		return fmt.Sprintf("%v in flight", inflight())
	}
	return "all given up within 5 s"
}

// stopAfter opens sockets to one replica that say so much and no more, and waits
// until it has ended all.
func stopAfter(begin string) func(*trial) string {
	return func(t *trial) string {
		return t.stopAfter(begin, func() net.Conn {
			conn, err := net.DialTimeout("tcp", t.stack.Replicas[0].Addr, rig.Patience)
			t.Must(err)
			return conn
		})
	}
}

func (t *trial) stopAfter(begin string, dial func() net.Conn) string {
	const sockets = 10_000
	conns := make([]net.Conn, 0, sockets)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range sockets {
		conn := dial()
		conns = append(conns, conn)
		_, _ = io.WriteString(conn, begin)
	}
	last := time.Now()
	for _, c := range conns {
		_ = c.SetReadDeadline(last.Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			return "some open after 15 s"
		}
	}
	return "all ended within 15 s"
}

package main

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// A line is a TCP proxy that behaves like a bad network, where the kernel has no
// netem: it delays, holds back, throttles, swallows, resets and forgets one of a
// connection's ends. The near end is whoever dials it.
type line struct {
	addr   string
	target string

	mu      sync.Mutex
	weather weather
	conns   map[*crossing]bool
	free    [2]time.Time // when each direction has sent what it was given, at the rate
}

// The directions of a line.
const (
	outward = 0 // from who dialled
	inward  = 1
)

// A weather is how a line treats what it carries.
type weather struct {
	delay   time.Duration // each way
	loss    float64       // share of segments that are held back as long as a retransmission takes
	rate    int           // bytes a second each way, of all connections together; 0: any
	swallow [2]bool       // what goes that way, of old and new connections, vanishes
}

const (
	segment    = 4 << 10                // what is read, delayed and lost at once
	queued     = 16                     // segments on their way
	retransmit = 300 * time.Millisecond // for what is lost
)

// A crossing is one connection over the line.
type crossing struct {
	line      *line
	near, far net.Conn
	once      sync.Once
	mu        sync.Mutex
	forgotten [2]bool // what goes that way vanishes, for ever
	held      bool    // the end of one side is kept from the other
}

// startLine starts a line to target, in fair weather.
func (s *stack) startLine(target string) *line {
	l := &line{target: target, conns: make(map[*crossing]bool)}
	l.addr = s.Accept(l.cross)
	s.Cleanup(func() { l.set(weather{}); l.resetAll() }) // what comes yet ends with its near end
	return l
}

func (l *line) cross(near *net.TCPConn) {
	far, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	c := &crossing{line: l, near: near, far: far}
	l.mu.Lock()
	l.conns[c] = true
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { c.carry(outward, near, far) })
	both.Go(func() { c.carry(inward, far, near) })
	both.Wait()
	c.close()
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

// A parcel is a segment with the time at which it arrives.
type parcel struct {
	bytes []byte
	due   time.Time
}

// carry takes what comes from one end to the other until either is gone.
func (c *crossing) carry(way int, from, to net.Conn) {
	parcels := make(chan parcel, queued)
	var delivering sync.WaitGroup
	delivering.Go(func() {
		for p := range parcels {
			time.Sleep(time.Until(p.due))
			if !c.vanishes(way) {
				_, _ = to.Write(p.bytes)
			}
		}
	})
	for {
		b := make([]byte, segment)
		n, err := from.Read(b)
		if n > 0 {
			parcels <- parcel{b[:n], c.line.due(way, n)}
		}
		if err != nil {
			break
		}
	}
	close(parcels)
	delivering.Wait()
	if !c.keeps(way) {
		c.close()
	}
}

// due is when n bytes that set out now arrive.
func (l *line) due(way, n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Now()
	if l.weather.rate > 0 {
		if l.free[way].Before(at) {
			l.free[way] = at
		}
		l.free[way] = l.free[way].Add(time.Duration(n) * time.Second / time.Duration(l.weather.rate))
		at = l.free[way]
	}
	if rand.Float64() < l.weather.loss {
		at = at.Add(retransmit)
	}
	return at.Add(l.weather.delay)
}

func (c *crossing) vanishes(way int) bool {
	c.line.mu.Lock()
	swallowed := c.line.weather.swallow[way]
	c.line.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	// A stream with a hole in it must not go on.
	c.forgotten[way] = c.forgotten[way] || swallowed
	return c.forgotten[way]
}

// keeps reports whether the end of one side is not to be told to the other.
func (c *crossing) keeps(way int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held || c.forgotten[way]
}

// close ends both sides; what a side has not read is lost, as at a reset.
func (c *crossing) close() {
	c.once.Do(func() {
		for _, conn := range []net.Conn{c.near, c.far} {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	})
}

// set changes the weather.
func (l *line) set(w weather) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weather = w
}

func (l *line) all() []*crossing {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*crossing
	for c := range l.conns {
		all = append(all, c)
	}
	return all
}

// resetAll resets every connection.
func (l *line) resetAll() {
	for _, c := range l.all() {
		c.close()
	}
}

// forget makes all that goes these ways over the connections that are there now
// vanish, for ever. New connections are carried.
func (l *line) forget(ways ...int) {
	for _, c := range l.all() {
		c.mu.Lock()
		for _, way := range ways {
			c.forgotten[way] = true
		}
		c.mu.Unlock()
	}
}

// halfOpen resets one end, the near or the far one, of the connections that are
// there now, and leaves the other end open and without a word.
func (l *line) halfOpen(near bool) {
	for _, c := range l.all() {
		c.mu.Lock()
		c.held = true
		c.forgotten = [2]bool{true, true}
		c.mu.Unlock()
		gone := c.far
		if near {
			gone = c.near
		}
		_ = gone.(*net.TCPConn).SetLinger(0)
		_ = gone.Close()
	}
}

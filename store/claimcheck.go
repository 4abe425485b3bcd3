package store

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// Lengths of the strings that are checked in, in bytes: those that a connection's
// buffer does not hold anyway, up to the longest message of the bus.
const (
	checkedFrom = 4 << 10
	checkedTo   = wire.EnvelopeSize + wire.MaxEnvelope
)

// A claimCheck keeps long messages out of go-redis, which would make a new string
// of each: zeroed, filled, collected. Its connections read a long string
// themselves, always into the same buffer, and hand go-redis a claim instead, a
// number in an array. Redis publishes no arrays, so none is taken for a message,
// nor a message for one. What it is worth is in
// relay/decisions/cost-of-a-scrape.md.
//
// It keeps one message: go-redis reads nothing more before it has delivered what
// it has. The zero value is ready.
type claimCheck struct {
	mu      sync.Mutex
	claim   int64 // the last that was given out
	message []byte
}

// check takes a message in.
func (c *claimCheck) check(message []byte) (claim int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claim++
	c.message = message
	return c.claim
}

// redeem returns what go-redis has delivered, or what it has delivered a claim
// to; nothing, if that is not here. It may be used until the next message is
// received.
func (c *claimCheck) redeem(m *redis.Message) []byte {
	if len(m.PayloadSlice) != 1 {
		return []byte(m.Payload)
	}
	claim, err := strconv.ParseInt(m.PayloadSlice[0], 10, 64)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || claim != c.claim {
		return nil
	}
	return c.message
}

// dialer dials as go-redis itself does.
func (c *claimCheck) dialer(config *tls.Config) dialer {
	dial := redis.NewDialer(&redis.Options{DialTimeout: dialTimeout, TLSConfig: config})
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		checked := &checkedConn{Conn: conn, in: bufio.NewReaderSize(conn, checkedFrom), claims: c}
		if socket, ok := conn.(syscall.Conn); ok { // go-redis looks whether it is still open
			return struct {
				*checkedConn
				syscall.Conn
			}{checked, socket}, nil
		}
		return checked, nil
	}
}

// A checkedConn is a connection to Redis of which go-redis reads no long string.
// Redis's protocol is lines; one that announces a string is followed by its bytes
// and an end of line.
type checkedConn struct {
	net.Conn
	in     *bufio.Reader
	claims *claimCheck

	ready   []byte // to be read next: of the buffer of in, or claim
	follows int    // bytes of a string that are to be read after it
	midline bool   // what comes then continues a line
	long    *[checkedTo + len(endOfLine)]byte
	claim   [32]byte
	err     error // the connection has lost its place
}

const endOfLine = "\r\n"

var errUnendedString = errors.New("redis: a string goes on after its end")

// Read reads a line, a string, a claim, or a part of one.
func (c *checkedConn) Read(p []byte) (n int, err error) {
	if len(c.ready) == 0 && c.follows == 0 && c.err == nil {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	if len(c.ready) > 0 {
		n = copy(p, c.ready)
		c.ready = c.ready[n:]
		return n, nil
	}
	n, c.err = c.in.Read(p[:min(len(p), c.follows)])
	c.follows -= n
	return n, c.err
}

// next has a line ready, or the claim to the long string that it announces.
func (c *checkedConn) next() error {
	line, err := c.in.ReadSlice('\n')
	continued := c.midline
	c.midline = errors.Is(err, bufio.ErrBufferFull)
	if err != nil && !c.midline {
		return err
	}
	c.ready = line
	if continued {
		return nil
	}
	length := announced(line)
	if line[0] == '$' && length >= checkedFrom && length <= checkedTo {
		return c.checkIn(length)
	}
	if length >= 0 {
		c.follows = length + len(endOfLine)
	}
	return nil
}

// announced is the length of the string, the verbatim string or the error that
// follows a line; -1 if none does.
func announced(line []byte) int {
	const ends = len(endOfLine)
	if len(line) <= 1+ends || line[0] != '$' && line[0] != '=' && line[0] != '!' {
		return -1
	}
	n, err := strconv.ParseInt(string(line[1:len(line)-ends]), 10, 31)
	if err != nil || n < 0 {
		return -1
	}
	return int(n)
}

// checkIn reads a long string and has the claim to it ready.
func (c *checkedConn) checkIn(length int) error {
	if c.long == nil {
		c.long = new([checkedTo + len(endOfLine)]byte)
	}
	b := c.long[:length+len(endOfLine)]
	if _, err := io.ReadFull(c.in, b); err != nil {
		return err
	}
	if string(b[length:]) != endOfLine {
		return errUnendedString
	}
	c.ready = strconv.AppendInt(append(c.claim[:0], "*1\r\n+"...), c.claims.check(b[:length]), 10)
	c.ready = append(c.ready, endOfLine...)
	return nil
}

package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
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
	checkedTo   = maxChunk + wire.SealSize
)

// A claimCheck keeps long messages out of go-redis, which would make a new string
// of each: zeroed, filled, collected. Its connections read a long string
// themselves, always into the same buffer, and hand go-redis a claim instead, a
// number in an array. Redis publishes no arrays, so none is taken for a message,
// nor a message for one. What it is worth is in
// relay/decisions/cost-of-a-scrape.md.
//
// It keeps one message, and that is enough: a connection gives out at most one line
// or claim at a time, a message ends with its claim, and go-redis asks for more
// only when it has used up what it has, so not before that message is delivered.
// Were another connection of the same client to receive as long a string (a
// Sentinel's announcements are short), the claim before would be worth nothing:
// one message lost, which the next one's number tells. The zero value is ready.
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

// redeem returns the message that go-redis has delivered, or to which it has
// delivered a claim; nothing, if that is not here. The next is read into the same
// memory.
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

// A checkedConn is a subscribed connection to Redis of which go-redis reads no long
// string. Redis's protocol is lines; one that announces a string is followed by its
// bytes and an end of line.
type checkedConn struct {
	net.Conn
	in     *bufio.Reader
	claims *claimCheck

	ready   []byte // to be given out before anything else is read: part of in's buffer, or of claimed
	follows int    // bytes of a string that come after it
	midline bool   // what comes then continues a line
	long    *[checkedTo + len(endOfLine)]byte
	claimed [32]byte
	err     error // of the connection, which may have lost its place: there is no reading on
}

const endOfLine = "\r\n"

var errUnendedString = errors.New("redis: a string goes on after its end")

// Read reads a line, a string or a claim, or a part of one. Any error, a time-out
// too, is for good.
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
	digits, whole := bytes.CutSuffix(line, []byte(endOfLine))
	if !whole || len(digits) == 0 || digits[0] != '$' && digits[0] != '=' && digits[0] != '!' {
		return -1
	}
	n, err := strconv.Atoi(string(digits[1:]))
	if err != nil || n > math.MaxInt-len(endOfLine) {
		return -1
	}
	return max(n, -1)
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
	c.ready = strconv.AppendInt(append(c.claimed[:0], "*1\r\n+"...), c.claims.check(b[:length]), 10)
	c.ready = append(c.ready, endOfLine...)
	return nil
}

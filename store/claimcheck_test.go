package store

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/farscrape/farscrape/store/storetest"
	"github.com/redis/go-redis/v9"
)

// TestMessagesOfEveryLengthArriveWhole: of those that go-redis reads, of those
// that are checked in, and of those that no envelope is as long as.
func TestMessagesOfEveryLengthArriveWhole(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	for _, protocol := range []int{2, 3} {
		clients, err := newClients(fmt.Sprintf("%s?protocol=%d", server.URL(), protocol), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer clients.close()
		sub := clients.inbox.Subscribe(t.Context(), "c")
		defer sub.Close()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		lengths := []int{0, 1, checkedFrom - 1, checkedFrom, checkedFrom + 1, 46_000, checkedTo - 1, checkedTo, checkedTo + 1, 3 * checkedTo, 7}
		message := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, lengths[i]) }
		go func() {
			for i := range lengths {
				clients.directory.Publish(t.Context(), "c", message(i))
			}
		}()
		for i, n := range lengths {
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if checked := len(m.PayloadSlice) > 0; checked != (n >= checkedFrom && n <= checkedTo) {
				t.Errorf("RESP%d: %d bytes were checked in: %t", protocol, n, checked)
			}
			if got := clients.claims.redeem(m); !bytes.Equal(got, message(i)) {
				t.Errorf("RESP%d: %d bytes arrived as %d, or others", protocol, n, len(got))
			}
		}
	}
}

func TestAClaimThatWasNotGivenOutIsForNothing(t *testing.T) {
	t.Parallel()
	var c claimCheck
	first := fmt.Sprint(c.check([]byte("first")))
	second := fmt.Sprint(c.check([]byte("second")))
	for want, m := range map[string]redis.Message{
		"second": {PayloadSlice: []string{second}},
		"plain":  {Payload: "plain"},
	} {
		if got := c.redeem(&m); string(got) != want {
			t.Errorf("%q for %v", got, m)
		}
	}
	for _, claim := range [][]string{{first}, {"3"}, {"-1"}, {""}, {"second"}, {}, {second, second}} {
		if got := c.redeem(&redis.Message{PayloadSlice: claim}); len(got) > 0 {
			t.Errorf("%q for %q", got, claim)
		}
	}
}

// TestOnlyAWholeLineAnnouncesALongString: what merely looks like an announcement
// goes to go-redis as it is, and so does a long string that is no message.
func TestOnlyAWholeLineAnnouncesALongString(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", checkedFrom)
	length := fmt.Sprint(len(long))
	for name, announcement := range map[string]string{
		"a line as long as the buffer": "$" + strings.Repeat("0", checkedFrom-len("$xx")-len(length)) + length + "xx",
		"the rest of a longer line":    "+" + strings.Repeat("x", checkedFrom-1) + "$" + length + endOfLine,
		"no carriage return":           "$" + length + "\n",
		"a verbatim string":            "=" + length + endOfLine,
		"an error":                     "!" + length + endOfLine,
	} {
		claims := new(claimCheck)
		stream := announcement + long + endOfLine + ":1" + endOfLine
		got, err := io.ReadAll(checked(strings.NewReader(stream), claims))
		if err != nil || string(got) != stream || claims.claim > 0 {
			t.Errorf("%s: %d bytes of %d, claim %d: %v", name, len(got), len(stream), claims.claim, err)
		}
	}
}

// TestABrokenStringEndsTheConnection: what follows is out of step.
func TestABrokenStringEndsTheConnection(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", checkedFrom)
	announced := fmt.Sprintf("$%d\r\n", len(long))
	for name, stream := range map[string]string{
		"longer than announced":  announced + long + "x\r\n+OK\r\n",
		"cut in the string":      announced + long[1:],
		"cut after the string":   announced + long,
		"cut in the end of line": announced + long + "\r",
	} {
		c := checked(strings.NewReader(stream), new(claimCheck))
		if got, err := io.ReadAll(c); err == nil || len(got) > 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
	}
}

// TestATimeoutEndsTheConnection: a part of a line may have been taken.
func TestATimeoutEndsTheConnection(t *testing.T) {
	t.Parallel()
	c := checked(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(":12\r\n"))), new(claimCheck))
	for range 2 {
		if n, err := c.Read(make([]byte, 9)); n > 0 || err == nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
}

// FuzzCheckedConn: but for long strings go-redis reads what Redis has written,
// however it is cut.
func FuzzCheckedConn(f *testing.F) {
	long := strings.Repeat("\r\n$9999\r\n", checkedFrom/8)
	f.Add([]byte(":1\r\n$-1\r\n$0\r\n\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\n\r\n\r\n"), uint8(3))
	f.Add([]byte(">3\r\n+a\r\n_\r\n=7\r\ntxt:abc\r\n!3\r\nERR\r\n%1\r\n#t\r\n,1.5\r\n"), uint8(1))
	f.Add([]byte("-"+long+"\n$99999999999999999999\r\n$\r\n$x\r\n\n\r\n$1"), uint8(200))
	f.Add(fmt.Appendf(nil, "$%d\r\n%s\r\n$3\r\nabc\r\n$%d\r\n%s", len(long), long, 3*checkedTo, long), uint8(0))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		claims := new(claimCheck)
		c := checked(iotest.HalfReader(bytes.NewReader(stream)), claims)
		p := make([]byte, 1+int(size))
		for rest := stream; ; {
			before := claims.claim
			n, err := c.Read(p)
			if err != nil {
				return
			}
			want := p[:n]
			if claims.claim > before { // and what was read is the beginning of the claim
				line := rest[:bytes.IndexByte(rest, '\n')+1]
				if announced(line) != len(claims.message) {
					t.Fatalf("%d bytes checked in after %q", len(claims.message), line)
				}
				want = slices.Concat(line, claims.message, []byte(endOfLine))
				for len(c.ready) > 0 {
					_, _ = c.Read(p)
				}
			}
			if len(want) == 0 || !bytes.HasPrefix(rest, want) {
				t.Fatalf("%q was read of %q", want, rest)
			}
			rest = rest[len(want):]
		}
	})
}

// checked is a connection that reads what in does.
func checked(in io.Reader, claims *claimCheck) *checkedConn {
	return &checkedConn{in: bufio.NewReaderSize(in, checkedFrom), claims: claims}
}

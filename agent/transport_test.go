package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestARequestGoesOutAsItCame(t *testing.T) {
	k := newTalker(t)
	u, err := url.Parse("http://app.example:8080/a%20b/%2e?q=1&match[]={a=\"b\"}")
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		r, err := k.asks.get(t.Context(), u, []wire.Field{{Name: "Accept", Value: "text/plain"}, {Name: "X-Two", Value: "a"}, {Name: "X-Two", Value: "b\tc"}})
		if err == nil {
			err = r.Body.Close()
		}
		answered <- err
	}()
	c := await(t, k.conns)
	var got bytes.Buffer
	for !strings.HasSuffix(got.String(), "\r\n\r\n") {
		if _, err := io.CopyN(&got, c.in, 1); err != nil {
			t.Fatal(err)
		}
	}
	want := "GET /a%20b/%2e?q=1&match[]={a=\"b\"} HTTP/1.1\r\nHost: app.example:8080\r\nAccept: text/plain\r\nX-Two: a\r\nX-Two: b\tc\r\n\r\n"
	if got.String() != want {
		t.Errorf("sent %q, want %q", got.String(), want)
	}
	c.say(t, short)
	if err := await(t, answered); err != nil {
		t.Error(err)
	}
	c.ends(t) // its body was not read
}

func TestAConnectionIsUsedAgainOnlyIfNothingIsLeftOnIt(t *testing.T) {
	for what, c := range map[string]struct {
		say, body string
		reused    bool
	}{
		"a length":              {short, "up", true},
		"chunks":                {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n0\r\nX: y\r\n\r\n", "up", true},
		"after a 100 and a 103": {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + short, "up", true},
		"1.0 that stays":        {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nup", "up", true},
		"1.0 that does not":     {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nup", "up", false},
		"Connection: close":     {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nup", "up", false},
		"a 204":                 {"HTTP/1.1 204 No Content\r\n\r\n", "", true},
		"a 204 with a body":     {"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", "", false},
		"more than was said":    {short + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "up", false},
	} {
		t.Run(what, func(t *testing.T) {
			k := newTalker(t)
			first := k.ask(t.Context(), "/1")
			one := await(t, k.conns)
			one.hear(t)
			one.say(t, c.say)
			await(t, first).is(t, c.body)
			second := k.ask(t.Context(), "/2")
			two := one
			if !c.reused {
				one.ends(t)
				two = await(t, k.conns)
			}
			if r := two.hear(t); r.URL.Path != "/2" {
				t.Errorf("asked for %s", r.URL.Path)
			}
			two.say(t, strings.Replace(short, "up", "ok", 1))
			await(t, second).is(t, "ok")
		})
	}
}

func TestAnIdleConnectionThatEndedIsNotUsed(t *testing.T) {
	for what, do := range map[string]func(*testing.T, *talk){
		"ended": func(_ *testing.T, c *talk) { c.Close() },
		"reset": func(_ *testing.T, c *talk) { c.Conn.(*net.TCPConn).SetLinger(0); c.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			k := newTalker(t)
			one := k.idle()
			do(t, one)
			second := k.ask(t.Context(), "/2") // loopback has delivered what was done
			two := await(t, k.conns)
			two.hear(t)
			two.say(t, strings.Replace(short, "up", "ok", 1))
			await(t, second).is(t, "ok")
		})
	}
}

func TestARequestThatFindsItsConnectionEndingIsAskedOnceMore(t *testing.T) {
	k := newTalker(t)
	one := k.idle()

	second := k.ask(t.Context(), "/2")
	one.hear(t) // too late to notice before
	one.Close()
	two := await(t, k.conns)
	two.hear(t)
	two.Close() // a new connection: no third attempt
	if o := await(t, second); o.err == nil || !strings.Contains(o.err.Error(), "without an answer") {
		t.Errorf("got %q, %v", o.body, o.err)
	}

	third := k.ask(t.Context(), "/3")
	three := await(t, k.conns)
	three.hear(t)
	three.say(t, short)
	await(t, third).is(t, "up")
	fourth := k.ask(t.Context(), "/4")
	three.hear(t)
	three.say(t, "HTTP/1.1 200 OK\r\nContent-") // begun: it may not be asked again
	three.Close()
	if o := await(t, fourth); o.err == nil {
		t.Errorf("half a header is an answer: %q", o.body)
	}
	select {
	case <-k.conns:
		t.Error("asked again after half an answer")
	default:
	}
}

func TestTheEndOfAScrapeClosesItsConnection(t *testing.T) {
	for what, said := range map[string]string{
		"before the answer":     "",
		"in the header":         "HTTP/1.1 200 OK\r\nContent-",
		"in the body":           "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup",
		"after an early answer": "HTTP/1.1 103 Early Hints\r\n\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			k := newTalker(t)
			ctx, cancel := context.WithCancel(t.Context())
			answered := k.ask(ctx, "/")
			c := await(t, k.conns)
			c.hear(t)
			c.say(t, said)
			cancel()
			if o := await(t, answered); o.err == nil {
				t.Errorf("got %q", o.body)
			}
			c.ends(t)
		})
	}
}

func TestARedirectKeepsItsConnection(t *testing.T) {
	remotes := make(chan string, 4)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remotes <- r.RemoteAddr
		if !strings.HasSuffix(r.URL.Path, "/") {
			http.Redirect(w, r, r.URL.Path+"/", http.StatusFound) // with a body
		}
	}))
	defer target.Close()
	if r := scrapeOnce(t, target.URL+"/metrics"); r.reason() != wire.OK {
		t.Errorf("%v %q", r.reason(), r.detail())
	}
	if first, second := await(t, remotes), await(t, remotes); first != second {
		t.Errorf("two connections, from %s and %s", first, second)
	}
}

func TestAConnectionInUseClosesAfterItsTargetIsGone(t *testing.T) {
	k := newTalker(t)
	idle := k.ask(t.Context(), "/idle")
	one := await(t, k.conns)
	one.hear(t)
	busy := k.ask(t.Context(), "/busy")
	two := await(t, k.conns)
	two.hear(t)
	one.say(t, short)
	await(t, idle).is(t, "up")
	k.asks.closeIdle()
	one.ends(t)
	two.say(t, short)
	await(t, busy).is(t, "up")
	two.ends(t)
}

func TestAnAnswerToHalfARequestIsPassedOn(t *testing.T) {
	k := newTalker(t)
	long := make([]wire.Field, 0, 64)
	for i := range cap(long) {
		long = append(long, wire.Field{Name: fmt.Sprintf("X-%d", i), Value: strings.Repeat("x", 1000)})
	}
	answered := k.ask(t.Context(), "/", long...)
	c := await(t, k.conns)
	if _, err := io.CopyN(io.Discard, c.in, 1); err != nil { // before that net/http expects no answer
		t.Fatal(err)
	}
	c.say(t, "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")
	await(t, answered).is(t, "much")
	c.Close()
}

func TestWhatComesBeforeABodyIsBounded(t *testing.T) {
	for what, said := range map[string]string{
		"answers of 1xx": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 6) + short,
		"a long header":  "HTTP/1.1 200 OK\r\nConnection: close\r\nX: " + strings.Repeat("x", 1<<20) + "\r\nContent-Length: 2\r\n\r\nup",
	} {
		t.Run(what, func(t *testing.T) {
			k := newTalker(t)
			answered := k.ask(t.Context(), "/")
			c := await(t, k.conns)
			c.hear(t)
			go io.WriteString(c, said) // it may be cut
			if o := await(t, answered); o.err == nil {
				t.Errorf("it is an answer: %q", o.body)
			}
		})
	}
}

package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// trusted is the balancer that the replicas of proxiedPlan believe; whoever comes from
// elsewhere is a stranger to them.
const trusted = "127.0.0.9"

var proxiedPlan = plan{env: "FARSCRAPE_PROXY_PROTOCOL=true FARSCRAPE_TRUSTED_PROXIES=" + trusted + "/32"}

// Headers of the PROXY protocol: of version 1, and the beginning of version 2's, for
// IPv4, which its length follows.
const (
	proxyLine   = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"
	proxyBinary = "\r\n\r\n\x00\r\nQUIT\n\x21\x11"
)

// addresses are what follows a length: from and to.
const addresses = "\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x67\x01\xbb"

// balancerAttacks are headers of the PROXY protocol, of strangers and of a balancer
// that is trusted and should not be.
func balancerAttacks() []attack {
	header := func(name, sent, from, header, expected string) attack {
		return attack{name: name, sent: sent, expected: expected, plan: proxiedPlan, run: func(t *trial) string {
			return t.exchange(t.dialFrom(from), header+t.fill(request("GET /scrape/victim/t", "{auth}"))).String()
		}}
	}
	const whole = proxyBinary + "\x00\x0c" + addresses
	const no, noRequest = "closed without a word", "400 bad_request, closed"
	large := proxyBinary + "\xff\xff" + addresses + strings.Repeat("\xe0\x0f\xfd"+strings.Repeat("x", 0xffd), 16)
	return []attack{
		header("proxy-header", "a header of the trusted balancer", trusted, proxyLine, "200 victim/t"),
		header("proxy-header-none", "none, by a stranger", "127.0.0.1", "", "200 victim/t"),
		header("proxy-header-of-stranger", "a header of version 1, by a stranger", "127.0.0.1", proxyLine, no),
		header("proxy-header-2-of-stranger", "a header of version 2, by a stranger", "127.0.0.1", whole, no),
		header("proxy-header-twice", "a client's header behind the balancer's", trusted, proxyLine+proxyLine, noRequest),
		header("proxy-header-2-after-1", "a client's of version 2 behind the balancer's of version 1", trusted, proxyLine+whole, noRequest),
		header("proxy-header-64-KB", "64 KB of TLVs", trusted, large[:len(proxyBinary)+2+0xffff], no),
		header("proxy-header-endless", "a header of version 1 without an end", trusted, "PROXY "+strings.Repeat("x", 1<<20), no),
		{name: "proxy-header-half", sent: "half a header by each version, and silence", expected: "2 × ended within 12 s", plan: proxiedPlan, run: halfHeaders},
		{name: "proxy-headers-half", sent: "10,000 sockets of the balancer that stop one byte before the end of 4 KB of header", expected: "all ended within 15 s",
			plan: proxiedPlan, bound: bound{memory: 200}, run: func(t *trial) string {
				begin := proxyBinary + "\x10\x00" + addresses + strings.Repeat("x", 0x1000-len(addresses)-1)
				return t.stopAfter(begin, func() net.Conn { return t.dialFrom(trusted) })
			}},
		{name: "proxy-headers-half-of-strangers", sent: "10,000 sockets of strangers that stop in the middle of a header", expected: "all ended within 15 s",
			plan: proxiedPlan, bound: bound{memory: 200}, run: func(t *trial) string {
				return t.stopAfter(proxyBinary[:8], func() net.Conn { return t.dialFrom("127.0.0.1") })
			}},
		{name: "proxy-headers-of-strangers", sent: "5,000 headers of strangers", expected: "5000 × closed without a word", plan: proxiedPlan, run: func(t *trial) string {
			return t.many(5000, 16, func(int) string {
				return t.exchange(t.dialFrom("127.0.0.1"), proxyLine+t.fill(request("GET /-/ready"))).String()
			})
		}},
	}
}

// dialFrom dials the first replica from an address of this machine.
func (t *trial) dialFrom(address string) net.Conn {
	from := &net.Dialer{Timeout: rig.Patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := from.Dial("tcp", t.stack.Replicas[0].Edge)
	t.Must(err)
	return conn
}

func halfHeaders(t *trial) string {
	halves := []string{proxyLine[:20], proxyBinary + "\x00\x0c" + addresses[:4]}
	return t.many(len(halves), len(halves), func(i int) string {
		conn := t.dialFrom(trusted)
		defer conn.Close()
		_, _ = io.WriteString(conn, halves[i])
		_ = conn.SetReadDeadline(time.Now().Add(12 * time.Second))
		if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
			return fmt.Sprintf("open after 12 s: %.20q", halves[i])
		}
		return "ended within 12 s"
	})
}

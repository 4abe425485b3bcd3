package agent

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentLowWater is how many bytes the kernel holds that were not sent yet. By
// default it takes megabytes: on a thin line a PONG would wait behind them,
// past the relay's patience.
const unsentLowWater = 32 << 10

// relayDialer opens the connections of links.
func relayDialer() *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			// Where a sandbox does not know the option, links work without it.
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLowWater)
		})
	}}
}

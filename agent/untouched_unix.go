//go:build unix

package agent

import (
	"net"
	"syscall"
)

// keepsConns: [untouched] can tell, so that connections may be used again.
const keepsConns = true

// untouched makes a function that tells whether an idle conn is as it was left: no
// byte has come, and no end. What has come is not to be had again.
func untouched(conn net.Conn) func() bool {
	of, ok := conn.(syscall.Conn)
	if !ok {
		return func() bool { return true } // a test's pipe
	}
	raw, err := of.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	var one [1]byte
	var heard error
	look := func(fd uintptr) bool {
		_, heard = syscall.Read(int(fd), one[:]) // does not block: Go's sockets never do
		return true
	}
	return func() bool {
		err := raw.Read(look)
		return err == nil && heard == syscall.EAGAIN
	}
}

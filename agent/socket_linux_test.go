package agent

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheKernelHoldsLittleThatIsUnsent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := relayDialer().DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	if err := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("the option is not known here: %v", err)
	}
	if got != unsentLowWater {
		t.Errorf("the mark is at %d bytes, want %d", got, unsentLowWater)
	}
}

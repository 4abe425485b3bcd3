package settings

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// Listen opens the address that is the value of the variable name (without our
// prefix), and says of one that cannot be opened what to do.
func Listen(name, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	_, port := strconv.ParseUint(address, 10, 16)
	switch {
	case err == nil:
		return l, nil
	case port == nil:
		return nil, fmt.Errorf("%[1]s%[2]s=%[3]s: must be host:port: write :%[3]s", Prefix, name, address)
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s%s: %w: another process has it (ss -ltnp)", Prefix, name, err)
	}
	return nil, fmt.Errorf("%s%s: %w", Prefix, name, err)
}

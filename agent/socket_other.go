//go:build !linux

package agent

import "net"

// relayDialer opens the connections of links.
func relayDialer() *net.Dialer { return new(net.Dialer) }

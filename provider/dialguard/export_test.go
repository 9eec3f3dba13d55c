package dialguard

import (
	"context"
	"net"
)

// WithDial replaces the connecting, not the judging.
func WithDial(g Guard, dial func(ctx context.Context, network, address string) (net.Conn, error)) Guard {
	g.dial = dial
	return g
}

// Control is asked right before connecting.
func (g Guard) Control(address string) error { return g.control("tcp", address, nil) }

// Package dialguard connects to mail servers whose names users type, and to nothing else: not to the host's own machines, whatever
// the name resolves to. It is for hosts that take server settings from their users; everybody else needs no guard.
//
//	guard := dialguard.Guard{}
//	imap.New(&imap.Options{Dial: guard.DialContext})
//
// A name is resolved once, each address is looked at, and only those that are public are connected to, as addresses, so that a
// second answer of the DNS changes nothing (rebinding). The operating system's last word before connecting is looked at too.
//
// What it will not do: know which public addresses are your own, or a NAT64 prefix of your network other than 64:ff9b::/96. Keep
// a firewall.
package dialguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Resolver is what a Guard asks for the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Guard is a policy. The zero value lets through public addresses on the ports of mail. Safe for concurrent use.
type Guard struct {
	// Ports that may be connected to; nil: IMAP's 143 and 993, SMTP's 25, 465, 587 and 2525.
	Ports []int
	// Allow lets through addresses that would be refused: for those who run a mail server inside. It widens no port.
	Allow []netip.Prefix
	// Timeout of resolving and connecting together; 0: 30 seconds. A context may end it sooner.
	Timeout time.Duration
	// Resolver is asked once for each connection; nil: net.DefaultResolver.
	Resolver Resolver

	dial func(ctx context.Context, network, address string) (net.Conn, error) // for tests
}

// mailPorts are the ports of a Guard that names none.
var mailPorts = []int{143, 993, 25, 465, 587, 2525}

// RefusedError is a connection that the policy does not allow. It does not say what the name resolves to: whoever types names could
// map the network by it.
type RefusedError struct {
	Host string
	Port int
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("dialguard: connections to %q on port %d are not allowed: use a public mail server and its port", e.Host, e.Port)
}

// maxAddresses bounds what one name can make us knock at.
const maxAddresses = 8

// DialContext connects to host:port over tcp, tcp4 or tcp6. It has the signature of imap.Config.Dial and smtp.Config.Dial. The error
// is a *RefusedError when the policy forbids the port, or every address the host has.
func (g Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	family := map[string]string{"tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"}[network]
	if family == "" {
		return nil, fmt.Errorf("dialguard: network %q: only tcp is connected to", network)
	}
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.New("dialguard: the address is not host:port")
	}
	port, err := strconv.Atoi(p)
	// An empty host is this machine to the net package.
	if err != nil || !g.allowsPort(port) || host == "" {
		return nil, &RefusedError{host, port}
	}
	if g.Timeout <= 0 {
		g.Timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	addrs, err := g.resolve(ctx, family, host)
	if err != nil {
		return nil, err
	}
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !g.allows(a) })
	if len(addrs) == 0 {
		return nil, &RefusedError{host, port}
	}
	return g.connect(ctx, network, addrs[:min(len(addrs), maxAddresses)], port)
}

func (g Guard) allowsPort(port int) bool {
	if g.Ports == nil {
		return slices.Contains(mailPorts, port)
	}
	return slices.Contains(g.Ports, port)
}

func (g Guard) resolve(ctx context.Context, family, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	var r Resolver = net.DefaultResolver
	if g.Resolver != nil {
		r = g.Resolver
	}
	addrs, err := r.LookupNetIP(ctx, family, host)
	if err == nil {
		return slices.Clone(addrs), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if d := (*net.DNSError)(nil); errors.As(err, &d) {
		// Its text names our own name server.
		return nil, &net.DNSError{Err: "can't be resolved", Name: host,
			IsNotFound: d.IsNotFound, IsTimeout: d.IsTimeout, IsTemporary: d.IsTemporary}
	}
	return nil, &net.DNSError{Err: "can't be resolved", Name: host, IsTemporary: true}
}

// connect tries one address after the other, each with its share of the time that is left.
func (g Guard) connect(ctx context.Context, network string, addrs []netip.Addr, port int) (net.Conn, error) {
	dial := g.dial
	if dial == nil {
		dial = (&net.Dialer{Control: g.control}).DialContext
	}
	var first error
	for i, a := range addrs {
		share := ctx
		cancel := func() {}
		if end, ok := ctx.Deadline(); ok {
			share, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(addrs)-i))
		}
		conn, err := dial(share, network, netip.AddrPortFrom(a.Unmap(), uint16(port)).String())
		cancel()
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
			if op := (*net.OpError)(nil); errors.As(err, &op) {
				// An address of ours that Allow lets through is nobody's business.
				first = &net.OpError{Op: op.Op, Net: op.Net, Err: op.Err}
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// control is asked by the net package right before it connects, with the address it connects to.
func (g Guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !g.allows(ap.Addr()) || !g.allowsPort(int(ap.Port())) {
		return errors.New("dialguard: not allowed")
	}
	return nil
}

func (g Guard) allows(a netip.Addr) bool {
	if a.Zone() != "" || !a.IsValid() { // an address on a link, whatever its prefix
		return false
	}
	a = a.Unmap()
	return slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(a) }) || public(a)
}

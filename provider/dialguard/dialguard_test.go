package dialguard_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/provider/dialguard"
)

// names is a resolver that knows these names, and what the C library reads as addresses.
type names map[string][]string

func (n names) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if list, ok := n[host]; ok {
		var out []netip.Addr
		for _, s := range list {
			out = append(out, netip.MustParseAddr(s))
		}
		return out, nil
	}
	if a, ok := aton(host); ok {
		return []netip.Addr{a}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, Server: "10.0.0.53:53", IsNotFound: true}
}

// aton reads 127.1, 0x7f000001, 2130706433 and 0177.0.0.1, as inet_aton does.
func aton(s string) (netip.Addr, bool) {
	parts := strings.Split(s, ".")
	var v uint64
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 0, 32)
		if err != nil || len(parts) > 4 {
			return netip.Addr{}, false
		}
		if i == len(parts)-1 {
			v = v<<(8*(4-i)) | n
		} else {
			v = v<<8 | n
		}
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), true
}

var errDown = errors.New("down")

// try dials and returns the addresses that were connected to; all are down.
func try(g dialguard.Guard, address string) (dialled []string, err error) {
	g = dialguard.WithDial(g, func(_ context.Context, _, a string) (net.Conn, error) {
		dialled = append(dialled, a)
		return nil, errDown
	})
	_, err = g.DialContext(context.Background(), "tcp", address)
	return dialled, err
}

var inside = []string{
	"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1",
	"169.254.169.254", "169.254.1.1", "100.64.0.1", "100.127.255.255", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1",
	"198.19.255.255", "198.51.100.7", "203.0.113.9", "192.88.99.1", "168.63.129.16", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1",
	"100::1", "2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1", "2001::1", "2001:0:a9fe:a9fe::", "2002:7f00:1::", "2002:a00:1::1",
	"2002:808:808::1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8", "64:ff9b:1:7f00:1::", "5f00::1",
	"fe80::1%eth0", "::ffff:8.8.8.8%1", "2600::1%lo",
}

func TestInsideIsRefused(t *testing.T) {
	for _, a := range inside {
		host := strings.ReplaceAll(a, "%", "-")
		forms := map[string]dialguard.Resolver{a: names{}}
		if !strings.Contains(a, "%") {
			forms["name-of-"+host+".example"] = names{"name-of-" + host + ".example": {a}}
		}
		for form, r := range forms {
			dialled, err := try(dialguard.Guard{Resolver: r}, net.JoinHostPort(form, "993"))
			var refused *dialguard.RefusedError
			if !errors.As(err, &refused) || refused.Host != form || refused.Port != 993 || len(dialled) > 0 {
				t.Errorf("%s: %v, dialled %v", form, err, dialled)
			}
			if err != nil && form != a && strings.Contains(strings.ReplaceAll(err.Error(), form, ""), a) {
				t.Errorf("the error tells the address: %v", err)
			}
		}
		if ap := net.JoinHostPort(a, "993"); (dialguard.Guard{}).Control(ap) == nil {
			t.Errorf("%s would be connected to", ap)
		}
	}
	for _, host := range []string{"127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0xa9fea9fe", "10.1", "0"} {
		if dialled, err := try(dialguard.Guard{Resolver: names{}}, host+":993"); err == nil || len(dialled) > 0 {
			t.Errorf("%s: %v, dialled %v", host, err, dialled)
		}
	}
}

func TestOutsideIsDialled(t *testing.T) {
	for a, want := range map[string]string{
		"8.8.8.8": "8.8.8.8", "172.32.0.1": "172.32.0.1", "100.128.0.1": "100.128.0.1", "11.0.0.1": "11.0.0.1", "::ffff:8.8.8.8": "8.8.8.8",
		"2600::1": "[2600::1]", "2001:4860:4860::8888": "[2001:4860:4860::8888]", "64:ff9b::8.8.8.8": "[64:ff9b::808:808]",
	} {
		dialled, err := try(dialguard.Guard{Resolver: names{"mail.example": {a}}}, "mail.example:993")
		if !errors.Is(err, errDown) || !slices.Equal(dialled, []string{want + ":993"}) {
			t.Errorf("%s: dialled %v, %v", a, dialled, err)
		}
		if err := (dialguard.Guard{}).Control(want + ":993"); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestRefusedAddressesAmongGoodOnes(t *testing.T) {
	g := dialguard.Guard{Resolver: names{"mail.example": {"10.0.0.1", "8.8.8.8", "::1", "2600::1"}}}
	dialled, err := try(g, "mail.example:587")
	if !errors.Is(err, errDown) || !slices.Equal(dialled, []string{"8.8.8.8:587", "[2600::1]:587"}) {
		t.Errorf("dialled %v, %v", dialled, err)
	}
	many := names{}
	for i := range 100 {
		many["many.example"] = append(many["many.example"], fmt.Sprintf("8.8.8.%d", i))
	}
	if dialled, _ := try(dialguard.Guard{Resolver: many}, "many.example:25"); len(dialled) != 8 {
		t.Errorf("one name made us dial %d addresses", len(dialled))
	}
}

func TestPorts(t *testing.T) {
	for port, want := range map[string]bool{"143": true, "993": true, "25": true, "465": true, "587": true, "2525": true, "22": false, "80": false,
		"0": false, "-1": false, "65536": false, "imap": false, "": false, "00993": true} {
		dialled, err := try(dialguard.Guard{}, "8.8.8.8:"+port)
		var refused *dialguard.RefusedError
		if (len(dialled) > 0) != want || want == errors.As(err, &refused) {
			t.Errorf("port %q: dialled %v, %v", port, dialled, err)
		}
	}
	if dialled, _ := try(dialguard.Guard{Ports: []int{8143}}, "8.8.8.8:8143"); len(dialled) != 1 {
		t.Error("a port of our own is refused")
	}
	if dialled, _ := try(dialguard.Guard{Ports: []int{}}, "8.8.8.8:993"); len(dialled) != 0 {
		t.Error("no port is allowed, and one was dialled")
	}
	for _, address := range []string{":993", "8.8.8.8", "[::1", "8.8.8.8:993:1"} {
		if dialled, err := try(dialguard.Guard{}, address); err == nil || len(dialled) > 0 {
			t.Errorf("%q: dialled %v, %v", address, dialled, err)
		}
	}
	for _, network := range []string{"udp", "unix", "ip4:icmp", ""} {
		if _, err := (dialguard.Guard{}).DialContext(t.Context(), network, "8.8.8.8:993"); err == nil {
			t.Errorf("network %q was dialled", network)
		}
	}
}

// A real connection, to a server inside that is allowed, through the last check too.
func TestAllow(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	address := fmt.Sprintf("mail.internal.example:%d", port)
	g := dialguard.Guard{Ports: []int{port}, Resolver: names{"mail.internal.example": {"127.0.0.1"}}}
	var refused *dialguard.RefusedError
	if _, err := g.DialContext(t.Context(), "tcp", address); !errors.As(err, &refused) {
		t.Errorf("without Allow: %v", err)
	}
	g.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	c, err := g.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	served, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close() // while it is open nobody else is given the port
	ln.Close()
	var op *net.OpError
	if _, err := g.DialContext(t.Context(), "tcp", address); !errors.As(err, &op) || op.Op != "dial" || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("nobody listens there: %v", err)
	}
	g.Resolver = names{"mail.internal.example": {"127.0.0.2"}}
	if _, err := g.DialContext(t.Context(), "tcp", address); !errors.As(err, &refused) {
		t.Errorf("beside Allow: %v", err)
	}
}

func TestResolving(t *testing.T) {
	_, err := try(dialguard.Guard{Resolver: names{}}, "nowhere.example:993")
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsNotFound || strings.Contains(err.Error(), "10.0.0.53") {
		t.Errorf("an unknown name: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (dialguard.Guard{Resolver: names{}}).DialContext(ctx, "tcp", "mail.example:993"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Whatever is dialled is public: by an oracle that shares nothing with the lists.
func FuzzNothingInsideIsDialled(f *testing.F) {
	for _, a := range inside {
		f.Add(a, a)
	}
	for _, a := range []string{"8.8.8.8", "2600::1", "127.1", "0x7f.1", "mail.example", "[::1]", "::ffff:7f00:1", "1.2.3.4%25lo"} {
		f.Add(a, "8.8.8.8")
	}
	f.Fuzz(func(t *testing.T, host, answer string) {
		r := names{}
		if a, err := netip.ParseAddr(answer); err == nil {
			// The address itself, and every form that carries the last four bytes of it.
			b := a.As16()
			v4 := netip.AddrFrom4([4]byte(b[12:]))
			x := fmt.Sprintf("%02x%02x:%02x%02x", b[12], b[13], b[14], b[15])
			r["any.example"] = []string{a.String(), v4.String(), "::ffff:" + x, "::" + x, "2002:" + x + "::1", "64:ff9b::" + x,
				"64:ff9b:1::" + x, "2001:0:" + x + "::", "fe80::" + x}
		}
		for _, h := range []string{host, "any.example"} {
			dialled, _ := try(dialguard.Guard{Resolver: r}, net.JoinHostPort(h, "993"))
			for _, d := range dialled {
				ap, err := netip.ParseAddrPort(d)
				if err != nil {
					t.Fatalf("%q made us dial %q", h, d)
				}
				if a := ap.Addr(); ap.Port() != 993 || !stranger(a) {
					t.Fatalf("%q (%v) made us dial %s", h, r[h], d)
				}
			}
		}
	})
}

func stranger(a netip.Addr) bool {
	b := a.As16()
	if a.Is4In6() || a.Zone() != "" {
		return false
	}
	if a.Is6() && b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b {
		return b[4] == 0 && b[5] == 0 && stranger(netip.AddrFrom4([4]byte(b[12:])))
	}
	if a.Is6() {
		return b[0]>>5 == 1 && !(b[0] == 0x20 && b[1] == 2) && !(b[0] == 0x20 && b[1] == 1 && b[2] < 2)
	}
	four := [4]byte(b[12:])
	return a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && four[0] != 0 && four[0] < 224 &&
		!(four[0] == 100 && four[1]&0xc0 == 64)
}

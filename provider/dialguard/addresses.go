package dialguard

import "net/netip"

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// special4 is what is not a stranger's machine among IPv4 addresses: the IANA special-purpose registry (RFC 6890) and what clouds
// keep for themselves.
var special4 = prefixes(
	"0.0.0.0/8",        // this network; 0.0.0.0 is this machine
	"10.0.0.0/8",       // private, RFC 1918
	"100.64.0.0/10",    // carrier NAT, RFC 6598; Alibaba's metadata 100.100.100.200
	"127.0.0.0/8",      // loopback
	"168.63.129.16/32", // Azure's host, public by its number only
	"169.254.0.0/16",   // link-local; metadata of AWS, Azure, Google and others 169.254.169.254
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments; Oracle's metadata 192.0.0.192
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays, RFC 7526
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and broadcast
)

var (
	// Global unicast (RFC 4291, 2.4). All else is not: ::1, ::, fc00::/7 (AWS's metadata fd00:ec2::254), fe80::/10, ff00::/8,
	// IPv4-compatible ::/96, discard 100::/64, and 64:ff9b:1::/48, the NAT64 prefix for local use (RFC 8215), where an IPv4
	// address may stand in several places.
	global6 = netip.MustParsePrefix("2000::/3")

	special6 = prefixes(
		"2001::/23",     // protocol assignments: Teredo 2001::/32, which holds IPv4 addresses; benchmarks 2001:2::/48; ORCHID
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4, which holds an IPv4 address; deprecated (RFC 7526), no mail server is there
		"3fff::/20",     // documentation, RFC 9637
		"5f00::/16",     // segment routing, RFC 9602
	)

	// nat64 holds an IPv4 address in its last four bytes (RFC 6052), and is how a machine without IPv4 reaches one.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// public reports whether an address may belong to a stranger's mail server. It is unmapped and has no zone.
func public(a netip.Addr) bool {
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	special := special4
	if a.Is6() {
		if !global6.Contains(a) {
			return false
		}
		special = special6
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

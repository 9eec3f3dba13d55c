package message

import (
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Key is the form in which addresses and domains are compared: lower-case, NFC, the domain in A-labels without
// a trailing dot. The key of an address contains "@", the key of a domain does not. The empty Key means that the
// text is neither.
type Key string

// Address is one mailbox of an address header.
type Address struct {
	Name string // display name, decoded; never use it for matching: anybody can write anything there
	Addr string // addr-spec as written
	Key  Key    // matching form of Addr, "" when Addr is not an address
}

// NewAddress returns the address with its matching key.
func NewAddress(name, addr string) Address {
	return Address{Name: name, Addr: addr, Key: AddressKey(addr)}
}

// String returns the address as written, for people: `Name <addr>` or the bare address.
func (a Address) String() string {
	if a.Name == "" {
		return a.Addr
	}
	return a.Name + " <" + a.Addr + ">"
}

// AddressKey returns the matching key of an addr-spec, "" when it has no local part or no valid domain. The local
// part is compared in lower case although RFC 5321, 2.4 calls it case-sensitive: no service in use is.
func AddressKey(addr string) Key {
	addr = strings.TrimSpace(addr)
	at := strings.LastIndexByte(addr, '@')
	if at <= 0 || strings.ContainsAny(addr, "<>\x00\r\n") {
		return ""
	}
	domain := DomainKey(addr[at+1:])
	if domain == "" {
		return ""
	}
	local := addr[:at]
	if len(local) > 2 && local[0] == '"' && local[len(local)-1] == '"' {
		local = strings.ReplaceAll(strings.ReplaceAll(local[1:len(local)-1], `\"`, `"`), `\\`, `\`)
	}
	return Key(strings.ToLower(norm.NFC.String(local))) + "@" + domain
}

// DomainKey returns the matching key of a domain, "" when it is none.
func DomainKey(domain string) Key {
	domain = strings.TrimSuffix(strings.TrimSpace(domain), ".")
	if domain == "" || len(domain) > 253 || strings.ContainsAny(domain, " @<>,;\"()\t\r\n\x00") {
		return ""
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		// Seen in practice: underscores and other labels that IDNA refuses and DNS serves.
		ascii = strings.ToLower(domain)
	}
	return Key(ascii)
}

// Domain returns the domain of an address key, or the key itself when it is a domain.
func (k Key) Domain() Key { return k[strings.LastIndexByte(string(k), '@')+1:] }

// IsAddress reports whether the key is of an address.
func (k Key) IsAddress() bool { return strings.IndexByte(string(k), '@') > 0 }

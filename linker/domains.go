package linker

import (
	_ "embed"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"

	"github.com/intellicon/email-integration/message"
)

// The lists hold one domain a line; # starts a comment. They are our own selection. Domains with doubt are left out:
// a customer's domain taken for a personal one costs links, the other way round costs one wrong account that a host
// would have had to create first.
var (
	//go:embed personal.txt
	personalText string
	//go:embed shared.txt
	sharedText string

	personalList = sync.OnceValue(func() []message.Key { return readList(personalText) })
	sharedSet    = sync.OnceValue(func() map[message.Key]bool {
		set := map[message.Key]bool{}
		for _, k := range personalList() {
			set[k] = true
		}
		for _, k := range readList(sharedText) {
			set[k] = true
		}
		return set
	})
)

func readList(text string) []message.Key {
	var ks []message.Key
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.Fields(line) {
			ks = append(ks, message.Key(word))
		}
	}
	slices.Sort(ks)
	return slices.Compact(ks)
}

// PersonalDomains returns the shipped list of providers of personal mail, sorted: gmail.com, outlook.com and such. They
// never match accounts. A host may offer them as ExcludedDomains, with the reach "accounts" where its customers
// write from such addresses.
func PersonalDomains() []message.Key { return slices.Clone(personalList()) }

// shared reports whether many parties use addresses directly under the domain.
func (r *Rules) shared(domain message.Key) bool {
	if slices.Contains(r.CompanyDomains, domain) {
		return false
	}
	return sharedSet()[domain] || slices.Contains(r.SharedDomains, domain)
}

// parent returns the domain above, "" when there is none.
func parent(domain message.Key) message.Key {
	_, up, _ := strings.Cut(string(domain), ".")
	return message.Key(up)
}

// within reports whether host is the domain or lies under it.
func within(host, domain message.Key) bool {
	n := len(host) - len(domain)
	return domain != "" && n >= 0 && host[n:] == domain && (n == 0 || host[n-1] == '.')
}

// openToAccounts reports whether the host can be somebody's domain: not a public suffix, a bare label or an IP.
func openToAccounts(host message.Key) bool {
	last := strings.LastIndexByte(string(host), '.')
	if last <= 0 || host[0] == '[' || strings.Trim(string(host[last+1:]), "0123456789") == "" {
		return false
	}
	suffix, _ := publicsuffix.PublicSuffix(string(host))
	return len(suffix) < len(host)
}

// nextAccountDomain returns the domain to ask after host on the way up to the registrable domain, "" at the end.
func nextAccountDomain(host message.Key) message.Key {
	up := parent(host)
	suffix, icann := publicsuffix.PublicSuffix(string(host))
	if !icann && strings.IndexByte(suffix, '.') < 0 {
		return "" // An unknown top-level domain (example.corp): nobody knows where a company ends there.
	}
	if len(up) <= len(suffix) {
		return ""
	}
	return up
}

// accountDomains calls ask for each domain by which an account of the host may be known, nearest first, until ask
// returns true. Shared domains end the walk: acme.onmicrosoft.com is a tenant, onmicrosoft.com is everybody.
func (r *Rules) accountDomains(host message.Key, ask func(message.Key) bool) {
	if r.shared(host) || !openToAccounts(host) {
		return
	}
	for d := host; d != "" && !r.shared(d); d = nextAccountDomain(d) {
		if ask(d) {
			return
		}
	}
}

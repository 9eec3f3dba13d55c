package linker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/intellicon/email-integration/message"
)

// Rules says how an organisation's mail is linked. It is a complete value: start from DefaultRules, change what
// differs, check with Validate, store it whole. A kind that is switched off is neither linked nor used to find
// records that hang on it. Rules holds no pointers that Query and Decide write to: share it between goroutines.
type Rules struct {
	Contacts       bool `json:"contacts"`        // link contacts by any of their addresses
	Accounts       bool `json:"accounts"`        // link accounts by domain, and the accounts of matched contacts
	Leads          bool `json:"leads"`           // link leads by address
	Opportunities  bool `json:"opportunities"`   // link open opportunities of matched contacts and accounts
	CreateContacts bool `json:"create_contacts"` // propose contacts for unknown senders

	// OpportunityPolicy chooses among all the opportunities of a message that were open at its date.
	OpportunityPolicy OpportunityPolicy `json:"opportunity_policy"`
	// Custom lists further kinds of record to link by address, or because they hang on a matched record.
	Custom []Kind `json:"custom_kinds"`

	// Own holds every address of every mailbox the organisation has connected. The engine fills it in on each call;
	// it is not stored with the rules. It is scanned, so its order doesn't matter.
	Own []message.Key `json:"-"`
	// OwnDomains are the organisation's domains, with their sub-domains. Own people are never matched or created.
	OwnDomains []message.Key `json:"own_domains"`

	ExcludedDomains   []Exclusion   `json:"excluded_domains"`
	ExcludedAddresses []message.Key `json:"excluded_addresses"` // "never this sender"; the reach is everything

	// SharedDomains adds to the shipped lists of domains that many parties share (PersonalDomains, and parents such
	// as onmicrosoft.com). Shared domains never match accounts. CompanyDomains takes domains off those lists.
	SharedDomains  []message.Key `json:"shared_domains"`
	CompanyDomains []message.Key `json:"company_domains"`

	// IgnoreAutomated links automated mail to nothing. Without it, such mail links to the records it matches.
	// Either way it creates no contact.
	IgnoreAutomated bool `json:"ignore_automated"`
	// FailedAuth says what mail may still do whose From the receiver found to be forged.
	FailedAuth FailedAuth `json:"failed_auth"`
	// InternalThreads lets mail among own people inherit the links of the mails it answers.
	InternalThreads bool `json:"internal_threads"`

	MaxParticipants int `json:"max_participants"` // outside participants looked up per message, 1 to 1000
	MaxLinks        int `json:"max_links"`        // links per message, 1 to 1000; a person's links come first
}

// OpportunityPolicy chooses among the open opportunities of a message.
type OpportunityPolicy string

const (
	AllOpportunities  OpportunityPolicy = "all"
	LatestOpportunity OpportunityPolicy = "latest" // the one updated last
	SingleOpportunity OpportunityPolicy = "single" // only when there is exactly one
)

// Reach says how far an exclusion goes.
type Reach string

const (
	ReachEverything Reach = "everything" // participants there match nothing and are never created; also ""
	ReachAccounts   Reach = "accounts"   // they match no account by domain and are never created; known people still link
)

// Exclusion keeps a domain and its sub-domains out.
type Exclusion struct {
	Domain message.Key `json:"domain"`
	Reach  Reach       `json:"reach"`
}

// FailedAuth lifts the limits on mail that failed the receiver's authentication. Both default to false: anybody can
// write anybody's From.
type FailedAuth struct {
	InheritThread  bool `json:"inherit_thread"`
	CreateContacts bool `json:"create_contacts"`
}

// DefaultRules returns the rules of an organisation that has chosen nothing yet.
func DefaultRules() Rules {
	return Rules{
		Contacts:          true,
		Accounts:          true,
		OpportunityPolicy: AllOpportunities,
		Custom:            []Kind{},
		OwnDomains:        []message.Key{},
		ExcludedDomains:   []Exclusion{},
		ExcludedAddresses: []message.Key{},
		SharedDomains:     []message.Key{},
		CompanyDomains:    []message.Key{},
		MaxParticipants:   100,
		MaxLinks:          50,
	}
}

// Validate reports every wrong field, each as a *message.FieldError, joined.
func (r Rules) Validate() error {
	var errs []error
	wrong := func(path, format string, args ...any) {
		errs = append(errs, &message.FieldError{Field: path, Problem: fmt.Sprintf(format, args...)})
	}
	domain := func(path string, k message.Key) bool {
		if k == "" || k.IsAddress() || message.DomainKey(string(k)) == "" {
			wrong(path, "%q is not a domain", k)
			return false
		}
		if want := message.DomainKey(string(k)); want != k {
			wrong(path, "%q must be written %q", k, want)
			return false
		}
		return true
	}
	domains := func(path string, ks []message.Key) {
		for i, k := range ks {
			domain(fmt.Sprintf("%s[%d]", path, i), k)
		}
	}
	if r.Opportunities && !r.Contacts && !r.Accounts {
		wrong("opportunities", "needs contacts or accounts: opportunities are found through them")
	}
	switch r.OpportunityPolicy {
	case AllOpportunities, LatestOpportunity, SingleOpportunity:
	default:
		wrong("opportunity_policy", `%q must be "all", "latest" or "single"`, r.OpportunityPolicy)
	}
	for i, k := range r.Custom {
		path := fmt.Sprintf("custom_kinds[%d]", i)
		switch {
		case k == "":
			wrong(path, "is empty")
		case k == Contact || k == Account || k == Lead || k == Opportunity:
			wrong(path, "%q has a switch of its own", k)
		case slices.Index(r.Custom, k) < i:
			wrong(path, "%q is listed twice", k)
		}
	}
	for i, k := range r.OwnDomains {
		path := fmt.Sprintf("own_domains[%d]", i)
		if !domain(path, k) {
			continue
		}
		if r.shared(k) {
			wrong(path, "%q is shared by many: everyone there would count as your own people", k)
		} else if !openToAccounts(k) {
			wrong(path, "%q is a public suffix", k)
		}
	}
	for i, x := range r.ExcludedDomains {
		path := fmt.Sprintf("excluded_domains[%d]", i)
		domain(path+".domain", x.Domain)
		if x.Reach != "" && x.Reach != ReachEverything && x.Reach != ReachAccounts {
			wrong(path+".reach", `%q must be "everything" or "accounts"`, x.Reach)
		}
	}
	for i, k := range r.ExcludedAddresses {
		path := fmt.Sprintf("excluded_addresses[%d]", i)
		if want := message.AddressKey(string(k)); want == "" {
			wrong(path, "%q is not an address", k)
		} else if want != k {
			wrong(path, "%q must be written %q", k, want)
		}
	}
	domains("shared_domains", r.SharedDomains)
	domains("company_domains", r.CompanyDomains)
	for i, k := range r.CompanyDomains {
		if slices.Contains(r.SharedDomains, k) {
			wrong(fmt.Sprintf("company_domains[%d]", i), "%q is in shared_domains too", k)
		}
	}
	if r.MaxParticipants < 1 || r.MaxParticipants > 1000 {
		wrong("max_participants", "%d must be 1 to 1000", r.MaxParticipants)
	}
	if r.MaxLinks < 1 || r.MaxLinks > 1000 {
		wrong("max_links", "%d must be 1 to 1000", r.MaxLinks)
	}
	return errors.Join(errs...)
}

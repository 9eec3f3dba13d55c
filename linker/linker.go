// Package linker decides which CRM records a message belongs to, and says why. It is pure: no context, clock,
// logger or I/O. A caller asks Rules.Query what to look up, looks it up in one round trip, and calls Rules.Decide.
package linker

import (
	"time"

	"github.com/intellicon/email-integration/message"
)

// Kind is the kind of a CRM record. Kinds are open: a host may use its own custom objects.
type Kind string

const (
	Contact     Kind = "contact"
	Account     Kind = "account" // a company; never a mailbox
	Lead        Kind = "lead"
	Opportunity Kind = "opportunity"
)

// Record names any CRM record.
type Record struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
}

// Query is what a page of messages needs to know from the CRM.
type Query struct {
	Addresses, Domains []message.Key // sorted, distinct
	Records            []Record      // thread links to verify: what became of them
	Related            []Kind        // kinds to report in Directory.Related for every record found
}

// Directory is the CRM's answer to a Query.
type Directory struct {
	Holders map[message.Key][]Record // address or domain -> who has it
	Related map[Record][]Related     // accounts of a contact, opportunities of a contact or account, custom kinds
	Now     map[Record]Record        // itself, its successor after a merge; absent = gone
}

// Related is a record that hangs on another.
type Related struct {
	Record
	Opened, Closed, Updated time.Time // zero: unknown or not closed
}

// How says by what a link was made.
type How string

const (
	ByAddress How = "address"
	ByDomain  How = "domain"
	ByThread  How = "thread"
	ByRelated How = "related"
	ByPerson  How = "person" // a person's correction, never undone by the machine
	ByHost    How = "host"   // the host said so: it had the email before, with this link
)

// Link ties a message to a record.
type Link struct {
	Record
	By       How    `json:"by"`
	Evidence string `json:"evidence"`          // the address, the domain, the cited Message-ID, the record it hangs on, or the host's own id of the email
	Strength int    `json:"strength"`          // 0 to 100, to sort by
	Removed  bool   `json:"removed,omitempty"` // a person's "not this record"
}

// Direct reports whether a reply inherits the link: links by address or domain, a person's and the host's do.
func (l Link) Direct() bool {
	return (l.By == ByAddress || l.By == ByDomain || l.By == ByPerson || l.By == ByHost) && !l.Removed
}

// Disposition is what the decision makes of a message.
type Disposition string

const (
	Linked    Disposition = "linked"
	Unmatched Disposition = "unmatched"
	Excluded  Disposition = "excluded"
	Internal  Disposition = "internal"
	Automated Disposition = "automated"
)

// Decision is the linker's verdict on one message.
type Decision struct {
	Disposition Disposition
	Reason      string         // why, in words; for Excluded the rule that did it
	Links       []Link         // sorted by kind, id; one per record, its strongest reason
	Create      []Candidate    // contacts to create
	Needs       message.Fields // what the envelope lacks for a final decision; 0 = final
	Capped      bool           // a bound of Rules was hit
}

// Candidate is an unknown sender for whom a contact may be created.
type Candidate struct {
	Address message.Key
	Name    string
}

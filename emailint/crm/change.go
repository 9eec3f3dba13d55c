package crm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// ChangeKind is what happened to a record.
type ChangeKind string

const (
	RecordCreated    ChangeKind = "created"
	AddressesChanged ChangeKind = "addresses changed" // an address or a domain was added or removed
	RecordMerged     ChangeKind = "merged"            // into Into: corrections follow
	RecordDeleted    ChangeKind = "deleted"
	RelationChanged  ChangeKind = "relation changed" // an account of a contact, a deal of either, a custom record
	DealChanged      ChangeKind = "deal changed"     // opened, closed or re-dated, as opportunities and custom records with dates are
)

// RecordChange says that a record is not what it was, so that the mail it concerns is decided again. Tell it when the change is
// committed: mail is decided by what Find answers from then on.
type RecordChange struct {
	Kind   ChangeKind
	Record linker.Record
	Into   linker.Record // RecordMerged: the record that lives on
	// Addresses are the addresses and domains that the record has, gained or lost, as they are written.
	Addresses []string
	// Related are the records on which it hangs or hung: mail that is linked to them is decided again as well. A deal names its contacts
	// and its account.
	Related []linker.Record
}

// Validate names what is missing or wrong.
func (c RecordChange) Validate() error {
	var errs []error
	known := func(field string, r linker.Record) {
		if r.Kind == "" || r.ID == "" {
			errs = append(errs, fmt.Errorf("%s: kind and id must be named", field))
		}
	}
	known("record", c.Record)
	switch c.Kind {
	case RecordCreated, RecordDeleted, DealChanged, RelationChanged:
	case AddressesChanged:
		if len(c.Addresses) == 0 {
			errs = append(errs, errors.New("addresses: name the addresses and domains that were added or removed"))
		}
	case RecordMerged:
		known("into", c.Into)
		if c.Into == c.Record {
			errs = append(errs, errors.New("into: a record can't be merged into itself"))
		}
	default:
		errs = append(errs, fmt.Errorf("kind: %q is none", c.Kind))
	}
	if c.Kind != RecordMerged && c.Into != (linker.Record{}) {
		errs = append(errs, errors.New("into: only a merge has it"))
	}
	for i, a := range c.Addresses {
		if Key(a) == "" {
			errs = append(errs, fmt.Errorf("addresses[%d]: it is neither an address nor a domain", i))
		}
	}
	for i, r := range c.Related {
		known(fmt.Sprintf("related[%d]", i), r)
	}
	return errors.Join(errs...)
}

// Key is the key of an address or of a domain, "" when it is neither.
func Key(s string) message.Key {
	if strings.Contains(s, "@") {
		return message.AddressKey(s)
	}
	return message.DomainKey(s)
}

// AddressLister is optional, for an import that reads mail with people of the CRM and only lists the rest (SyncSettings.PeopleFirst). Addresses returns
// addresses ("ada@acme.com") of people and domains ("acme.com") of accounts in the order in which they came to the CRM, beginning after a mark of the
// host's own making ("" is the start): about limit of them, the mark after the last, and whether another call would return some now. What comes to the
// CRM later, or to another record, comes after all marks that were given before. One may be returned twice.
type AddressLister interface {
	Addresses(ctx context.Context, org, after string, limit int) (who []string, next string, more bool, err error)
}

// ChangeLister is optional, for hosts that may miss telling a change: the engine asks by itself, every quarter of an hour at
// most. RecordChanges returns what changed since a mark of the host's own making ("" is the first time: return no change and the mark of now), in the
// order in which it happened, and the next mark. more says that another call would return something now. A change may be returned twice.
type ChangeLister interface {
	RecordChanges(ctx context.Context, org, since string) (changes []RecordChange, next string, more bool, err error)
}

package emailint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// DeclaredEmail is an email that the CRM has already, from another integration.
type DeclaredEmail struct {
	ID        string // the CRM's own, and Email.HostID from the day on which a mailbox shows the mail
	MessageID string // with or without angle brackets
	// From is the author's address. With it only a mail of that author is taken for this one; "": every mail with the Message-ID may be it.
	From string
	// Records are those to which it is linked: such links say "host", stand whatever the rules say, and are inherited by answers. None: it is only known
	// again, where it links by the rules.
	Records []linker.Record
}

// Declaration is the receipt of Declare.
type Declaration struct {
	Added   int // declared for the first time
	Doubles []DoubleEmail
}

// DoubleEmail is an email that the CRM has twice: what was declared as ID has the Message-ID, and the author, of what was declared as Of before. Nothing was
// stored of it: make the two one, and declare the records of both under Of.
type DoubleEmail struct{ ID, Of string }

// DeclaredCounts says how many emails are declared, and how many of them a mailbox has shown and are linked.
type DeclaredCounts = state.DeclaredCounts

// declaredPage bounds what is declared in one call, which is one transaction, and declaredRecords the records of each.
const (
	declaredPage    = 1000
	declaredRecords = 50
)

// Declare says which emails the CRM has already, so that they become those that mailboxes show, and not second ones: call it with up to 1,000 at a
// time, before mailboxes are connected or after, as a job of the host's. It is durable when it returns; an error says that nothing was stored. Declared again, an
// email has the records of the last time.
//
// A mail is the declared one if it is of the organisation, has the Message-ID, and the author where one is declared; if its author was not found to be forged
// (Rules.FailedAuth); and if no other mail is that email by now: the first that is shown is it, and stays it, whatever is
// declared of its Message-ID later. Then CRMStore.SaveEmails is told Email.HostID, also where
// the email was saved before it was declared. A person's word on the mail outweighs the links. A mailbox that is erased takes its emails along, the
// declarations stay: should it be connected again they hold.
func (e *Engine) Declare(ctx context.Context, org string, emails ...DeclaredEmail) (out Declaration, err error) {
	if len(emails) > declaredPage {
		return out, fmt.Errorf("emailint: declaring emails: %d are too many for one call, which takes %d", len(emails), declaredPage)
	}
	h := e.hasher(org)
	var errs []error
	ds := make([]state.Declared, len(emails))
	for i, m := range emails {
		wrong := func(field, problem string) { errs = append(errs, fmt.Errorf("emails[%d].%s: %s", i, field, problem)) }
		id := bare(m.MessageID)
		if id == "" {
			wrong("MessageID", "it is missing, and nothing else names the mail")
		}
		if !nameable(m.ID) {
			wrong("ID", "the CRM's id must be named, in 200 bytes of text")
		}
		ds[i] = state.Declared{HostID: m.ID, MessageID: state.Hash(h.MessageID(id)), Records: m.Records}
		if m.From != "" {
			k := message.AddressKey(m.From)
			if k == "" {
				wrong("From", "it is no address")
			}
			ds[i].Author = state.Hash(h.Key(k))
		}
		if len(m.Records) > declaredRecords {
			wrong("Records", fmt.Sprintf("an email has %d at most", declaredRecords))
		}
		for j, r := range m.Records {
			if !nameable(string(r.Kind)) || !nameable(r.ID) {
				wrong(fmt.Sprintf("Records[%d]", j), "kind and id must be named, in 200 bytes of text each")
			}
		}
	}
	if org == "" {
		errs = append(errs, errors.New("the organisation must be named"))
	}
	if err := errors.Join(errs...); err != nil {
		return out, fmt.Errorf("emailint: declaring emails: %w", err)
	}
	if len(ds) == 0 {
		return out, nil
	}
	standing, added, err := e.o.State.Declare(ctx, org, ds)
	if err != nil {
		return out, fmt.Errorf("emailint: declaring emails: %w", err)
	}
	out.Added = added
	for i, of := range standing {
		if of != emails[i].ID {
			out.Doubles = append(out.Doubles, DoubleEmail{emails[i].ID, of})
		}
	}
	e.hurry()
	return out, nil
}

// nameable reports whether an id is some text that every database stores and finds again.
func nameable(id string) bool {
	return id != "" && len(id) <= 200 && utf8.ValidString(id) && !strings.ContainsRune(id, 0)
}

// Declared counts the declared emails of an organisation: what is not met when all mailboxes are imported, none of them has, or no longer, or it is older than
// what was imported; or it has no record that the CRM still has, and none by the rules; or it was listed and not read, as nobody in it is known to the CRM
// (SyncSettings.PeopleFirst).
func (e *Engine) Declared(ctx context.Context, org string) (DeclaredCounts, error) {
	n, err := e.o.State.Declared(ctx, org)
	if err != nil {
		return n, fmt.Errorf("emailint: declared emails: %w", err)
	}
	return n, nil
}

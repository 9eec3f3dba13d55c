// Package crm holds the nouns that the engine and its host share: what the host implements (Store) and what it is
// handed (Email, NewContact). Package emailint offers them by alias; most hosts never import this one.
package crm

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// Store is what the host implements. Every call names the organisation. All methods may be called concurrently, and
// any call may be repeated: after a crash the engine can't know whether the last one took effect. A call should end when its
// context does (Options.CRMTimeout): one that doesn't holds up its mailbox, and no other. A panic is taken for an error.
type Store interface {
	// Find answers, in one round trip for a page of messages, who holds the addresses and domains asked for, what is
	// related to the records found, and what became of the records asked for by id. Several records may hold one
	// address.
	Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error)
	// CreateContacts makes contacts for unknown senders and returns one record for each, in order. Idempotent by
	// address: where a contact has the address already, that one is returned.
	CreateContacts(ctx context.Context, org string, cs []NewContact) ([]linker.Record, error)
	// SaveEmails stores emails with content, holders and the complete set of links. A save whose Revision is not
	// greater than the stored one changes nothing and is no error. An *EmailsError names the emails that failed; any
	// other error means that all did.
	//
	// An email with a HostID is one that the host has already (Engine.Declare): it becomes this one, with what is saved here, and there is no second. Where
	// this one was saved before without HostID, the two become one now. One that the host no longer has is saved like any other.
	SaveEmails(ctx context.Context, org string, es []Email) error
	// UpdateEmails changes links and holders of emails saved before, by the same rule of Revision. Emails it does not
	// know are named in an *EmailsError with ErrUnknownEmail, and the engine saves them in full.
	UpdateEmails(ctx context.Context, org string, es []EmailState) error
}

// Remover is optional: an email that has no holder or no links any more can be removed. Without it such an email is told to UpdateEmails, with
// neither. The host remembers id and revision of what it
// removed, so that a late save of an older revision doesn't bring it back. An email with a HostID was there before the engine had it: whether it goes as
// well, or stays as it was, is the host's to decide. It is found by ID: under its HostID another one may have been saved meanwhile.
type Remover interface {
	RemoveEmails(ctx context.Context, org string, es []EmailState) error
}

// NewContact is a contact to create for an unknown sender.
type NewContact struct {
	Address message.Key
	Name    string // display name as the sender wrote it, may be ""
}

// EmailState is what changes in an email after it was saved.
type EmailState struct {
	ID       string   // the engine's id, the same for every copy of the message in the organisation
	Revision int64    // raised by every change of links or holders
	Holders  []string // ids of the connections in whose mailboxes it lies; sorted
	Links    []linker.Link
	HostID   string // the host's own id of it, where it was declared and met; "" for all others
	Survivor string // set when this email turned out to be a copy of another: the id that remains
}

// Email is a message with its place in the CRM.
type Email struct {
	EmailState
	Message  message.Message
	Outbound bool      // written by the mailbox's owner: it lies in Sent
	History  bool      // older than the connection: don't fire automations
	When     time.Time // when the mailbox received it, else the Date header
	Partial  string    // why content is missing, "" when whole
}

// EmailsError says which emails of a call failed; the others took effect.
type EmailsError struct {
	Failed map[string]error // by Email id
}

func (e *EmailsError) Error() string {
	ids := make([]string, 0, len(e.Failed))
	for id, err := range e.Failed {
		ids = append(ids, fmt.Sprintf("%s: %v", id, err))
	}
	sort.Strings(ids)
	return fmt.Sprintf("%d emails failed: %s", len(ids), strings.Join(ids, "; "))
}

// ErrUnknownEmail is the error of an email that UpdateEmails does not know.
var ErrUnknownEmail = fmt.Errorf("email is not known here, save it in full")

package emailint

import (
	"context"
	"errors"

	"github.com/intellicon/email-integration/linker"
)

// Correction is a person's word on a mail, which the machine never undoes. Email or MessageID names the mail.
type Correction struct {
	Email     string // the id under which the CRM has it
	MessageID string // for mail that the CRM doesn't have, too; with or without angle brackets
	// Thread extends the word to the whole thread: the mails it answers, those that answer any of them, and those to come.
	Thread bool

	Link    []linker.Record // "it belongs to this"
	Unlink  []linker.Record // "not to this": nothing hangs on it either
	Forget  []linker.Record // takes back an earlier word on these
	Drop    bool            // out of the CRM, and nothing is inherited from it
	Restore bool            // takes back Drop
	// NeverSender excludes the sender's address in the organisation from now on, as Settings.Rules.ExcludedAddresses does. It needs Email.
	NeverSender bool
}

// Correct stores a person's word. It is durable when it returns, and delivered by the next pass of a mailbox that holds the mail. A record that
// was merged stands for the one that lives on; a record that the CRM doesn't have is an error, and nothing is stored then.
func (e *Engine) Correct(ctx context.Context, org string, c Correction) error {
	return errors.New("emailint: Correct is not there yet")
}

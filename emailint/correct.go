package emailint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/intellicon/email-integration/emailint/internal/deliver"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// Correction is a person's word on a mail, which the machine never undoes. Email or MessageID names the mail.
type Correction struct {
	Email string // the id under which the CRM has it
	// MessageID is for mail that the CRM doesn't have, too; with or without angle brackets. Where several mails have it all are meant that were shown.
	MessageID string
	// Thread extends the word to the whole thread: the mails it answers, those that answer any of them, and those to come. A word on a mail itself
	// outweighs one on its thread.
	Thread bool

	Link    []linker.Record // "it belongs to this"
	Unlink  []linker.Record // "not to this": nothing hangs on it either
	Forget  []linker.Record // takes back an earlier word on these
	Drop    bool            // out of the CRM, and nothing is inherited from it
	Restore bool            // takes back Drop
	// NeverSender excludes the sender's address in the organisation from now on, as Settings.Rules.ExcludedAddresses does. It needs Email.
	NeverSender bool
}

func (c Correction) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if (c.Email == "") == (c.MessageID == "") {
		wrong("email, message id: one of the two names the mail")
	}
	if len(c.Link)+len(c.Unlink)+len(c.Forget) == 0 && !c.Drop && !c.Restore && !c.NeverSender {
		wrong("it says nothing: link, unlink, forget, drop, restore or never sender")
	}
	if c.Drop && c.Restore {
		wrong("drop, restore: only one of the two")
	}
	if c.NeverSender && c.Email == "" {
		wrong("never sender: it needs the email's id")
	}
	seen := map[linker.Record]string{}
	for _, l := range []struct {
		field   string
		records []linker.Record
	}{{"link", c.Link}, {"unlink", c.Unlink}, {"forget", c.Forget}} {
		for i, r := range l.records {
			field := fmt.Sprintf("%s[%d]", l.field, i)
			if r.Kind == "" || r.ID == "" {
				wrong("%s: kind and id must be named", field)
			} else if other := seen[r]; other != "" {
				wrong("%s: %s speaks of the same record", field, other)
			}
			seen[r] = field
		}
	}
	return errors.Join(errs...)
}

// Correct stores a person's word. It is durable when it returns, and delivered by the next pass of a mailbox that holds the mail. A record that
// was merged stands for the one that lives on; a link to a record that the CRM doesn't have is an error, and nothing is stored then. After any error
// the same call may be repeated.
func (e *Engine) Correct(ctx context.Context, org string, c Correction) error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("emailint: correcting: %w", err)
	}
	err := e.correct(ctx, org, c)
	if err != nil {
		return fmt.Errorf("emailint: correcting: %w", err)
	}
	e.hurry()
	return nil
}

func (e *Engine) correct(ctx context.Context, org string, c Correction) error {
	word := state.Correction{Thread: c.Thread, Drop: c.Drop, Restore: c.Restore}
	var sender message.Key
	if c.Email != "" {
		id, err := strconv.ParseInt(c.Email, 10, 64)
		if err != nil || id <= 0 {
			return fmt.Errorf("email %q is no id of ours", c.Email)
		}
		m, err := e.o.State.Email(ctx, org, id)
		if err != nil {
			return fmt.Errorf("email %s: %w", c.Email, err)
		}
		word.Email = id
		if c.NeverSender {
			if sender, err = e.sender(org, m); err != nil {
				return fmt.Errorf("never sender: %w", err)
			}
		}
	} else {
		word.MessageID = e.messageID(org, c.MessageID)
		rows, emails, err := e.o.State.Lookup(ctx, org, word.MessageID)
		if err != nil {
			return err
		}
		if len(rows)+len(emails) == 0 {
			return fmt.Errorf("no mailbox has shown a mail with that Message-ID: %w", state.ErrNotFound)
		}
	}
	if len(c.Link)+len(c.Unlink)+len(c.Forget) > 0 || c.Drop || c.Restore {
		if err := e.say(ctx, org, c, word); err != nil {
			return err
		}
	}
	if sender != "" {
		return e.never(ctx, org, sender)
	}
	return nil
}

// say stores a word on records as they are now. Where a record changes between the question and the commit it asks again (protocol, rule 11).
func (e *Engine) say(ctx context.Context, org string, c Correction, word state.Correction) error {
	host := &deliver.Guard{Store: e.o.CRM, Limit: e.o.CRMTimeout, Log: e.o.Logger}
	asked := slices.Concat(c.Link, c.Unlink, c.Forget)
	for range 20 {
		var err error
		if word.Change, err = e.o.State.ChangeNumber(ctx, org); err != nil {
			return err
		}
		now := map[linker.Record]linker.Record{}
		if len(asked) > 0 {
			d, err := host.Find(ctx, org, linker.Query{Records: asked})
			if err != nil {
				return fmt.Errorf("finding the records: %w", err)
			}
			now = d.Now
		}
		word.Links, word.Forget = nil, nil
		// "Not this" before "this": where they meet by a merge later, the link stands.
		for _, r := range c.Unlink {
			if to, ok := now[r]; ok {
				r = to
			}
			word.Links = append(word.Links, linker.Link{Record: r, Strength: 100, Removed: true})
		}
		for _, r := range c.Link {
			to, ok := now[r]
			if !ok {
				return fmt.Errorf("link: the CRM has no %s %q", r.Kind, r.ID)
			}
			word.Links = append(word.Links, linker.Link{Record: to, Strength: 100})
		}
		for _, r := range c.Forget {
			word.Forget = append(word.Forget, r)
			if to, ok := now[r]; ok && to != r {
				word.Forget = append(word.Forget, to)
			}
		}
		if err = e.o.State.Correct(ctx, org, word); !errors.Is(err, state.ErrStale) {
			return err
		}
	}
	return errors.New("records of the organisation change all the time, try again")
}

// sender returns who wrote an email.
func (e *Engine) sender(org string, m state.Email) (message.Key, error) {
	env, err := e.keys.OpenEnvelope(org, string(m.Fingerprint), m.Envelope)
	if err != nil {
		return "", errors.New("the email's header is no longer here")
	}
	if env.Sent || len(env.From) != 1 || !env.From[0].Key.IsAddress() {
		return "", errors.New("the email has not one sender outside")
	}
	return env.From[0].Key, nil
}

// never excludes an address in the organisation.
func (e *Engine) never(ctx context.Context, org string, sender message.Key) error {
	for range 20 {
		s, saved, err := e.settings(ctx, org)
		if err != nil {
			return err
		}
		if slices.Contains(s.Rules.ExcludedAddresses, sender) {
			return nil
		}
		s.Rules.ExcludedAddresses = append(slices.Clone(s.Rules.ExcludedAddresses), sender)
		if _, err = e.SetSettings(ctx, org, s, saved.Version); !errors.Is(err, state.ErrStale) {
			return err
		}
	}
	return errors.New("settings of the organisation change all the time, try again")
}

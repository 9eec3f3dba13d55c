package emailint

import (
	"context"
	"errors"
	"fmt"

	"github.com/intellicon/email-integration/provider"
)

// SMTPServer is a mail server by which an organisation sends; *smtp.Sender is one.
type SMTPServer interface {
	provider.Sender
	// Test takes every step of sending but the message itself.
	Test(ctx context.Context) error
}

// smtpSender opens the mail server of an organisation's settings. An error where none is set up.
func (e *Engine) smtpSender(ctx context.Context, org string) (provider.Sender, error) {
	s, saved, err := e.settings(ctx, org)
	if err == nil && s.SMTP.Host == "" {
		err = &provider.NeedsAction{Who: provider.Admin, Reason: "no mail server is set up: enter it in the settings"}
	}
	if err == nil {
		err = e.openSecret(org, "smtp.password", &s.SMTP.Password, saved.Secrets)
	}
	if err != nil {
		return nil, fmt.Errorf("emailint: the mail server of %s: %w", org, err)
	}
	return e.openSMTP(s.SMTP)
}

func (e *Engine) openSMTP(s SMTP) (SMTPServer, error) {
	if e.o.SMTP == nil {
		return nil, errors.New("emailint: Options.SMTP is not set: it opens a mail server, by smtp.New for example")
	}
	return e.o.SMTP(s)
}

// TestSMTP is "Test Connection": it tries a mail server that is not saved yet. A password that is SecretSet is the saved one, for the saved server
// and user name alone. The error says which step fails; every wrong field is named.
func (e *Engine) TestSMTP(ctx context.Context, org string, s SMTP) error {
	before, saved, err := e.settings(ctx, org)
	if err != nil {
		return err
	}
	v := &validator{}
	if s.Host == "" {
		v.wrong("smtp.host", "the name of the mail server is missing")
	} else {
		v.smtp(s)
	}
	v.kept(before, Settings{SMTP: s})
	if err := errors.Join(v.errs...); err != nil {
		return fmt.Errorf("emailint: testing a mail server: %w", err)
	}
	if s.Password == SecretSet {
		if err := e.openSecret(org, "smtp.password", &s.Password, saved.Secrets); err != nil {
			return fmt.Errorf("emailint: testing a mail server: %w", err)
		}
	}
	server, err := e.openSMTP(s)
	if err == nil {
		err = server.Test(ctx)
	}
	if err != nil {
		return fmt.Errorf("emailint: testing a mail server: %w", err)
	}
	return nil
}

// Package walk is what the examples do while they walk through a mailbox and what nobody needs to learn: the page to which a browser comes back, waiting,
// counting, printing. It never calls the engine: what a host writes stands in the examples.
package walk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/provider"
)

// Steps prints what a program does, step by step.
type Steps struct{ Out io.Writer }

// Title begins a step.
func (s Steps) Title(text string) { fmt.Fprintf(s.Out, "\n%s\n", text) } //nolint:errcheck // to a terminal

// Say prints a line of the step.
func (s Steps) Say(format string, args ...any) { fmt.Fprintf(s.Out, "   "+format+"\n", args...) } //nolint:errcheck // to a terminal

// Brought says what a program brings along.
func (s Steps) Brought(service, at string) {
	fmt.Fprintf(s.Out, "A %s of this program's own, at %s: the mailbox of Nora Lind, who sells for Northwind Tools.\nA CRM in memory has some of her customers.\n", service, at) //nolint:errcheck // to a terminal
}

// Links prints with whose records an email is linked, and why.
func (s Steps) Links(crm *emailinttest.MemCRM, org string, e emailint.Email) {
	for _, l := range e.Links {
		s.Say("   -> %s %s, by %s: %s", l.Kind, crm.Name(org, l.Record), l.By, l.Evidence)
	}
}

// Patiently calls do until its error is no rate limit, and waits in between for as long as the service asks for. Engine.Run does so by itself.
func (s Steps) Patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		var limit *provider.RateLimitError
		if !errors.As(err, &limit) {
			return err
		}
		wait := max(limit.RetryAfter, time.Second)
		s.Say("the service takes no more for now (%v): going on in %s", limit, wait.Round(time.Second))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Until looks again and again until done.
func Until(ctx context.Context, what string, done func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		}
	}
}

// Saved are emails that the CRM has saved.
type Saved chan emailint.Email

// NewSaved makes an empty one.
func NewSaved() Saved { return make(Saved, 1024) }

// Put is for emailint.Options.Saved. It never waits: what nobody looks at is dropped.
func (s Saved) Put(_ string, e emailint.Email) {
	select {
	case s <- e:
	default:
	}
}

// Drain forgets what was saved so far.
func (s Saved) Drain() {
	for len(s) > 0 {
		<-s
	}
}

// Await waits for the email with this Message-ID.
func (s Saved) Await(ctx context.Context, messageID string) (emailint.Email, error) {
	for {
		select {
		case e := <-s:
			if e.Message.MessageID == messageID {
				return e, nil
			}
		case <-ctx.Done():
			return emailint.Email{}, fmt.Errorf("the mail <%s> was not linked: %w", messageID, ctx.Err())
		}
	}
}

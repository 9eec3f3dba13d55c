package emailint

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/intellicon/email-integration/emailint/state"
)

// Pause keeps mailboxes from being worked on and mail from being sent: those of an organisation, of a provider, of both, or with neither all.
type Pause = state.Pause

// ErrPaused is the error of what can't be done while a Pause stands.
var ErrPaused = errors.New("paused")

// Pause stores a pause, in place of an earlier one of its scope and side (Pause.Admin), and stops what is under way at its next step. It outlives restarts and holds for
// every process. At is set. Nothing is lost: what comes meanwhile is read afterwards, and what was to be sent waits.
func (e *Engine) Pause(ctx context.Context, p Pause) error {
	if p.Admin && p.Org == "" {
		return errors.New("emailint: pausing: an administrator is one organisation's, which Org names")
	}
	if p.By == "" || p.Reason == "" {
		return errors.New("emailint: pausing: By and Reason say who paused, and why")
	}
	p.At = e.o.Now()
	if err := e.o.State.SetPause(ctx, p); err != nil {
		return fmt.Errorf("emailint: pausing: %w", err)
	}
	e.o.Logger.WarnContext(ctx, "paused", "org", p.Org, "provider", p.Provider, "by", p.By, "reason", p.Reason)
	return nil
}

// Resume ends the operator's pause of a scope; others stand, that of the organisation's administrator as well: he ends it by Acting.Resume.
// state.ErrNotFound when there is none.
func (e *Engine) Resume(ctx context.Context, org, provider, by string) error {
	return e.resume(ctx, org, provider, false, by)
}

func (e *Engine) resume(ctx context.Context, org, provider string, admin bool, by string) error {
	if err := e.o.State.EndPause(ctx, org, provider, admin); err != nil {
		return fmt.Errorf("emailint: resuming: %w", err)
	}
	e.o.Logger.WarnContext(ctx, "resumed", "org", org, "provider", provider, "admin", admin, "by", by)
	e.hurry()
	return nil
}

// Pauses returns those that stand, the oldest first.
func (e *Engine) Pauses(ctx context.Context) ([]Pause, error) {
	ps, err := e.o.State.Pauses(ctx)
	if err != nil {
		return nil, fmt.Errorf("emailint: pauses: %w", err)
	}
	return ps, nil
}

// over returns the pauses under which a mailbox stands, the oldest first.
func over(ps []Pause, org, provider string) (out []Pause) {
	for _, p := range ps {
		if (p.Org == "" || p.Org == org) && (p.Provider == "" || p.Provider == provider) {
			out = append(out, p)
		}
	}
	return out
}

// paused returns the error of what is under a pause, nil where none stands.
func (e *Engine) paused(ctx context.Context, org, provider string) error {
	ps, err := e.o.State.Pauses(ctx)
	if err != nil {
		return err
	}
	var said []string
	for _, p := range over(ps, org, provider) {
		by := "the operator"
		if p.Admin {
			by = "the administrator"
		}
		said = append(said, fmt.Sprintf("since %s by %s, %s: %s", p.At.UTC().Format("2006-01-02 15:04 MST"), by, p.By, p.Reason))
	}
	if len(said) == 0 {
		return nil
	}
	return fmt.Errorf("%w %s", ErrPaused, strings.Join(said, "; and "))
}

// Package intent does what the inbox's rules want: it archives and labels mail in its mailbox, at most once for an email and
// a rule, and takes it back when a person says so. Every step is committed before and after, and logged.
package intent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/internal/seal"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

// The actions of a rule.
const (
	Archive = "archive"
	Label   = "label"
)

// Store is the part of the state that intents need.
type Store interface {
	IntentsDue(ctx context.Context, l state.Lease, now time.Time, limit int) ([]state.Intent, error)
	IntentStep(ctx context.Context, l state.Lease, id int64, from, to state.IntentState, s state.IntentStep) error
	Email(ctx context.Context, org string, id int64) (state.Email, error)
}

// Runner works for one lease. Not for concurrent use.
type Runner struct {
	Store   Store
	Mailbox provider.Mailbox
	Lease   state.Lease
	Keys    *seal.Keyring
	Now     func() time.Time
	// Wanted says whether the rule that planned an intent still wants it; nil: it does.
	Wanted func(context.Context, state.Intent) (bool, error)
	// Namesake says whether the mailbox has shown another mail with that Message-ID: what is looked for by it may be the other then. nil: never.
	Namesake func(ctx context.Context, messageID string, e state.Email) (bool, error)
	Renew    func(context.Context) error // the lease is checked right before each effect (protocol, rule 16)
}

// maxTries is how often the mailbox is asked before an intent is given up.
const maxTries = 10

// Run works on what is due. The trouble of one intent is its own; an error ends the pass: a rate limit, a lost lease.
func (r *Runner) Run(ctx context.Context) error {
	for {
		is, err := r.Store.IntentsDue(ctx, r.Lease, r.Now(), 50)
		if err != nil || len(is) == 0 {
			return err
		}
		// Labels first: an archived mail has another id, by which one without a Message-ID is not found.
		slices.SortStableFunc(is, func(a, b state.Intent) int { return rank(a) - rank(b) })
		for _, i := range is {
			err := r.one(ctx, i)
			if errors.Is(err, state.ErrStale) && r.Renew(ctx) == nil {
				continue // the lease holds: a person took this one back in the meantime
			}
			if err != nil {
				return err
			}
		}
	}
}

func rank(i state.Intent) int {
	if i.Do == Label {
		return 0
	}
	return 1
}

// where returns the email's row in the inbox, and one that lies in any folder; nil where there is none. Of several in the
// inbox it is the one that was attempted.
func where(i state.Intent) (inbox, any *state.Row) {
	for n := range i.Rows {
		row := &i.Rows[n]
		if row.Left {
			continue
		}
		if any == nil || string(row.Item) == i.Item {
			any = row
		}
		if slices.ContainsFunc(row.Folders, func(f provider.Folder) bool { return f.Role == provider.RoleInbox }) &&
			(inbox == nil || string(row.Item) == i.Item) {
			inbox = row
		}
	}
	return inbox, any
}

func (r *Runner) one(ctx context.Context, i state.Intent) error {
	e, err := r.Store.Email(ctx, r.Lease.Org, i.Email)
	if err != nil {
		return err
	}
	inbox, any := where(i)
	if i.State == state.IntentUndoing || i.State == state.IntentDone && i.Undo {
		return r.undo(ctx, i, e, any)
	}
	cancel := func(why string) error {
		return r.step(ctx, i, state.IntentCancelled, state.IntentStep{Error: why})
	}
	planned := i.State == state.IntentPlanned
	if planned && r.Wanted != nil {
		switch wanted, err := r.Wanted(ctx, i); {
		case err != nil:
			return err
		case !wanted:
			return cancel("the rule was switched off before its turn")
		}
	}
	switch {
	case planned && len(e.Effective()) == 0:
		return cancel("the mail is no longer linked")
	case any == nil && planned:
		return cancel("the mail has left the mailbox")
	case planned && i.Do == Archive && inbox == nil:
		return cancel("the mail has left the inbox")
	case len(e.Effective()) == 0:
		return cancel("the mail is no longer linked; whether the mailbox did it is not known, as its answer was lost")
	case !planned && i.Do == Archive && inbox != nil && string(inbox.Item) != i.Item:
		// It was outside the inbox since, and somebody brought it back (protocol, rule 17).
		return r.step(ctx, i, state.IntentDone, state.IntentStep{Note: "the mail was brought back to the inbox"})
	}
	row := &state.Row{Item: provider.ItemID(i.Item)} // attempted before: the Message-ID finds it
	if inbox != nil {
		row = inbox
	} else if any != nil {
		row = any
	}
	if planned {
		if err := r.step(ctx, i, state.IntentAttempted, state.IntentStep{Item: string(row.Item)}); err != nil {
			return err
		}
		i.State = state.IntentAttempted
	}
	t, err := r.target(ctx, *row, e)
	if err != nil {
		return err
	}
	if !planned && i.Do == Archive && inbox == nil && any != nil && string(any.Item) != i.Item {
		t.MessageID = "" // it was seen outside, under another id: what has its Message-ID in the inbox was brought back meanwhile
	}
	if err := r.Renew(ctx); err != nil {
		return err
	}
	m, err := provider.Mutation{}, unsupported(i.Do)
	if box, ok := power.Of[provider.Archiver](r.Mailbox); ok && i.Do == Archive {
		m, err = box.Archive(ctx, t)
	} else if box, ok := power.Of[provider.Labeler](r.Mailbox); ok && i.Do == Label {
		m, err = box.Label(ctx, t, i.Label)
	}
	if errors.Is(err, provider.ErrGone) {
		return cancel("the mail has left the mailbox")
	}
	if err != nil {
		return r.trouble(ctx, i, state.IntentFailed, err)
	}
	note := words(i, m)
	if m.Already && planned {
		m, note = provider.Mutation{}, "it was so already"
	}
	m.Already = false // after an attempt without an answer it was ours
	return r.done(ctx, i, state.IntentDone, m, note)
}

func unsupported(do string) error {
	return fmt.Errorf("this kind of mailbox can't %s: %w", do, provider.ErrUnsupported)
}

// words says what was done and how: a label that became a copy in a folder must not surprise its owner.
func words(i state.Intent, m provider.Mutation) string {
	text := "archived by " + m.How
	if i.Do == Label {
		text = fmt.Sprintf("labelled %q by %s", i.Label, m.How)
	}
	if m.To != "" {
		text += fmt.Sprintf(": %q", m.To)
	}
	return text
}

func (r *Runner) target(ctx context.Context, row state.Row, e state.Email) (provider.Target, error) {
	t := provider.Target{Item: row.Item}
	env, err := r.Keys.OpenEnvelope(r.Lease.Org, string(e.Fingerprint), e.Envelope)
	if err != nil || env.MessageID == "" {
		return t, nil // its id alone names it
	}
	if r.Namesake != nil {
		other, err := r.Namesake(ctx, env.MessageID, e)
		if err != nil || other {
			return t, err
		}
	}
	t.MessageID = env.MessageID
	return t, nil
}

func (r *Runner) undo(ctx context.Context, i state.Intent, e state.Email, any *state.Row) error {
	var m provider.Mutation
	if len(i.Mutation) > 0 {
		if err := json.Unmarshal(i.Mutation, &m); err != nil {
			return fmt.Errorf("the record of what intent %d did: %w", i.ID, err)
		}
	}
	if m == (provider.Mutation{}) {
		return r.step(ctx, i, state.IntentUndone, state.IntentStep{Note: "nothing of ours had to be taken back"})
	}
	if i.State == state.IntentDone {
		if err := r.step(ctx, i, state.IntentUndoing, state.IntentStep{}); err != nil {
			return err
		}
		i.State = state.IntentUndoing
	}
	var row state.Row
	if any != nil {
		row = *any
	}
	if m.Item != "" {
		row.Item = m.Item
	}
	t, err := r.target(ctx, row, e)
	if err != nil {
		return err
	}
	if err := r.Renew(ctx); err != nil {
		return err
	}
	back, err := provider.Mutation{}, unsupported("take back what was done")
	if box, ok := power.Of[provider.Archiver](r.Mailbox); ok && i.Do == Archive {
		back, err = box.Unarchive(ctx, t, m)
	} else if box, ok := power.Of[provider.Labeler](r.Mailbox); ok && i.Do == Label {
		err = box.Unlabel(ctx, t, m)
		if errors.Is(err, provider.ErrGone) && any != nil && any.Item != t.Item {
			// It moved since, without a Message-ID to find it by.
			t.Item = any.Item
			if err = r.Renew(ctx); err != nil {
				return err
			}
			err = box.Unlabel(ctx, t, m)
		}
	}
	if errors.Is(err, provider.ErrGone) {
		return r.step(ctx, i, state.IntentUndone, state.IntentStep{Mutation: i.Mutation, Note: "the mail has left the mailbox, nothing is to be taken back"})
	}
	if err != nil {
		return r.trouble(ctx, i, state.IntentDone, err)
	}
	if back.Already || back == (provider.Mutation{}) {
		back = m
	}
	return r.done(ctx, i, state.IntentUndone, back, "taken back: "+i.Do)
}

func (r *Runner) done(ctx context.Context, i state.Intent, to state.IntentState, m provider.Mutation, note string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return r.step(ctx, i, to, state.IntentStep{Mutation: b, Made: string(m.Item), Note: note})
}

// trouble postpones, or gives up to the given state. It is never a reason to stop reading the mailbox, but a rate limit is to
// be obeyed.
func (r *Runner) trouble(ctx context.Context, i state.Intent, giveUp state.IntentState, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var limit *provider.RateLimitError
	if errors.As(cause, &limit) {
		// Should it only be this kind of call that is limited, reading goes on before it is tried again.
		wait := max(limit.RetryAfter, time.Minute) + time.Minute<<min(i.Tries, 8)
		if err := r.step(ctx, i, i.State, state.IntentStep{Error: "rate limited by the provider", Try: true, NextTry: r.Now().Add(wait)}); err != nil {
			return err
		}
		return cause
	}
	text := cause.Error()
	text = text[:min(len(text), 300)]
	if errors.Is(cause, provider.ErrUnsupported) || i.Tries+1 >= maxTries {
		if giveUp == state.IntentDone {
			// It stays as it was done, and the wish to undo it ends.
			return r.step(ctx, i, giveUp, state.IntentStep{Error: "could not be taken back: " + text, Note: "could not be taken back: " + text})
		}
		return r.step(ctx, i, giveUp, state.IntentStep{Error: text, Note: "given up: " + text})
	}
	return r.step(ctx, i, i.State, state.IntentStep{Error: text, Try: true, NextTry: r.Now().Add(time.Minute << min(i.Tries, 8))})
}

func (r *Runner) step(ctx context.Context, i state.Intent, to state.IntentState, s state.IntentStep) error {
	s.At = r.Now()
	if s.Note == "" && (to == state.IntentCancelled || to == state.IntentFailed) {
		s.Note = s.Error
	}
	return r.Store.IntentStep(ctx, r.Lease, i.ID, i.State, to, s)
}

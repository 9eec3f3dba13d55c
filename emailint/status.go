package emailint

import (
	"context"
	"fmt"
	"strings"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// Status says how far a mailbox is in the CRM.
type Status struct {
	Connection Connection
	Counts     state.Counts
	Runs       []state.Run
	Pauses     []Pause // that stand over it, the oldest first: each must end before it is worked on
}

// Completeness is the share of the listed messages that are read, decided and, where they link, acknowledged by the CRM:
// 1 means that nothing is outstanding. What was to be listed only (SyncSettings.PeopleFirst) is not among them: Counts.Skipped says how much that is, and
// nobody knows whether the CRM should have it. Reconcile says so, too.
func (s Status) Completeness() float64 {
	n := s.Counts.Total - s.Counts.Skipped
	if n <= 0 {
		return 1
	}
	open := min(s.Counts.Unspread, 1) + s.Counts.Due + s.Counts.Undelivered + s.Counts.Fates[state.FateFailed]
	return max(0, float64(n-open)/float64(n))
}

// Status reports on one connection.
func (e *Engine) Status(ctx context.Context, org string, connection int64) (Status, error) {
	var s Status
	var err error
	if s.Connection, err = e.o.State.Connection(ctx, org, connection); err == nil {
		if s.Counts, err = e.o.State.Counts(ctx, org, connection); err == nil {
			s.Runs, err = e.o.State.Runs(ctx, org, connection)
		}
	}
	if err == nil {
		var ps []Pause
		ps, err = e.o.State.Pauses(ctx)
		s.Pauses = over(ps, org, s.Connection.Provider)
	}
	if err != nil {
		return s, fmt.Errorf("emailint: status of connection %d: %w", connection, err)
	}
	return s, nil
}

// Explanation says where a mail is and why.
type Explanation struct {
	Copies []Copy // one for each mailbox and item
	Emails []ExplainedEmail
}

// Copy is the mail as it lies in one mailbox.
type Copy struct {
	Connection int64
	Folders    []string
	Fate       state.Fate
	Reason     string
	Left       bool // in no folder any more: moved to where we don't look, or deleted
	Gone       bool // left, and confirmed to be deleted
}

// ExplainedEmail is what the CRM has of the mail.
type ExplainedEmail struct {
	ID        string
	Links     []linker.Link
	Person    []linker.Link // what people said of this mail; words on its thread show in Links
	Dropped   bool          // out of the CRM by a person's word, on the mail or on its thread
	Delivered bool          // the CRM has acknowledged the newest revision
	Error     string
	Intents   []Intent // what rules of the inbox did to it, or will
}

// Explain finds a mail by its Message-ID, with or without angle brackets. An Explanation without copies means that no
// mailbox has shown it.
func (e *Engine) Explain(ctx context.Context, org, messageID string) (Explanation, error) {
	id := bare(messageID)
	rows, emails, err := e.o.State.Lookup(ctx, org, e.messageID(org, id))
	if err != nil {
		return Explanation{}, fmt.Errorf("emailint: explaining <%s>: %w", id, err)
	}
	var x Explanation
	for _, r := range rows {
		if state.IsOutbox(r.Item) {
			continue
		}
		c := Copy{Connection: r.Connection, Fate: r.Fate, Reason: r.Reason, Left: r.Left, Gone: r.Gone}
		for _, f := range r.Folders {
			c.Folders = append(c.Folders, f.Name)
		}
		x.Copies = append(x.Copies, c)
	}
	for _, m := range emails {
		is, err := e.o.State.IntentsOf(ctx, org, m.ID)
		if err != nil {
			return x, fmt.Errorf("emailint: explaining <%s>: %w", id, err)
		}
		x.Emails = append(x.Emails, ExplainedEmail{ID: fmt.Sprint(m.ID), Links: m.Effective(), Person: m.Person, Dropped: m.Out(), Delivered: m.Saved >= m.Revision, Error: m.Error, Intents: is})
	}
	return x, nil
}

// bare is a Message-ID without angle brackets.
func bare(messageID string) string { return strings.Trim(strings.TrimSpace(messageID), "<>") }

// messageID hashes a Message-ID with or without them.
func (e *Engine) messageID(org, id string) state.Hash {
	return state.Hash(e.hasher(org).MessageID(bare(id)))
}

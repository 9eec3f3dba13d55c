package emailint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/intellicon/email-integration/emailint/internal/intent"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// InboxAction is what a rule does to a mail in its mailbox.
type InboxAction string

const (
	ArchiveMail InboxAction = intent.Archive // out of the inbox, not deleted
	LabelMail   InboxAction = intent.Label   // by the service's own means: label, category, keyword, else a copy in a folder
)

// InboxRule acts on inbound mail in the inbox once it is linked and the CRM has it: on mail received after the rule was switched
// on and the mailbox connected, never on history, and never because links changed later. At most once for an email in a
// mailbox; everything done is logged and can be undone.
type InboxRule struct {
	ID    string        `json:"id"` // stable, unique in the organisation
	On    bool          `json:"on"`
	Do    InboxAction   `json:"do"`
	Label string        `json:"label,omitempty"` // for LabelMail
	Kinds []linker.Kind `json:"kinds,omitempty"` // only mail linked to a record of one of these; empty: any link
	Users []string      `json:"users,omitempty"` // only in these users' mailboxes; empty: in all
	Since time.Time     `json:"since"`           // when it was switched on; set by SetSettings, whatever is given
}

func validateInbox(rules []InboxRule) error {
	var errs []error
	seen := map[string]bool{}
	for i, r := range rules {
		wrong := func(field, problem string) {
			errs = append(errs, &FieldError{Field: fmt.Sprintf("inbox[%d].%s", i, field), Problem: problem})
		}
		switch {
		case r.ID == "":
			wrong("id", "a rule needs an id")
		case seen[r.ID]:
			wrong("id", "another rule has this id")
		}
		seen[r.ID] = true
		if r.Do != ArchiveMail && r.Do != LabelMail {
			wrong("do", `it is "archive" or "label"`)
		}
		if (r.Do == LabelMail) != (r.Label != "") {
			wrong("label", "a rule that labels needs a label, and no other has one")
		}
		if len(r.Label) > 100 || r.Label != strings.TrimSpace(r.Label) || !utf8.ValidString(r.Label) ||
			strings.ContainsFunc(r.Label, unicode.IsControl) {
			wrong("label", "it is at most 100 bytes of text, without control characters and without space around it")
		}
	}
	return errors.Join(errs...)
}

// switchedOn gives each rule the time since when it acts: a rule that was on before and does the same keeps its time.
func switchedOn(rules, before []InboxRule, now time.Time) []InboxRule {
	rules = slices.Clone(rules)
	for i := range rules {
		r := &rules[i]
		r.Since = time.Time{}
		if !r.On {
			continue
		}
		r.Since = now
		for _, b := range before {
			if b.ID == r.ID && b.On && b.Do == r.Do && b.Label == r.Label {
				r.Since = b.Since
			}
		}
	}
	return rules
}

// plan says what the rules want done to a mail that is linked by its first decision. The caller has seen to it that it is live
// and inbound.
func plan(rules []InboxRule, user string, fs []provider.Folder, e message.Envelope, links []linker.Link) (out []state.IntentPlan) {
	if !slices.ContainsFunc(fs, func(f provider.Folder) bool { return f.Role == provider.RoleInbox }) {
		return nil
	}
	for _, r := range rules {
		switch {
		case !r.On, e.Received.Before(r.Since):
		case len(r.Users) > 0 && !slices.Contains(r.Users, user):
		case len(r.Kinds) > 0 && !slices.ContainsFunc(links, func(l linker.Link) bool { return slices.Contains(r.Kinds, l.Kind) }):
		default:
			out = append(out, state.IntentPlan{Rule: r.ID, Do: string(r.Do), Label: r.Label})
		}
	}
	return out
}

// wanted reports whether a rule still wants what it planned.
func wanted(rules []InboxRule, i state.Intent) bool {
	return slices.ContainsFunc(rules, func(r InboxRule) bool {
		return r.ID == i.Rule && r.On && string(r.Do) == i.Do && r.Label == i.Label
	})
}

// Intent is what a rule of the inbox wants done to one email in one mailbox, and what became of it.
type Intent = state.Intent

// Mutation is a line of the log of what was done to a mailbox.
type Mutation = state.IntentEvent

// Undo takes back what a rule did: an archived mail returns to the inbox, a label comes off. It is stored, and done by the next
// pass of the mailbox; the rule does not act on the mail again.
func (e *Engine) Undo(ctx context.Context, org string, intentID int64) (Intent, error) {
	i, err := e.o.State.Undo(ctx, org, intentID, e.o.Now())
	if err != nil {
		return i, fmt.Errorf("emailint: undoing %d: %w", intentID, err)
	}
	e.hurry()
	return i, nil
}

// Mutations pages through what rules did to a mailbox, in order, beginning after the id of an earlier line; 0 is the start.
func (e *Engine) Mutations(ctx context.Context, org string, connection, after int64, limit int) ([]Mutation, error) {
	ms, err := e.o.State.IntentLog(ctx, org, connection, after, limit)
	if err != nil {
		return nil, fmt.Errorf("emailint: mutations of connection %d: %w", connection, err)
	}
	return ms, nil
}

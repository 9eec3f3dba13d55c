package gmail

import (
	"context"
	"fmt"
	"slices"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider"
)

// unsupported is a provider.ErrUnsupported that says why.
type unsupported string

func (u unsupported) Error() string { return "gmail: " + string(u) }
func (unsupported) Unwrap() error   { return provider.ErrUnsupported }

const readOnly = unsupported("the mailbox is connected for reading and sending only: to archive and label, the app must ask for gmail.modify " +
	"(docs/setup-google.md, \"Scopes\") and the mailbox be connected again")

// Archive implements provider.Archiver: the label INBOX is taken off (facts 1.5).
func (m *Mailbox) Archive(ctx context.Context, t provider.Target) (provider.Mutation, error) {
	if m.p.o.ReadOnly {
		return provider.Mutation{}, readOnly
	}
	msg, err := m.target(ctx, t)
	if err != nil {
		return provider.Mutation{}, err
	}
	did := provider.Mutation{How: "label", From: inboxLabel, Item: itemID(msg.Id)}
	if !slices.Contains(lies(msg.LabelIds), inboxLabel) {
		did.Already = true
		return did, nil
	}
	return done(did, m.modify(ctx, msg.Id, nil, []string{inboxLabel}))
}

// Unarchive implements provider.Archiver. What its owner threw away or called junk meanwhile stays there.
func (m *Mailbox) Unarchive(ctx context.Context, t provider.Target, was provider.Mutation) (provider.Mutation, error) {
	nothing := provider.Mutation{Already: true}
	if was == (provider.Mutation{}) || was.Already {
		return nothing, ctx.Err()
	}
	if m.p.o.ReadOnly {
		return provider.Mutation{}, readOnly
	}
	msg, err := m.target(ctx, t)
	if err != nil {
		return provider.Mutation{}, err
	}
	for _, l := range []string{inboxLabel, trashLabel, spamLabel} {
		if slices.Contains(msg.LabelIds, l) {
			return nothing, nil
		}
	}
	return done(provider.Mutation{How: "label", To: inboxLabel, Item: itemID(msg.Id)}, m.modify(ctx, msg.Id, []string{inboxLabel}, nil))
}

func done(m provider.Mutation, err error) (provider.Mutation, error) {
	if err != nil {
		return provider.Mutation{}, err
	}
	return m, nil
}

// modify changes the labels of one message. It is not repeated here: what a call without an answer did is found out by whoever asks again.
func (m *Mailbox) modify(ctx context.Context, id string, add, remove []string) error {
	return m.once(ctx, live, messagesModify, func(ctx context.Context) error {
		r, err := m.api.Users.Messages.Modify("me", id, &gapi.ModifyMessageRequest{AddLabelIds: add, RemoveLabelIds: remove}).Context(ctx).Do()
		if err == nil && r.Id != id {
			err = errEmpty // or another message's
		}
		if err != nil {
			return fmt.Errorf("changing labels: %w", err)
		}
		return nil
	})
}

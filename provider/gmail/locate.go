package gmail

import (
	"context"
	"errors"
	"slices"
	"strings"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider"
)

// located is how many messages of one Message-ID are looked at.
const located = 50

// Locate implements provider.Mailbox, by the search for a Message-ID (facts 1.5), junk and trash included. A Message-ID that can't be written in a search is an error: that
// nothing was found would be taken for a deletion.
func (m *Mailbox) Locate(ctx context.Context, id string) ([]provider.Item, error) {
	msgs, err := m.locate(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []provider.Item
	for _, msg := range msgs {
		it := provider.Item{ID: itemID(msg.Id), Size: msg.SizeEstimate}
		place(&it.Envelope, msg)
		if it.Folders, err = m.folders(ctx, live, lies(msg.LabelIds)); err != nil {
			return nil, err
		}
		out = append(out, it)
	}
	return out, nil
}

func (m *Mailbox) locate(ctx context.Context, id string) ([]*gapi.Message, error) {
	if id == "" {
		return nil, ctx.Err()
	}
	if strings.ContainsAny(id, "\"{}() \t\r\n\\") {
		return nil, errors.New("gmail: this Message-ID can't be searched for")
	}
	r, err := m.listing(ctx, live, located, func() *gapi.UsersMessagesListCall {
		return m.api.Users.Messages.List("me").Q("rfc822msgid:" + id).IncludeSpamTrash(true)
	})
	if err != nil {
		return nil, err
	}
	var ids []provider.ItemID
	for _, msg := range r.Messages {
		ids = append(ids, itemID(msg.Id))
	}
	got, err := m.getMany(ctx, live, ids, idOnly)
	if err != nil {
		return nil, err
	}
	var out []*gapi.Message
	for _, i := range ids {
		msg := got.got[i]
		switch {
		case msg == nil && errors.Is(got.failed[i], provider.ErrGone):
		case msg == nil:
			return nil, got.failed[i]
		// The search may find more than was asked for.
		case messageID(msg) == id && !slices.Contains(msg.LabelIds, chatLabel):
			out = append(out, msg)
		}
	}
	return out, nil
}

// target finds the message that is to be changed, as it lies now: by its id, else by Message-ID, in the inbox first.
func (m *Mailbox) target(ctx context.Context, t provider.Target) (*gapi.Message, error) {
	if t.Item != "" {
		got, err := m.getMany(ctx, live, []provider.ItemID{t.Item}, labelsOnly)
		switch msg := got.got[t.Item]; {
		case msg != nil:
			return msg, nil
		case got.failed[t.Item] == nil:
			return nil, err
		case !errors.Is(got.failed[t.Item], provider.ErrGone):
			return nil, got.failed[t.Item]
		}
	}
	msgs, err := m.locate(ctx, t.MessageID)
	if err != nil {
		return nil, err
	}
	for _, msg := range msgs {
		if slices.Contains(lies(msg.LabelIds), inboxLabel) {
			return msg, nil
		}
	}
	if len(msgs) == 0 {
		return nil, provider.ErrGone
	}
	return msgs[0], nil
}

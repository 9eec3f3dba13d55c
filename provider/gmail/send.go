package gmail

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/rawmail"
)

// ownHeader carries the Message-ID that we gave: Gmail replaces that and keeps fields that begin with X- (facts 1.7).
const ownHeader = "X-Emailint-ID"

func notSent(format string, args ...any) error {
	return &rawmail.NotSent{Err: fmt.Errorf("gmail: "+format, args...)}
}

// uploadAbove is from which size on a message goes as it is, and not as a string in JSON. Either way it is 35 MB at most (facts 1.7).
const uploadAbove = 1 << 20

// Stage implements provider.Sender: a draft, in the thread that is answered where there is one. Facts 1.7: Gmail threads by threadId, References and subject
// together; the latter are the message's. It sends to whom the header names, so recipients that the header leaves out become Bcc, and who is named there
// without being a recipient is refused.
func (m *Mailbox) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	ready, err := m.prepare(ctx, raw, o)
	if err != nil {
		return provider.Staged{}, err
	}
	o.Recipients = slices.Clone(o.Recipients)
	if m.p.o.ReadOnly { // facts 1.1: gmail.send is for sending alone, and makes no draft
		return provider.Staged{Raw: ready, Options: o}, ctx.Err()
	}
	d, err := m.draft(ctx, ready, o.Thread)
	if o.Thread != "" && (errors.Is(err, provider.ErrGone) || status(err) == http.StatusBadRequest) {
		d, err = m.draft(ctx, ready, "") // the thread is another mailbox's, or gone: answers find each other by References
	}
	if s := status(err); s >= 400 && s < 500 {
		return provider.Staged{}, &rawmail.NotSent{Err: err}
	}
	if err != nil {
		return provider.Staged{}, err
	}
	thread := ""
	if d.Message != nil {
		thread = d.Message.ThreadId
	}
	return provider.Staged{ID: d.Id + "/" + thread, Options: o}, nil
}

// prepare writes the header by which Gmail sends, and checks it. What was prepared already comes out as it is.
func (m *Mailbox) prepare(ctx context.Context, raw []byte, o provider.SendOptions) ([]byte, error) {
	if err := rawmail.Addresses(o); err != nil {
		return nil, notSent("%w", err)
	}
	if err := m.mayBe(ctx, o.From); err != nil {
		return nil, err
	}
	mark := rawmail.Field{Name: ownHeader}
	if o.MessageID != "" {
		mark.Value = "<" + o.MessageID + ">"
	}
	ready, err := rawmail.Prepare(raw, o, "Gmail", mark)
	if err != nil {
		return nil, notSent("%w", err)
	}
	return ready, nil
}

func (m *Mailbox) draft(ctx context.Context, raw []byte, thread string) (d *gapi.Draft, err error) {
	err = m.once(ctx, live, draftsCreate, func(ctx context.Context) (err error) {
		msg := &gapi.Message{ThreadId: thread}
		if len(raw) <= uploadAbove {
			msg.Raw = base64.URLEncoding.EncodeToString(raw)
		}
		call := m.api.Users.Drafts.Create("me", &gapi.Draft{Message: msg}).Context(ctx)
		if msg.Raw == "" {
			call = call.Media(bytes.NewReader(raw), googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(0))
		}
		d, err = call.Do()
		return err
	})
	if err == nil && d.Id == "" {
		return nil, errors.New("gmail: drafts.create: the answer names no draft")
	}
	return d, err
}

// mayBe checks that Gmail sends as an address. It would put the account's own in its place without a word (facts 1.7).
func (m *Mailbox) mayBe(ctx context.Context, from string) error {
	if message.AddressKey(from) == message.AddressKey(m.profile.EmailAddress) {
		return nil
	}
	cached := m.aliases != nil
	a, err := m.alias(ctx, from)
	if err == nil && cached && (a == nil || !verified(a)) { // it may be since then
		m.aliases = nil
		a, err = m.alias(ctx, from)
	}
	switch {
	case errors.Is(err, provider.ErrUnsupported):
		return notSent("the server does not tell as whom this mailbox may send: send as %s", m.profile.EmailAddress)
	case err != nil:
		return err
	case a == nil:
		return notSent("the mailbox does not send as %s: add the address in Gmail's settings under \"Send mail as\"", from)
	case !verified(a):
		return notSent("%s is not verified yet: confirm the address in Gmail's settings under \"Send mail as\"", from)
	}
	return nil
}

// Release implements provider.Sender. Gmail gives the message another Message-ID, which is read back (facts 1.7); where that fails it was sent all the same,
// and its copy tells.
func (m *Mailbox) Release(ctx context.Context, s provider.Staged) (provider.Sent, error) {
	var msg *gapi.Message
	var err error
	draft, _, _ := strings.Cut(s.ID, "/")
	if draft != "" {
		err = m.once(ctx, live, draftsSend, func(ctx context.Context) (err error) {
			msg, err = m.api.Users.Drafts.Send("me", &gapi.Draft{Id: draft}).Context(ctx).Do()
			return err
		})
	} else {
		// They may have been staged by another sender, which named hidden recipients nowhere.
		raw, perr := m.prepare(ctx, s.Raw, s.Options)
		if perr != nil {
			if !errors.Is(perr, provider.ErrNotSent) {
				perr = &rawmail.NotSent{Err: perr, Later: true}
			}
			return provider.Sent{}, perr
		}
		begun := false
		if msg, err = m.sendRaw(ctx, raw, s.Options.Thread, &begun); err != nil && !begun {
			return provider.Sent{}, &rawmail.NotSent{Err: err, Later: true}
		}
	}
	if errors.Is(err, provider.ErrGone) && s.Raw != nil {
		return provider.Sent{}, &rawmail.NotSent{Err: err} // no draft that may have been sent
	}
	if err == nil && msg.Id == "" {
		err = fmt.Errorf("gmail: sending: %w", errEmpty)
	}
	if err != nil {
		err = m.unsent(err)
		if draft != "" && errors.Is(err, provider.ErrNotSent) && !errors.Is(err, provider.ErrTryLater) && m.stillDraft(ctx, draft) != nil {
			return provider.Sent{}, errors.New(err.Error()) // its owner may have sent it by hand, or we did before: nobody knows
		}
		return provider.Sent{}, err
	}
	sent := provider.Sent{Item: itemID(msg.Id), Response: "accepted by Gmail"}
	if got, err := m.getMany(ctx, live, []provider.ItemID{sent.Item}, sentHeaders); err == nil && got.got[sent.Item] != nil {
		msg := got.got[sent.Item]
		if own := field(msg, ownHeader); own != "" && !ours(msg, s) {
			return provider.Sent{}, errors.New("gmail: the server answered that another message was sent")
		}
		sent.MessageID = messageID(msg)
	}
	return sent, nil
}

// ours reports whether a message is what was staged.
func ours(msg *gapi.Message, s provider.Staged) bool {
	return s.Options.MessageID != "" && strings.TrimSpace(field(msg, ownHeader)) == "<"+s.Options.MessageID+">"
}

// sendRaw sends bytes. begun: the service may have been asked.
func (m *Mailbox) sendRaw(ctx context.Context, raw []byte, thread string, begun *bool) (msg *gapi.Message, err error) {
	send := func(thread string) error {
		return m.once(ctx, live, messagesSend, func(ctx context.Context) (err error) {
			*begun = true
			out := &gapi.Message{ThreadId: thread}
			if len(raw) <= uploadAbove {
				out.Raw = base64.URLEncoding.EncodeToString(raw)
			}
			call := m.api.Users.Messages.Send("me", out).Context(ctx)
			if out.Raw == "" {
				call = call.Media(bytes.NewReader(raw), googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(0))
			}
			msg, err = call.Do()
			return err
		})
	}
	err = send(thread)
	if thread != "" && (errors.Is(err, provider.ErrGone) || status(err) == http.StatusBadRequest) {
		*begun = false // that was refused
		err = send("")
	}
	return msg, err
}

// unsent says of an error of sending whether it is sure that nothing was sent. Of a draft that is gone nobody knows.
func (m *Mailbox) unsent(err error) error {
	var rate *provider.RateLimitError
	var sign *provider.SignInError
	s := status(err)
	switch {
	case m.tokenless, errors.As(err, &rate), errors.As(err, &sign):
		return &rawmail.NotSent{Err: err, Later: true}
	case errors.Is(err, provider.ErrUnsupported), s >= 400 && s < 500:
		return &rawmail.NotSent{Err: err}
	}
	return err
}

// Lookup implements provider.Sender. A draft that is still there was not sent. One that is gone was sent, or thrown away: what was sent is found in its thread, or among
// the latest that were sent, by our own header; without a trace nobody knows.
func (m *Mailbox) Lookup(ctx context.Context, s provider.Staged) (provider.Outcome, provider.Sent, error) {
	draft, thread, _ := strings.Cut(s.ID, "/")
	if draft != "" {
		err := m.stillDraft(ctx, draft)
		switch {
		case err == nil:
			return provider.OutcomeNotSent, provider.Sent{}, nil
		case !errors.Is(err, provider.ErrGone):
			return provider.OutcomeUnknown, provider.Sent{}, err
		}
	}
	for _, look := range []func() ([]*gapi.Message, error){
		func() ([]*gapi.Message, error) { return m.inThread(ctx, thread) },
		func() ([]*gapi.Message, error) { return m.lastSent(ctx) },
	} {
		msgs, err := look()
		if err != nil {
			return provider.OutcomeUnknown, provider.Sent{}, err
		}
		for _, msg := range msgs {
			if slices.Contains(msg.LabelIds, draftLabel) || !ours(msg, s) {
				continue
			}
			return provider.OutcomeSent, provider.Sent{Item: itemID(msg.Id), MessageID: messageID(msg)}, nil
		}
	}
	return provider.OutcomeUnknown, provider.Sent{}, nil
}

// stillDraft is nil where a draft is there, provider.ErrGone where it is not.
func (m *Mailbox) stillDraft(ctx context.Context, draft string) error {
	return m.read(ctx, live, draftsGet, func(ctx context.Context) error {
		d, err := m.api.Users.Drafts.Get("me", draft).Format("minimal").Context(ctx).Do()
		if err == nil && d.Id != draft {
			err = errEmpty
		}
		return err
	})
}

var sentHeaders = url.Values{"format": {"metadata"}, "metadataHeaders": {"Message-ID", ownHeader}}

func (m *Mailbox) inThread(ctx context.Context, thread string) ([]*gapi.Message, error) {
	if thread == "" {
		return nil, nil
	}
	var t *gapi.Thread
	err := m.read(ctx, live, threadsGet, func(ctx context.Context) (err error) {
		t, err = m.api.Users.Threads.Get("me", thread).Format("metadata").MetadataHeaders(sentHeaders["metadataHeaders"]...).Context(ctx).Do()
		if err == nil && t.Id != thread {
			err = errEmpty
		}
		return err
	})
	if errors.Is(err, provider.ErrGone) || errors.Is(err, provider.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(t.Messages, func(m *gapi.Message) bool { return m == nil }), nil
}

// lastSent are the latest messages that were sent: a draft's thread may have become another's.
func (m *Mailbox) lastSent(ctx context.Context) ([]*gapi.Message, error) {
	r, err := m.list(ctx, live, query{label: sentLabel}, "", 20)
	if err != nil {
		return nil, err
	}
	var ids []provider.ItemID
	for _, msg := range r.Messages {
		ids = append(ids, itemID(msg.Id))
	}
	got, err := m.getMany(ctx, live, ids, sentHeaders)
	if err != nil {
		return nil, err
	}
	var out []*gapi.Message
	for _, id := range ids {
		if msg := got.got[id]; msg != nil {
			out = append(out, msg)
		}
	}
	return out, nil
}

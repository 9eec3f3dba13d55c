package providertest

import (
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"

	"github.com/intellicon/email-integration/provider"
)

var _ provider.Sender = (*Fake)(nil)

// ErrOutcomeLost is what a release or mutation returns whose answer was lost by LoseOutcome or LoseMutation.
var ErrOutcomeLost = errors.New("providertest: connection lost before the answer")

// Loss is when the answer to a release or a mutation is lost.
type Loss int

const (
	LostBefore Loss = iota // before the service acted: nothing was sent or changed
	LostAfter              // after it acted: the mail is sent, or the change made, and nobody was told
	// LostBetween is for mutations that take two commands, as an IMAP move without MOVE: the copy was made and the original
	// is still there. Where one call does it all it is LostAfter.
	LostBetween
)

// Delivery is one message that was sent to its recipients.
type Delivery struct {
	Raw        []byte // as the recipients get it
	From       string
	Recipients []string
	MessageID  string // as the service left it
}

type draft struct {
	raw     []byte
	options provider.SendOptions
}

// LoseOutcome makes the answer of the next release get lost.
func (f *Fake) LoseOutcome(l Loss) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose = append(f.lose, l)
}

// Sent returns what was sent so far, in order.
func (f *Fake) Sent() []Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sent)
}

// Stage implements provider.Sender. Gmail and Graph make a draft (facts 1.7 and 2.6: a draft tells afterwards whether
// it was sent); the IMAP personality sends by SMTP, which has none.
func (f *Fake) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(ctx, f.epoch, &f.calls.Stage, 10); err != nil { // facts 1.6: drafts.create 10
		return provider.Staged{}, err
	}
	if len(o.Recipients) == 0 {
		return provider.Staged{}, errors.New("providertest: no recipients")
	}
	for _, a := range append([]string{o.From}, o.Recipients...) {
		p, err := netmail.ParseAddress(a)
		if err != nil || p.Name != "" || strings.ContainsAny(a, "\r\n<>") {
			return provider.Staged{}, errors.New("providertest: not a bare address")
		}
	}
	o.Recipients = slices.Clone(o.Recipients)
	if f.personality == IMAP {
		return provider.Staged{Raw: slices.Clone(raw), Options: o}, nil
	}
	f.serial++
	id := fmt.Sprintf("r-%d", f.serial)
	if f.personality == Graph {
		id = fmt.Sprintf("AAkALg-%08d_AAA=", f.serial) // facts 2.6: the Sent copy has the draft's immutable id
	}
	f.drafts[id] = draft{slices.Clone(raw), o}
	return provider.Staged{ID: id, Options: o}, nil
}

// Release implements provider.Sender. A draft is sent once; releasing it again is provider.ErrGone. SMTP has nothing
// to hold a second release back.
func (f *Fake) Release(ctx context.Context, s provider.Staged) (provider.Sent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(ctx, f.epoch, &f.calls.Release, 100); err != nil { // facts 1.6: drafts.send 100
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w: %w", provider.ErrNotSent, provider.ErrTryLater, err)
		}
		return provider.Sent{}, err
	}
	d := draft{s.Raw, s.Options}
	if f.personality != IMAP {
		var ok bool
		if d, ok = f.drafts[s.ID]; !ok {
			return provider.Sent{}, fmt.Errorf("providertest: draft: %w", provider.ErrGone)
		}
	}
	lost, loss := len(f.lose) > 0, LostAfter
	if lost {
		loss, f.lose = f.lose[0], f.lose[1:]
		if loss == LostBefore {
			return provider.Sent{}, ErrOutcomeLost
		}
	}
	delete(f.drafts, s.ID)
	sent := provider.Sent{MessageID: d.options.MessageID, Response: "250 2.0.0 queued"}
	raw, id := d.raw, provider.ItemID("")
	switch f.personality {
	case Gmail:
		// Facts 1.7: "the API replaces yours with <CA...@mail.gmail.com>".
		sent.MessageID = fmt.Sprintf("CAfake%d@mail.gmail.com", f.serial+1)
		raw = append([]byte("Message-ID: <"+sent.MessageID+">\r\n"), withoutHeader(raw, "Message-ID")...)
	case Graph:
		id = provider.ItemID(s.ID)
	}
	f.sent = append(f.sent, Delivery{
		Raw: withoutHeader(raw, "Bcc"), From: d.options.From, Recipients: slices.Clone(d.options.Recipients),
		MessageID: sent.MessageID,
	})
	if f.personality == IMAP && f.noSentCopy {
		if lost {
			return provider.Sent{}, ErrOutcomeLost
		}
		return sent, nil
	}
	m := f.deliver(raw, f.now(), provider.RoleSent, id)
	if f.personality == Gmail || f.personality == Graph {
		sent.Item = m.id
		f.released[s.ID] = m.id
	}
	if f.personality == Gmail {
		if d.options.Thread != "" {
			m.thread = d.options.Thread
		}
	}
	if lost {
		return provider.Sent{}, ErrOutcomeLost
	}
	return sent, nil
}

// Lookup implements provider.Sender. Facts 1.7: "on ambiguity check whether the draft still exists"; what became of it is
// found by its thread or its immutable id while it lies anywhere, the trash included. By SMTP only a Sent copy proves
// anything, and its absence proves nothing.
func (f *Fake) Lookup(ctx context.Context, s provider.Staged) (provider.Outcome, provider.Sent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(ctx, f.epoch, &f.calls.Lookup, 10); err != nil {
		return provider.OutcomeUnknown, provider.Sent{}, err
	}
	if f.personality != IMAP {
		if _, ok := f.drafts[s.ID]; ok {
			return provider.OutcomeNotSent, provider.Sent{}, nil
		}
		m := f.byID[f.released[s.ID]]
		if m == nil {
			return provider.OutcomeSent, provider.Sent{}, nil
		}
		return provider.OutcomeSent, provider.Sent{Item: m.id, MessageID: m.envelope.MessageID}, nil
	}
	for _, m := range f.order {
		if m.envelope.MessageID != "" && m.envelope.MessageID == s.Options.MessageID && f.isSent(m) {
			return provider.OutcomeSent, provider.Sent{Item: m.id, MessageID: m.envelope.MessageID}, nil
		}
	}
	return provider.OutcomeUnknown, provider.Sent{}, nil
}

package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/intellicon/email-integration/provider"
)

// SenderHarness is the service behind the sender that is tested, made anew for each case.
type SenderHarness interface {
	// Sender returns a sender that may send as me@acme.example.
	Sender(t *testing.T) provider.Sender
	// Delivered returns what the service sent to recipients so far.
	Delivered(t *testing.T) []Delivery
	// Lose makes the answer to the next release get lost. It returns false where that can't be arranged.
	Lose(t *testing.T, l Loss) bool
}

// TestSender says what a provider.Sender should do, over a fresh harness for each case.
func TestSender(t *testing.T, newHarness func(t *testing.T) SenderHarness) {
	for _, c := range senderCases {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t)
			err := c.run(t.Context(), &senderRun{t: t, h: h, sender: h.Sender(t)})
			if errors.Is(err, errNotHere) {
				t.Skip("this service can't be brought to it")
			}
			if err != nil {
				t.Errorf("a sender should %s\nit did not: %v", c.should, err)
			}
		})
	}
}

type senderRun struct {
	t      *testing.T
	h      SenderHarness
	sender provider.Sender
}

var senderCases = []struct {
	name, should string
	run          func(ctx context.Context, s *senderRun) error
}{
	{"stage", "send nothing on Stage", func(ctx context.Context, s *senderRun) error {
		if _, err := s.stage(ctx); err != nil {
			return err
		}
		return s.want(0)
	}},
	{"release", "send a released message once, to every recipient of the options, with its text and Message-ID", caseRelease},
	{"stored", "release what was stored as JSON and read again", func(ctx context.Context, s *senderRun) error {
		st, err := s.stage(ctx)
		if err != nil {
			return err
		}
		data, err := json.Marshal(st)
		if err != nil {
			return err
		}
		var again provider.Staged
		if err := json.Unmarshal(data, &again); err != nil {
			return err
		}
		if _, err := s.sender.Release(ctx, again); err != nil {
			return err
		}
		return s.want(1)
	}},
	{"bcc", "keep Bcc recipients out of what the others read", func(ctx context.Context, s *senderRun) error {
		if err := caseRelease(ctx, s); err != nil {
			return err
		}
		if raw := s.h.Delivered(s.t)[0].Raw; bytes.Contains(raw, []byte("hidden@else.example")) {
			return errors.New("the Bcc recipient is in the message")
		}
		return nil
	}},
	{"addresses", "refuse on Stage addresses that are none or carry line breaks, and a message to nobody", caseAddresses},
	{"lookup-staged", "never say of a staged message that it was sent", func(ctx context.Context, s *senderRun) error {
		st, err := s.stage(ctx)
		if err != nil {
			return err
		}
		return s.never(ctx, st, provider.OutcomeSent)
	}},
	{"lookup-sent", "never say of a sent message that it was not sent", func(ctx context.Context, s *senderRun) error {
		st, err := s.stage(ctx)
		if err != nil {
			return err
		}
		if _, err := s.sender.Release(ctx, st); err != nil {
			return err
		}
		return s.never(ctx, st, provider.OutcomeNotSent)
	}},
	{"lost-after", "return an error when the answer is lost after the effect, and look it up not as not sent, or as sent and with the Message-ID that it has now",
		func(ctx context.Context, s *senderRun) error { return s.lost(ctx, LostAfter, provider.OutcomeNotSent) }},
	{"lost-before", "return an error when the connection is lost before the effect, and not look it up as sent",
		func(ctx context.Context, s *senderRun) error { return s.lost(ctx, LostBefore, provider.OutcomeSent) }},
	{"cancel", "send nothing when the context is cancelled, and leave no doubt about it", func(ctx context.Context, s *senderRun) error {
		st, err := s.stage(ctx)
		if err != nil {
			return err
		}
		dead, cancel := context.WithCancel(ctx)
		cancel()
		_, err = s.sender.Release(dead, st)
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("Release: %v", err)
		}
		if !errors.Is(err, provider.ErrNotSent) {
			if o, _, lerr := s.sender.Lookup(ctx, st); o != provider.OutcomeNotSent {
				return fmt.Errorf("Release does not say that nothing was sent, and Lookup says %q, %v", o, lerr)
			}
		}
		return s.want(0)
	}},
}

var outgoing = []byte("From: Me <me@acme.example>\r\nTo: ada@sender.example\r\nCc: carl@sender.example\r\nSubject: offer\r\n" +
	"Message-ID: <offer-1@acme.example>\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n\r\nOur offer.\r\n.a line with a dot\r\n")

var outgoingOptions = provider.SendOptions{
	From: "me@acme.example", MessageID: "offer-1@acme.example",
	Recipients: []string{"ada@sender.example", "carl@sender.example", "hidden@else.example"},
}

func (s *senderRun) stage(ctx context.Context) (provider.Staged, error) {
	return s.sender.Stage(ctx, slices.Clone(outgoing), outgoingOptions)
}

func (s *senderRun) want(n int) error {
	if got := len(s.h.Delivered(s.t)); got != n {
		return fmt.Errorf("%d messages were sent, want %d", got, n)
	}
	return nil
}

// named: where a lost answer is known to mean that it was sent, the Message-ID that answers will come to is known as well.
func (s *senderRun) named(ctx context.Context, st provider.Staged) error {
	o, sent, err := s.sender.Lookup(ctx, st)
	if err != nil {
		return fmt.Errorf("Lookup: %w", err)
	}
	if want := s.h.Delivered(s.t)[0].MessageID; o == provider.OutcomeSent && sent.MessageID != want {
		return fmt.Errorf("Lookup says it was sent as %q, want %q", sent.MessageID, want)
	}
	return nil
}

func (s *senderRun) never(ctx context.Context, st provider.Staged, wrong provider.Outcome) error {
	o, _, err := s.sender.Lookup(ctx, st)
	if err != nil {
		return fmt.Errorf("Lookup: %w", err)
	}
	if o == wrong || (o != provider.OutcomeSent && o != provider.OutcomeNotSent && o != provider.OutcomeUnknown) {
		return fmt.Errorf("Lookup says %q", o)
	}
	return nil
}

func (s *senderRun) lost(ctx context.Context, l Loss, wrong provider.Outcome) error {
	st, err := s.stage(ctx)
	if err != nil {
		return err
	}
	if !s.h.Lose(s.t, l) {
		return errNotHere
	}
	if _, err := s.sender.Release(ctx, st); err == nil {
		return errors.New("Release knew the outcome")
	}
	want := 0
	if l == LostAfter {
		want = 1
	}
	if err := s.want(want); err != nil {
		return err
	}
	if err := s.never(ctx, st, wrong); err != nil || l == LostBefore {
		return err
	}
	return s.named(ctx, st)
}

func caseRelease(ctx context.Context, s *senderRun) error {
	st, err := s.stage(ctx)
	if err != nil {
		return err
	}
	sent, err := s.sender.Release(ctx, st)
	if err != nil {
		return err
	}
	if err := s.want(1); err != nil {
		return err
	}
	d := s.h.Delivered(s.t)[0]
	got, want := slices.Sorted(slices.Values(d.Recipients)), slices.Sorted(slices.Values(outgoingOptions.Recipients))
	if !slices.Equal(got, want) {
		return fmt.Errorf("recipients %q, want %q", got, want)
	}
	if !bytes.Contains(d.Raw, []byte("Our offer.\r\n.a line with a dot")) {
		return errors.New("the text changed")
	}
	if sent.MessageID == "" || !bytes.Contains(d.Raw, []byte("<"+sent.MessageID+">")) {
		return fmt.Errorf("Sent.MessageID %q is not the message's", sent.MessageID)
	}
	return nil
}

func caseAddresses(ctx context.Context, s *senderRun) error {
	for _, bad := range []string{"", "ada", "ada@sender.example\r\nRCPT TO:<evil@else.example>", "Ada <ada@sender.example>", "a@b.example>\r\n"} {
		o := outgoingOptions
		o.Recipients = []string{"carl@sender.example", bad}
		if _, err := s.sender.Stage(ctx, outgoing, o); err == nil {
			return fmt.Errorf("it took the recipient %q", bad)
		}
		o = outgoingOptions
		o.From = bad
		if _, err := s.sender.Stage(ctx, outgoing, o); err == nil {
			return fmt.Errorf("it took the sender %q", bad)
		}
	}
	o := outgoingOptions
	o.Recipients = nil
	if _, err := s.sender.Stage(ctx, outgoing, o); err == nil {
		return errors.New("it took a message to nobody")
	}
	return nil
}

package failpoint

import (
	"context"

	"github.com/intellicon/email-integration/provider"
)

// sender is a process's way to send.
type sender struct {
	p *Process
	s provider.Sender
}

var _ provider.Sender = (*sender)(nil)

// Sender is a process's way to send by s. It passes a failpoint itself, sender.Open, and so belongs into the host's Options.Sender.
func Sender(p *Process, s provider.Sender) (provider.Sender, error) {
	return get(p, "sender.Open", func() (provider.Sender, error) { return &sender{p, s}, nil })
}

func (s *sender) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	return get(s.p, "sender.Stage", func() (provider.Staged, error) { return s.s.Stage(ctx, raw, o) })
}

func (s *sender) Release(ctx context.Context, st provider.Staged) (provider.Sent, error) {
	return get(s.p, "sender.Release", func() (provider.Sent, error) { return s.s.Release(ctx, st) })
}

func (s *sender) Lookup(ctx context.Context, st provider.Staged) (provider.Outcome, provider.Sent, error) {
	return get2(s.p, "sender.Lookup", func() (provider.Outcome, provider.Sent, error) { return s.s.Lookup(ctx, st) })
}

package emailint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// Outgoing is a rendered message to send, as smtp.Compose makes it.
type Outgoing struct {
	Connection int64
	Key        string   // idempotency key of the host's choice, unique in the organisation: the same key never sends twice
	Raw        []byte   // RFC 5322 with a Message-ID
	From       string   // bare address
	Recipients []string // bare addresses, Bcc included
	Thread     string   // the provider's thread id of the mail that is answered, "" where there is none
}

// Sending says what became of a message.
type Sending struct {
	State     state.OutState
	EmailID   string // the id under which the CRM has it or will have it
	MessageID string
	Error     string
}

var errErasing = errors.New("the mailbox is being erased")

// giveUp is how long a worker may be silent in the middle of a release before another looks up what happened.
const giveUp = 10 * time.Minute

// staging is how long a worker may be silent while it stages a message before another begins anew. Half of it is enough: a minute, and what the bytes
// take at 100 KB/s.
func staging(raw []byte) time.Duration {
	return 2*time.Minute + time.Duration(len(raw)/50_000)*time.Second
}

// Send stores the message, sends it, and links it. An error means that nothing was stored. After that the outcome is in
// Sending.State: sent; failed; staged or queued when it is tried again by Run; unknown when the answer was lost and nobody can
// say, in which case it is never sent again blindly. A second call with the same Key returns what became of the first.
func (e *Engine) Send(ctx context.Context, org string, m Outgoing) (Sending, error) {
	if m.Key == "" {
		return Sending{}, errors.New("emailint: sending: the idempotency key is missing")
	}
	env := message.ParseHeader(m.Raw)
	if env.MessageID == "" || len(m.Recipients) == 0 {
		return Sending{}, errors.New("emailint: sending: the message needs a Message-ID and at least one recipient")
	}
	if err := e.observing(ctx); err != nil {
		return Sending{}, fmt.Errorf("emailint: sending: %w", err)
	}
	c, err := e.o.State.Connection(ctx, org, m.Connection)
	switch {
	case err == nil && c.State == state.Erasing:
		err = errErasing
	case err == nil && c.State == state.Disconnected:
		err = errors.New("the mailbox is disconnected")
	}
	if err != nil {
		return Sending{}, fmt.Errorf("emailint: sending: connection %d: %w", m.Connection, err)
	}
	env.Sent, env.Received = true, e.o.Now()
	if err := e.pull(ctx, org); err != nil {
		return Sending{}, fmt.Errorf("emailint: sending: %w", err)
	}
	change, err := e.o.State.ChangeNumber(ctx, org)
	if err != nil {
		return Sending{}, fmt.Errorf("emailint: sending: %w", err)
	}
	d, err := e.deliverer(ctx, state.Lease{Org: org, Connection: m.Connection}, nil, nil)
	if err != nil {
		return Sending{}, fmt.Errorf("emailint: sending: %w", err)
	}
	row := state.Outgoing{Key: m.Key, Org: org, Connection: m.Connection, Raw: m.Raw, State: state.OutQueued, Created: e.o.Now(), Change: change}
	row.NextTry = e.o.Now().Add(staging(m.Raw)) // it is sent here; Run takes it up where that vanishes
	if err := d.Outgoing(ctx, env, &row); err != nil {
		return Sending{}, fmt.Errorf("emailint: sending: %w", err)
	}
	row.Options, err = json.Marshal(provider.SendOptions{From: m.From, Recipients: m.Recipients, MessageID: env.MessageID, Thread: m.Thread})
	if err != nil {
		return Sending{}, err
	}
	row, _, err = e.o.State.OutboxAdd(ctx, org, row)
	if err == nil && row.Connection != m.Connection {
		err = errors.New("the key is that of another mailbox's mail")
	}
	if err != nil {
		return Sending{}, fmt.Errorf("emailint: sending: %w", err)
	}
	// What is paused waits in the outbox.
	if err = e.paused(ctx, org, c.Provider); err == nil {
		row, err = e.dispatch(ctx, org, row)
	}
	if err != nil {
		// It is stored: Run goes on with it.
		e.o.Logger.WarnContext(ctx, "sending goes on later", "key", m.Key, "error", err)
		if stored, gerr := e.o.State.OutboxGet(context.WithoutCancel(ctx), org, m.Key); gerr == nil {
			row = stored
		}
	}
	return Sending{State: row.State, EmailID: strconv.FormatInt(row.Email, 10), MessageID: message.ParseHeader(row.Raw).MessageID, Error: row.Error}, nil
}

// dispatch takes an outbox row as far as it gets.
func (e *Engine) dispatch(ctx context.Context, org string, row state.Outgoing) (state.Outgoing, error) {
	switch row.State {
	case state.OutSent, state.OutFailed:
		return row, nil
	case state.OutUnknown:
		if row.NextTry.After(e.o.Now()) {
			return row, nil
		}
	case state.OutSending:
		if row.NextTry.After(e.o.Now()) {
			return row, nil // somebody is at it
		}
	}
	c, err := e.o.State.Connection(ctx, org, row.Connection)
	if err == nil && c.State == state.Erasing {
		err = errErasing
	}
	if err != nil {
		return row, err
	}
	s, err := e.sendsBy(ctx, c)
	if err != nil {
		// Postponed, so that it doesn't stand in the way of others.
		return e.o.State.OutboxStep(context.WithoutCancel(ctx), org, row.Key, row.State, row.State,
			state.Step{Error: err.Error(), NextTry: e.o.Now().Add(time.Minute << min(row.Tries, 8)), Try: true})
	}
	var staged provider.Staged
	if row.State == state.OutQueued {
		var opts provider.SendOptions
		if err := json.Unmarshal(row.Options, &opts); err != nil {
			return row, err
		}
		// From here until it is staged no other worker finds it due: a draft that two made would be left over.
		until := staging(row.Raw)
		if row, err = e.o.State.OutboxStep(ctx, org, row.Key, state.OutQueued, state.OutQueued,
			state.Step{Error: row.Error, NextTry: e.o.Now().Add(until), Claim: true, Was: row.NextTry}); err != nil {
			return row, err
		}
		sctx, cancel := context.WithTimeout(ctx, until/2)
		staged, err = s.Stage(sctx, row.Raw, opts)
		cancel()
		if err != nil {
			return e.unsent(ctx, org, row, err)
		}
		b, err := json.Marshal(staged)
		if err != nil {
			return row, err
		}
		if row, err = e.o.State.OutboxStep(ctx, org, row.Key, state.OutQueued, state.OutStaged, state.Step{Staged: b}); err != nil {
			return row, err
		}
	}
	if err := json.Unmarshal(row.Staged, &staged); err != nil {
		return row, err
	}
	if row.State == state.OutSending || row.State == state.OutUnknown {
		return e.lookup(ctx, org, row, s, staged, errors.New("the worker that sent it vanished"))
	}
	// From here until the answer is stored, another worker that finds the row looks up and doesn't send.
	if row, err = e.o.State.OutboxStep(ctx, org, row.Key, state.OutStaged, state.OutSending,
		state.Step{NextTry: e.o.Now().Add(giveUp), Try: true}); err != nil {
		return row, err
	}
	// It ends well before another worker gives us up: two never release at the same time.
	rctx, cancel := context.WithTimeout(ctx, giveUp/2)
	sent, err := s.Release(rctx, staged)
	cancel()
	var action *provider.NeedsAction
	switch {
	case err == nil:
		return e.sent(ctx, org, row, sent)
	case errors.Is(err, provider.ErrNotSent), errors.As(err, &action):
		return e.unsent(ctx, org, row, err)
	}
	return e.lookup(ctx, org, row, s, staged, err)
}

func (e *Engine) sent(ctx context.Context, org string, row state.Outgoing, sent provider.Sent) (state.Outgoing, error) {
	step := state.Step{}
	// Where the service drafted it, the draft became the copy in Sent; after SMTP somebody has to file one.
	var staged provider.Staged
	if err := json.Unmarshal(row.Staged, &staged); err == nil && staged.ID == "" {
		// The mail is out: settings that can't be read must not keep that from being stored.
		if s, _, err := e.settings(context.WithoutCancel(ctx), org); err != nil || s.FileSent {
			step.CopyAt = e.o.Now().Add(copyGrace)
		}
	}
	if own := message.ParseHeader(row.Raw).MessageID; sent.MessageID != "" && sent.MessageID != own {
		step.Aliases = []state.Hash{state.Hash(e.hasher(org).MessageID(sent.MessageID))}
	}
	stepped, err := e.o.State.OutboxStep(context.WithoutCancel(ctx), org, row.Key, row.State, state.OutSent, step)
	if errors.Is(err, state.ErrStale) {
		// We were taken for vanished, and whoever looked could not know. We do.
		stepped, err = e.o.State.OutboxStep(context.WithoutCancel(ctx), org, row.Key, state.OutUnknown, state.OutSent, step)
	}
	if err != nil {
		return row, err
	}
	row = stepped
	// Delivery to the CRM may fail: the email is undelivered then, and the next pass of its mailbox goes on with it.
	if err := e.deliverSent(ctx, org, row); err != nil {
		e.o.Logger.WarnContext(ctx, "saving a sent mail goes on later", "key", row.Key, "error", err)
	}
	return row, nil
}

func (e *Engine) unsent(ctx context.Context, org string, row state.Outgoing, cause error) (state.Outgoing, error) {
	to, step := state.OutFailed, state.Step{Error: cause.Error(), Try: row.State == state.OutQueued}
	var action *provider.NeedsAction
	var limit *provider.RateLimitError
	switch {
	case errors.As(cause, &limit):
		to, step.NextTry = state.OutQueued, e.o.Now().Add(max(limit.RetryAfter, time.Minute))
	case errors.As(cause, &action), errors.Is(cause, provider.ErrTryLater), !errors.Is(cause, provider.ErrNotSent):
		to, step.NextTry = state.OutQueued, e.o.Now().Add(time.Minute<<min(row.Tries, 8))
	}
	if row.State == state.OutSending && to == state.OutQueued {
		to = state.OutStaged
	}
	return e.o.State.OutboxStep(context.WithoutCancel(ctx), org, row.Key, row.State, to, step)
}

func (e *Engine) lookup(ctx context.Context, org string, row state.Outgoing, s provider.Sender, st provider.Staged, cause error) (state.Outgoing, error) {
	lctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	out, sent, err := s.Lookup(lctx, st)
	if err != nil {
		return e.o.State.OutboxStep(context.WithoutCancel(ctx), org, row.Key, row.State, row.State,
			state.Step{Error: err.Error(), NextTry: e.o.Now().Add(giveUp)})
	}
	switch out {
	case provider.OutcomeSent:
		return e.sent(ctx, org, row, sent)
	case provider.OutcomeNotSent:
		return e.o.State.OutboxStep(context.WithoutCancel(ctx), org, row.Key, row.State, state.OutStaged,
			state.Step{Error: cause.Error(), NextTry: e.o.Now().Add(time.Minute << min(row.Tries, 8)), Lookup: true})
	}
	return e.o.State.OutboxStep(context.WithoutCancel(ctx), org, row.Key, row.State, state.OutUnknown,
		state.Step{Error: cause.Error(), NextTry: e.o.Now().Add(24 * time.Hour)})
}

// deliverSent saves a sent mail with the content we have, without waiting for its copy in Sent.
func (e *Engine) deliverSent(ctx context.Context, org string, row state.Outgoing) error {
	m, err := e.o.State.Email(ctx, org, row.Email)
	if err != nil || m.Revision <= m.Saved || len(m.Effective()) == 0 {
		return err
	}
	d, err := e.deliverer(ctx, state.Lease{Org: org}, nil, nil)
	if err != nil {
		return err
	}
	mail := message.Parse(row.Raw)
	mail.Sent, mail.Received = true, row.Created
	full := map[int64]crm.Email{m.ID: {Message: *mail, Outbound: true, When: row.Created}}
	return d.Send(ctx, []state.Email{m}, full)
}

package emailint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

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

var (
	errErasing      = errors.New("the mailbox is being erased")
	errDisconnected = errors.New("the mailbox is disconnected")
)

// Send stores the message, sends it, and links it. An error means that nothing was stored, or that the state did not say whether it was: then the same
// call again tells. After that the outcome is in Sending.State: sent; failed; staged or queued when it is tried again by Run; sending while somebody is
// at it; unknown when the answer was lost and nobody can say, in which case it is never sent again blindly. Where ctx ends while the mail is being
// released, its answer is waited for, for some seconds. A second call with the same Key returns what became of the first.
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
	switch row, err := e.o.State.OutboxGet(ctx, org, m.Key); {
	case err == nil:
		return e.resend(ctx, org, m, row)
	case !errors.Is(err, state.ErrNotFound):
		return Sending{}, fmt.Errorf("emailint: sending: %w", err)
	}
	c, err := e.o.State.Connection(ctx, org, m.Connection)
	switch {
	case err == nil && c.State == state.Erasing:
		err = errErasing
	case err == nil && c.State == state.Disconnected:
		err = errDisconnected
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
	row, added, err := e.o.State.OutboxAdd(ctx, org, row)
	if err != nil {
		// It may be there, where ctx ended in that moment or the answer was lost: then it is sent.
		stored, gerr := e.o.State.OutboxGet(context.WithoutCancel(ctx), org, m.Key)
		if gerr != nil {
			return Sending{}, fmt.Errorf("emailint: sending: %w", err)
		}
		row = stored
	}
	if !added {
		return e.resend(ctx, org, m, row)
	}
	return e.sendNow(ctx, org, c, row), nil
}

// resend says what became of a message that was stored by an earlier call, and goes on with it where nobody is at it and it need not wait.
func (e *Engine) resend(ctx context.Context, org string, m Outgoing, row state.Outgoing) (Sending, error) {
	if row.Connection != m.Connection {
		return Sending{}, errors.New("emailint: sending: the key is that of another mailbox's mail")
	}
	if row.State == state.OutSent || row.State == state.OutFailed || row.NextTry.After(e.o.Now()) {
		return sending(row), nil
	}
	c, err := e.o.State.Connection(ctx, org, row.Connection)
	if err != nil {
		e.o.Logger.WarnContext(ctx, "sending goes on later", "key", row.Key, "error", err)
		return sending(row), nil
	}
	return e.sendNow(ctx, org, c, row), nil
}

// sendNow takes a stored message as far as it gets. What is paused waits in the outbox.
func (e *Engine) sendNow(ctx context.Context, org string, c Connection, row state.Outgoing) Sending {
	key := row.Key
	err := e.paused(ctx, org, c.Provider)
	if err == nil {
		row, err = e.dispatch(ctx, org, row)
	}
	if err != nil {
		// It is stored: Run goes on with it.
		e.o.Logger.WarnContext(ctx, "sending goes on later", "key", key, "error", err)
		if stored, gerr := e.o.State.OutboxGet(context.WithoutCancel(ctx), org, key); gerr == nil {
			row = stored
		}
	}
	return sending(row)
}

func sending(row state.Outgoing) Sending {
	return Sending{State: row.State, EmailID: strconv.FormatInt(row.Email, 10), MessageID: message.ParseHeader(row.Raw).MessageID, Error: row.Error}
}

package emailint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// releasing is how long a release may take. A draft is only named. Bytes take their time, a minute for each 6 MB, and RFC 5321, 4.5.3.2.6, gives the
// server ten minutes for its answer to them. A worker that is silent for twice as long is given up, and another looks up what happened.
func releasing(st provider.Staged) time.Duration {
	if st.ID != "" {
		return 5 * time.Minute
	}
	return 12*time.Minute + time.Duration(len(st.Raw)/100_000)*time.Second
}

// linger returns a context that ends ten seconds after ctx: what is done once, and whose answer decides what is known of it, is not cut off at once where a
// host stops, or a browser goes away.
func linger(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(10 * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-out.Done():
		}
	})
	return out, func() {
		stop()
		cancel()
	}
}

// looking is how long a look-up that failed waits for the next.
const looking = 10 * time.Minute

// staging is how long a worker may be silent while it stages a message before another begins anew. Half of it is enough: a minute, and what the bytes
// take at 100 KB/s.
func staging(raw []byte) time.Duration {
	return 2*time.Minute + time.Duration(len(raw)/50_000)*time.Second
}

// stagedRecord is what the outbox keeps of a message that was staged.
type stagedRecord struct {
	provider.Staged
	By     string // the kind of sender that staged it: another can't release it
	Looked bool   // it was released, and a look-up said that nothing was sent
}

// looked reports whether a row was released before, and a look-up said that nothing was sent: its copy may tell better.
func looked(row state.Outgoing) bool {
	var st stagedRecord
	return json.Unmarshal(row.Staged, &st) == nil && st.Looked
}

// step moves a row on from where it was read: also one that another worker took up since, and brought back to the same state, is ErrStale. It is done though
// ctx has ended: what happened is to be known.
func (e *Engine) step(ctx context.Context, row state.Outgoing, to state.OutState, s state.Step) (state.Outgoing, error) {
	s.Claim, s.Was = true, row.NextTry
	s.Error = s.Error[:min(len(s.Error), 1000)] // a service may say much
	stepped, err := e.o.State.OutboxStep(context.WithoutCancel(ctx), row.Org, row.Key, row.State, to, s)
	if err != nil {
		return row, err
	}
	return stepped, nil
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
	if c.State == state.Disconnected && (row.State == state.OutQueued || row.State == state.OutStaged) {
		return e.step(ctx, row, state.OutFailed, state.Step{Error: errDisconnected.Error(), Lookup: looked(row)})
	}
	if err := ctx.Err(); err != nil {
		return row, err
	}
	var s guardedSender
	if c.State == state.Paused && (row.State == state.OutQueued || row.State == state.OutStaged) {
		err = fmt.Errorf("%w: it is paused", errNotNow)
	} else {
		s, err = e.sendsBy(ctx, c)
	}
	if errors.Is(err, errNotNow) {
		to, wait := row.State, patience[0]
		if to == state.OutSending && c.State == state.Disconnected {
			to = state.OutUnknown // nobody can look
		}
		if to == state.OutUnknown {
			wait = 24 * time.Hour
		}
		return e.step(ctx, row, to, state.Step{Error: err.Error(), NextTry: e.o.Now().Add(wait)})
	}
	if err != nil {
		// Postponed, so that it doesn't stand in the way of others.
		return e.step(ctx, row, row.State, state.Step{Error: err.Error(), NextTry: e.o.Now().Add(time.Minute << min(row.Tries, 8)), Try: true})
	}
	var staged stagedRecord
	if row.State == state.OutQueued {
		var opts provider.SendOptions
		if err := json.Unmarshal(row.Options, &opts); err != nil {
			return row, err
		}
		// From here until it is staged no other worker finds it due: a draft that two made would be left over.
		until := staging(row.Raw)
		if row, err = e.step(ctx, row, state.OutQueued, state.Step{Error: row.Error, NextTry: e.o.Now().Add(until)}); err != nil {
			return row, err
		}
		sctx, cancel := context.WithTimeout(ctx, until/2)
		staged.By = s.kind()
		staged.Staged, err = s.Stage(sctx, row.Raw, opts)
		cancel()
		if err != nil {
			return e.unsent(ctx, row, err)
		}
		b, err := json.Marshal(staged)
		if err != nil {
			return row, err
		}
		if row, err = e.step(ctx, row, state.OutStaged, state.Step{Staged: b}); err != nil {
			return row, err
		}
	}
	if err := json.Unmarshal(row.Staged, &staged); err != nil {
		return row, err
	}
	if row.State == state.OutStaged && staged.By != s.kind() && !staged.Looked {
		// The host sends otherwise than it did, and nothing was sent yet.
		if row, err = e.step(ctx, row, state.OutQueued, state.Step{Error: row.Error, NextTry: e.o.Now()}); err != nil {
			return row, err
		}
		return e.dispatch(ctx, org, row)
	}
	if row.State == state.OutSending || row.State == state.OutUnknown {
		return e.lookup(ctx, org, row, s, staged, errors.New("the worker that sent it vanished"))
	}
	if err := ctx.Err(); err != nil {
		return row, err
	}
	// From here until the answer is stored, another worker that finds the row looks up and doesn't send. What was released before may be known by its copy.
	within := releasing(staged.Staged)
	if row, err = e.step(ctx, row, state.OutSending, state.Step{NextTry: e.o.Now().Add(2 * within), Try: true, Lookup: staged.Looked}); err != nil || row.State != state.OutSending {
		return row, err
	}
	// It ends well before another worker gives us up: two never release at the same time.
	lctx, end := linger(ctx)
	rctx, cancel := context.WithTimeout(lctx, within)
	sent, err := s.Release(rctx, staged.Staged)
	cancel()
	end()
	var action *provider.NeedsAction
	switch {
	case err == nil:
		return e.sent(ctx, org, row, sent)
	case errors.Is(err, provider.ErrNotSent), errors.As(err, &action):
		return e.unsent(ctx, row, err)
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
	// We were taken for vanished, and whoever looked could not know, or was told that nothing was sent. We know.
	for _, from := range []state.OutState{state.OutUnknown, state.OutStaged, state.OutQueued} {
		if errors.Is(err, state.ErrStale) {
			stepped, err = e.o.State.OutboxStep(context.WithoutCancel(ctx), org, row.Key, from, state.OutSent, step)
		}
	}
	if err != nil {
		e.unheard.add(row, err, func(ctx context.Context) { _, _ = e.sent(ctx, org, row, sent) })
		return row, err
	}
	row = stepped
	// Delivery to the CRM may fail: the email is undelivered then, and the next pass of its mailbox goes on with it.
	if err := e.deliverSent(ctx, org, row); err != nil {
		e.o.Logger.WarnContext(ctx, "saving a sent mail goes on later", "key", row.Key, "error", err)
	}
	return row, nil
}

func (e *Engine) unsent(ctx context.Context, row state.Outgoing, cause error) (state.Outgoing, error) {
	to, step := state.OutFailed, state.Step{Error: cause.Error(), Try: row.State == state.OutQueued, Lookup: looked(row)}
	var action *provider.NeedsAction
	var limit *provider.RateLimitError
	switch {
	case errors.As(cause, &limit):
		to, step.NextTry = state.OutQueued, e.o.Now().Add(min(max(limit.RetryAfter, time.Minute), longest))
	case errors.As(cause, &action), errors.Is(cause, provider.ErrTryLater), !errors.Is(cause, provider.ErrNotSent) && !errors.Is(cause, provider.ErrUnsupported):
		to, step.NextTry = state.OutQueued, e.o.Now().Add(time.Minute<<min(row.Tries, 8))
	}
	if row.State == state.OutSending && to == state.OutQueued {
		to = state.OutStaged
	}
	stepped, err := e.step(ctx, row, to, step)
	if errors.Is(err, state.ErrStale) && row.State == state.OutSending {
		// As in sent, where nobody has tried since.
		now, gerr := e.o.State.OutboxGet(context.WithoutCancel(ctx), row.Org, row.Key)
		if gerr == nil && now.State == state.OutUnknown && now.Tries == row.Tries {
			return e.step(ctx, now, to, step)
		}
	}
	if err != nil && row.State == state.OutSending {
		e.unheard.add(row, err, func(ctx context.Context) { _, _ = e.unsent(ctx, row, cause) })
	}
	return stepped, err
}

// unheard is what became of releases and could not be stored, as the state did not answer: we know, and who looks may never.
type unheard struct {
	mu sync.Mutex                       // guards what is below
	of map[string]func(context.Context) // by organisation and key
}

// add keeps what is to be told again, unless the state's error says that nobody wants to know.
func (u *unheard) add(row state.Outgoing, err error, tell func(context.Context)) {
	if errors.Is(err, state.ErrStale) || errors.Is(err, state.ErrNotFound) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of == nil {
		u.of = map[string]func(context.Context){}
	}
	u.of[row.Org+"\x00"+row.Key] = tell
}

// tell tells all of it again.
func (u *unheard) tell(ctx context.Context) {
	u.mu.Lock()
	all := u.of
	u.of = nil
	u.mu.Unlock()
	for _, f := range all {
		f(ctx)
	}
}

func (e *Engine) lookup(ctx context.Context, org string, row state.Outgoing, s guardedSender, st stagedRecord, cause error) (state.Outgoing, error) {
	lctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	out, sent, err := s.Lookup(lctx, st.Staged)
	if err != nil {
		return e.step(ctx, row, row.State, state.Step{Error: err.Error(), NextTry: e.o.Now().Add(looking)})
	}
	switch out {
	case provider.OutcomeSent:
		return e.sent(ctx, org, row, sent)
	case provider.OutcomeNotSent:
		st.Looked = true
		b, err := json.Marshal(st)
		if err != nil {
			return row, err
		}
		return e.step(ctx, row, state.OutStaged,
			state.Step{Staged: b, Error: cause.Error(), NextTry: e.o.Now().Add(time.Minute << min(row.Tries, 8)), Lookup: true})
	}
	return e.step(ctx, row, state.OutUnknown, state.Step{Error: cause.Error(), NextTry: e.o.Now().Add(24 * time.Hour)})
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

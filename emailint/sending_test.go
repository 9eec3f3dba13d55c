package emailint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// postman is a mail server that does as it is told and counts.
type postman struct {
	recorder
	stage   func() error
	release func(ctx context.Context) error
	lookup  func() provider.Outcome
	staged  int
	sent    int
}

func (p *postman) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	p.staged++
	if p.stage != nil {
		if err := p.stage(); err != nil {
			return provider.Staged{}, err
		}
	}
	return p.recorder.Stage(ctx, raw, o)
}

func (p *postman) Release(ctx context.Context, st provider.Staged) (provider.Sent, error) {
	if p.release != nil {
		if err := p.release(ctx); err != nil {
			return provider.Sent{}, err
		}
	}
	p.sent++
	return p.recorder.Release(ctx, st)
}

func (p *postman) Lookup(context.Context, provider.Staged) (provider.Outcome, provider.Sent, error) {
	if p.lookup != nil {
		return p.lookup(), provider.Sent{}, nil
	}
	return provider.OutcomeUnknown, provider.Sent{}, nil
}

var errLater = fmt.Errorf("%w: %w: it is down", provider.ErrNotSent, provider.ErrTryLater)

// posting is a world whose mail goes by a postman.
func posting(t *testing.T, p *postman, opts ...emailinttest.Option) *emailinttest.World {
	t.Helper()
	w := emailinttest.New(t, append(opts, emailinttest.WithOptions(func(o *emailint.Options) {
		o.Sender = func(context.Context, emailint.Connection) (provider.Sender, error) { return p, nil }
	}))...)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	return w
}

func post(t *testing.T, w *emailinttest.World) emailint.Sending {
	t.Helper()
	s, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
		Recipients: []string{"ada@customer.example"}, Raw: outgoing})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func posted(t *testing.T, w *emailinttest.World) state.Outgoing {
	t.Helper()
	o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, "k")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Who presses the button twice makes one draft: the second call says what the first is at.
func TestSameKeyAtTheSameTime(t *testing.T) {
	p := &postman{}
	w := posting(t, p)
	p.stage = func() error {
		if p.staged > 1 {
			return errors.New("a second draft")
		}
		if s := post(t, w); s.State != state.OutQueued {
			t.Errorf("the second call says %+v", s)
		}
		return nil
	}
	if s := post(t, w); s.State != state.OutSent || p.staged != 1 || p.sent != 1 {
		t.Errorf("%+v, staged %d times, sent %d times", s, p.staged, p.sent)
	}
}

// A second call waits like Run does: a server that said when to come back is not asked before.
func TestSameKeyWaits(t *testing.T) {
	p := &postman{stage: func() error { return &provider.RateLimitError{RetryAfter: time.Hour} }}
	w := posting(t, p)
	for range 3 {
		if s := post(t, w); s.State != state.OutQueued || s.Error == "" {
			t.Errorf("%+v", s)
		}
	}
	if p.staged != 1 {
		t.Errorf("asked %d times", p.staged)
	}
	p.stage = nil
	w.Advance(time.Hour)
	if s := post(t, w); s.State != state.OutSent {
		t.Errorf("when it may: %+v", s)
	}
}

// What became of a mail can be asked for when its mailbox is gone and the CRM is down.
func TestSameKeyTellsLater(t *testing.T) {
	p := &postman{}
	w := posting(t, p)
	post(t, w)
	if _, err := w.Engine.Disconnect(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	w.Fail(errDown, errDown, errDown)
	if s := post(t, w); s.State != state.OutSent || p.sent != 1 {
		t.Errorf("%+v, sent %d times", s, p.sent)
	}
}

// What waits when its mailbox is disconnected is not sent any more, and says so.
func TestDisconnectedWhileItWaits(t *testing.T) {
	down := errLater
	p := &postman{release: func(context.Context) error { return down }}
	w := posting(t, p)
	if s := post(t, w); s.State != state.OutStaged {
		t.Fatalf("%+v", s)
	}
	if _, err := w.Engine.Disconnect(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	down = nil
	outbox(t, w, time.Hour)
	if o := posted(t, w); p.sent != 0 || o.State != state.OutFailed || o.Error == "" {
		t.Errorf("sent %d times, %s: %s", p.sent, o.State, o.Error)
	}
}

// What is to be sent from a mailbox that is paused waits, also where mail goes by the organisation's own server.
func TestPausedMailboxDoesNotSend(t *testing.T) {
	p := &postman{}
	w := posting(t, p)
	set := func(s state.ConnState) {
		t.Helper()
		if err := w.State.SetState(t.Context(), emailinttest.Org, w.Connection.ID, s, "by its user"); err != nil {
			t.Fatal(err)
		}
	}
	set(state.Paused)
	if s := post(t, w); s.State != state.OutQueued || s.Error == "" {
		t.Errorf("%+v", s)
	}
	for range 50 {
		outbox(t, w, time.Hour)
	}
	set(state.Connected)
	if p.staged != 0 {
		t.Errorf("staged %d times", p.staged)
	}
	outbox(t, w, 10*time.Minute)
	if o := posted(t, w); o.State != state.OutSent {
		t.Errorf("%s: %s", o.State, o.Error)
	}
}

// A server that asks for years is asked again in a day.
func TestSlipOfAMailServer(t *testing.T) {
	p := &postman{release: func(context.Context) error {
		return errors.Join(provider.ErrNotSent, &provider.RateLimitError{RetryAfter: 1 << 62})
	}}
	w := posting(t, p)
	if s := post(t, w); s.State != state.OutStaged {
		t.Fatalf("%+v", s)
	}
	p.release = nil
	outbox(t, w, 24*time.Hour)
	if o := posted(t, w); o.State != state.OutSent {
		t.Errorf("%s until %v", o.State, o.NextTry)
	}
}

// Mail that is to be sent doesn't sign in to a mailbox again and again that refuses it: servers lock those out who do.
func TestManyMailsOneSignIn(t *testing.T) {
	p := &postman{}
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) {
		o.Sender = nil
		o.SMTP = func(emailint.SMTP) (emailint.SMTPServer, error) { return nil, errors.New("not here") }
	}))
	w.Fake.RefuseSignIn(1000)
	opened := w.Fake.Calls().Open
	for i := range 5 {
		s, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: fmt.Sprint(i), From: emailinttest.Owner,
			Recipients: []string{"ada@customer.example"}, Raw: bytes.ReplaceAll(outgoing, []byte("out@x"), fmt.Appendf(nil, "%d@x", i))})
		if err != nil || s.State != state.OutQueued {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	for range 9 {
		outbox(t, w, time.Minute)
	}
	if n := w.Fake.Calls().Open - opened; n != 1 || p.sent != 0 {
		t.Errorf("%d sign-ins within ten minutes", n)
	}
	// The pass counts the refusal, and tries sparsely. When it is in again mail goes out.
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err == nil {
		t.Fatal("signed in")
	}
	opened = w.Fake.Calls().Open
	for range 50 {
		outbox(t, w, time.Minute)
	}
	if n := w.Fake.Calls().Open - opened; n != 0 {
		t.Errorf("%d sign-ins beside those of the passes", n)
	}
}

// mumbling is a state that stores a mail and doesn't say so.
type mumbling struct{ state.Store }

func (s mumbling) OutboxAdd(ctx context.Context, org string, o state.Outgoing) (state.Outgoing, bool, error) {
	if _, _, err := s.Store.OutboxAdd(ctx, org, o); err != nil {
		return state.Outgoing{}, false, err
	}
	return state.Outgoing{}, false, context.Canceled
}

// A mail that was stored though the state's answer was lost is sent by Run: that is no error of Send, or its sender would write another.
func TestStoredThoughTheAnswerWasLost(t *testing.T) {
	p := &postman{}
	w := posting(t, p, emailinttest.WithOptions(func(o *emailint.Options) { o.State = mumbling{o.State} }))
	if s := post(t, w); s.State != state.OutQueued || s.EmailID == "0" {
		t.Errorf("%+v", s)
	}
	outbox(t, w, time.Hour)
	if o := posted(t, w); o.State != state.OutSent || p.sent != 1 {
		t.Errorf("%s, sent %d times", o.State, p.sent)
	}
}

// A worker that was taken for vanished and knows that nothing was sent says so, and the mail goes on.
func TestTakenForVanishedAndNotSent(t *testing.T) {
	p := &postman{}
	w := posting(t, p)
	p.release = func(context.Context) error {
		p.release = nil
		outbox(t, w, time.Hour)
		if o := posted(t, w); o.State != state.OutUnknown {
			t.Errorf("after an hour it is %s", o.State)
		}
		return errLater
	}
	if s := post(t, w); s.State != state.OutStaged {
		t.Errorf("%+v", s)
	}
	outbox(t, w, time.Hour)
	if o := posted(t, w); o.State != state.OutSent || p.sent != 1 {
		t.Errorf("%s, sent %d times", o.State, p.sent)
	}
}

// A worker that was taken for vanished, of whose mail a look-up said that it was not sent, and that knows better, says so: it is not sent again.
func TestTakenForVanishedAndSent(t *testing.T) {
	p := &postman{lookup: func() provider.Outcome { return provider.OutcomeNotSent }}
	w := posting(t, p)
	p.release = func(context.Context) error {
		p.release = nil
		outbox(t, w, time.Hour)
		if o := posted(t, w); o.State != state.OutStaged {
			t.Errorf("after an hour it is %s", o.State)
		}
		return nil
	}
	if s := post(t, w); s.State != state.OutSent {
		t.Errorf("%+v", s)
	}
	outbox(t, w, time.Hour)
	if o := posted(t, w); o.State != state.OutSent || p.sent != 1 {
		t.Errorf("%s, sent %d times", o.State, p.sent)
	}
}

// A mail whose copy shows up after a look-up said that it was not sent was sent, also where its mailbox is disconnected before anybody tries again.
func TestCopyAndDisconnected(t *testing.T) {
	p := &postman{release: func(context.Context) error { return errors.New("connection reset") }, lookup: func() provider.Outcome { return provider.OutcomeNotSent }}
	w := posting(t, p)
	passes(t, w, 1)
	post(t, w)
	w.Fake.Deliver(outgoing, w.Now(), provider.RoleSent)
	passes(t, w, 1)
	if _, err := w.Engine.Disconnect(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	outbox(t, w, time.Hour)
	if o := posted(t, w); o.State != state.OutSent {
		t.Errorf("%s: %s", o.State, o.Error)
	}
}

// A copy that shows up after a look-up said that nothing was sent proves that it was: it is not sent again.
func TestCopyAfterTheLookup(t *testing.T) {
	p := &postman{release: func(context.Context) error { return errors.New("connection reset") }, lookup: func() provider.Outcome { return provider.OutcomeNotSent }}
	w := posting(t, p)
	passes(t, w, 1)
	if s := post(t, w); s.State != state.OutStaged {
		t.Fatalf("%+v", s)
	}
	p.release = nil
	w.Fake.Deliver(outgoing, w.Now(), provider.RoleSent)
	passes(t, w, 1)
	outbox(t, w, time.Hour)
	if o := posted(t, w); o.State != state.OutSent || p.sent != 0 {
		t.Errorf("%s, sent again %d times", o.State, p.sent)
	}
	// One that was never released is, whatever lies there.
	p.lookup = nil
	if _, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "again", From: emailinttest.Owner,
		Recipients: []string{"ada@customer.example"}, Raw: outgoing}); err != nil || p.sent != 1 {
		t.Errorf("sent %d times, %v", p.sent, err)
	}
}

// Bytes that take their time are given it: cut off each time they would never arrive.
func TestReleaseHasTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var had time.Duration
		p := &postman{release: func(ctx context.Context) error {
			until, _ := ctx.Deadline()
			had = time.Until(until)
			return nil
		}}
		w := posting(t, p, emailinttest.WithClock(time.Now))
		const size = 6 << 20
		raw := append(bytes.Clone(outgoing), bytes.Repeat([]byte("01234567\r\n"), size/10)...)
		s, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
			Recipients: []string{"ada@customer.example"}, Raw: raw})
		if err != nil || s.State != state.OutSent {
			t.Fatal(s.State, err)
		}
		// RFC 5321, 4.5.3.2.6: ten minutes for the answer alone.
		if least := 10*time.Minute + size/100_000*time.Second; had < least {
			t.Errorf("it had %v, want %v at least", had, least)
		}
	})
}

// Who can't open a sender leaves a mail alone that somebody else has begun to stage meanwhile: a third would make another draft.
func TestPostponedWhileItIsStaged(t *testing.T) {
	begun, done := make(chan struct{}), make(chan struct{})
	opened := 0
	p := &postman{}
	var w *emailinttest.World
	ended := make(chan error, 1)
	w = emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) {
		o.Sender = func(context.Context, emailint.Connection) (provider.Sender, error) {
			switch opened++; opened {
			case 1: // it is queued
				return nil, errLater
			case 2:
				p.stage = func() error {
					close(begun)
					<-done
					return nil
				}
				go func() { ended <- w.Engine.Outbox(t.Context()) }()
				<-begun
				return nil, errLater
			}
			return p, nil
		}
	}))
	if _, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
		Recipients: []string{"ada@customer.example"}, Raw: append(bytes.Clone(outgoing), bytes.Repeat([]byte("01234567\r\n"), 200_000)...)}); err != nil {
		t.Fatal(err)
	}
	outbox(t, w, time.Hour)
	if o := posted(t, w); o.State != state.OutQueued || !o.NextTry.After(w.Now().Add(2*time.Minute)) {
		t.Errorf("%s until %v, and it is %v", o.State, o.NextTry, w.Now())
	}
	close(done)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if o := posted(t, w); o.State != state.OutSent || p.sent != 1 {
		t.Errorf("%s, sent %d times", o.State, p.sent)
	}
}

// A host that sends otherwise from today on has mail that waits since yesterday, which the other sender staged: it goes out all the same, once.
func TestSentByAnotherSenderThanStaged(t *testing.T) {
	for _, kind := range []providertest.Personality{providertest.Graph, providertest.IMAP} {
		var options emailint.Options
		var w *emailinttest.World
		w = emailinttest.New(t, emailinttest.WithPersonality(kind), emailinttest.WithOptions(func(o *emailint.Options) {
			o.Sender = func(context.Context, emailint.Connection) (provider.Sender, error) { return busy{w.Fake}, nil }
			options = *o
		}))
		if s := post(t, w); s.State != state.OutStaged {
			t.Fatalf("%s: %+v", kind, s)
		}
		p := &strict{postman: &postman{}}
		options.Sender = func(context.Context, emailint.Connection) (provider.Sender, error) { return p, nil }
		e, err := emailint.New(options)
		if err != nil {
			t.Fatal(err)
		}
		w.Advance(time.Hour)
		if err := e.Outbox(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o := posted(t, w); o.State != state.OutSent || p.sent != 1 || len(w.Fake.Sent()) != 0 {
			t.Errorf("%s: %s (%s), sent %d and %d times", kind, o.State, o.Error, p.sent, len(w.Fake.Sent()))
		}
	}
}

// busy stages and releases nothing for now.
type busy struct{ provider.Sender }

func (busy) Release(context.Context, provider.Staged) (provider.Sent, error) {
	return provider.Sent{}, errLater
}

// strict releases what it staged itself.
type strict struct{ *postman }

func (s *strict) Release(ctx context.Context, st provider.Staged) (provider.Sent, error) {
	if s.staged == 0 {
		return provider.Sent{}, fmt.Errorf("%w: this is none of mine", provider.ErrNotSent)
	}
	return s.postman.Release(ctx, st)
}

// hanging is a state that stores nothing of what became of releases while it hangs.
type hanging struct {
	state.Store
	hangs *bool
}

func (s hanging) OutboxStep(ctx context.Context, org, key string, from, to state.OutState, st state.Step) (state.Outgoing, error) {
	if *s.hangs && from == state.OutSending {
		return state.Outgoing{}, errors.New("the database is gone for a moment")
	}
	return s.Store.OutboxStep(ctx, org, key, from, to, st)
}

// A database that is away for a moment, when a mail was just sent, does not make its outcome unknown: nobody else could find it out.
func TestOutcomeWhileTheStateIsAway(t *testing.T) {
	for name, release := range map[string]func(context.Context) error{
		"sent": nil, "not sent": func(context.Context) error { return errLater },
	} {
		hangs := true
		p := &postman{release: release}
		w := posting(t, p, emailinttest.WithOptions(func(o *emailint.Options) { o.State = hanging{o.State, &hangs} }))
		if s := post(t, w); s.State != state.OutSending {
			t.Errorf("%s: %+v", name, s)
		}
		p.release = nil
		outbox(t, w, time.Minute)
		hangs = false
		for range 3 {
			outbox(t, w, time.Hour)
		}
		if o := posted(t, w); o.State != state.OutSent || p.sent != 1 {
			t.Errorf("%s: %s (%s), sent %d times", name, o.State, o.Error, p.sent)
		}
	}
}

// A host that stops, or whose browser goes away, in the middle of a release gets to know what became of it: by SMTP nobody could find out later.
func TestStoppedWhileItIsReleased(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := &postman{release: func(ctx context.Context) error {
		cancel()
		return ctx.Err()
	}}
	w := posting(t, p)
	s, err := w.Engine.Send(ctx, emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
		Recipients: []string{"ada@customer.example"}, Raw: outgoing})
	if err != nil || s.State != state.OutSent || p.sent != 1 {
		t.Errorf("%+v, %v, sent %d times", s, err, p.sent)
	}
	// One that never ends is cut off all the same.
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := &postman{release: func(ctx context.Context) error {
			cancel()
			<-ctx.Done()
			return fmt.Errorf("%w: %w: %w", provider.ErrNotSent, provider.ErrTryLater, ctx.Err())
		}}
		w := posting(t, p, emailinttest.WithClock(time.Now))
		begun := time.Now()
		s, err := w.Engine.Send(ctx, emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
			Recipients: []string{"ada@customer.example"}, Raw: outgoing})
		if took := time.Since(begun); err != nil || s.State != state.OutStaged || took > time.Minute {
			t.Errorf("%+v, %v after %v", s, err, took)
		}
	})
}

// stopping is a state whose process is told to stop when a copy is about to be filed.
type stopping struct {
	state.Store
	stop *func()
}

func (s stopping) CopyStep(ctx context.Context, org, key string, from, to state.CopyState, st state.CopyStep) error {
	err := s.Store.CopyStep(ctx, org, key, from, to, st)
	if to == state.CopyTried {
		(*s.stop)()
	}
	return err
}

// A process that is told to stop when it files a copy in Sent files it: it is not tried again.
func TestStoppedWhileACopyIsFiled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := func() { cancel() }
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.State = stopping{o.State, &stop} }))
	w.Fake.NoSentCopy(true)
	send(t, w)
	w.Advance(time.Hour)
	_ = w.Engine.Outbox(ctx)
	for range 10 {
		outbox(t, w, time.Hour)
	}
	o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, "k")
	if n := len(w.Fake.Look("out@x")); err != nil || n != 1 || o.Copy != state.CopyFiled {
		t.Errorf("%d copies, copy %q (%s), %v", n, o.Copy, o.CopyError, err)
	}
}

// What a sender can't do is not asked for again and again: the mail failed, and says why, in so many words.
func TestWhatASenderCannotDo(t *testing.T) {
	p := &postman{stage: func() error { return fmt.Errorf("%w: %s", provider.ErrUnsupported, strings.Repeat("no ", 100_000)) }}
	w := posting(t, p)
	if s := post(t, w); s.State != state.OutFailed || s.Error == "" || len(s.Error) > 1000 {
		t.Errorf("%s: %d bytes of error", s.State, len(s.Error))
	}
}

// organisation is a mail server of an organisation's settings.
type organisation struct{ *postman }

func (organisation) Test(context.Context) error { return nil }

// A mail that was being sent when its worker died, and whose mailbox is disconnected since, is unknown: nobody can look.
func TestDisconnectedWhileItIsSent(t *testing.T) {
	p := &postman{}
	settings := emailint.DefaultSettings()
	settings.SMTP = emailint.SMTP{Host: "mail.example.com", Encryption: emailint.TLS, FromAddress: emailinttest.Owner}
	hangs := true
	var options emailint.Options
	w := emailinttest.New(t, emailinttest.WithSettings(settings), emailinttest.WithOptions(func(o *emailint.Options) {
		o.Sender, o.SMTP = nil, func(emailint.SMTP) (emailint.SMTPServer, error) { return organisation{p}, nil }
		options = *o
		o.State = hanging{o.State, &hangs}
	}))
	if s := post(t, w); s.State != state.OutSending || p.sent != 1 {
		t.Fatalf("%+v, sent %d times", s, p.sent)
	}
	another, err := emailint.New(options) // knows nothing of it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := another.Disconnect(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.Advance(time.Hour)
		if err := another.Outbox(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if o := posted(t, w); o.State != state.OutUnknown || p.sent != 1 {
		t.Errorf("%s (%s), sent %d times", o.State, o.Error, p.sent)
	}
}

// A sender that panics is one mail's trouble, not the process's. Who panics in the middle of a release may have sent it.
func TestPanicOfASender(t *testing.T) {
	boom := func() { panic("the text of a mail") }
	for name, c := range map[string]struct {
		sender *postman
		open   func() // of Options.Sender
		want   state.OutState
	}{
		"opening":      {sender: &postman{}, open: boom, want: state.OutQueued},
		"staging":      {sender: &postman{stage: func() error { boom(); return nil }}, want: state.OutQueued},
		"releasing":    {sender: &postman{release: func(context.Context) error { boom(); return nil }}, want: state.OutUnknown},
		"looking, too": {sender: &postman{release: func(context.Context) error { boom(); return nil }, lookup: func() provider.Outcome { boom(); return "" }}, want: state.OutSending},
	} {
		t.Run(name, func(t *testing.T) {
			w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) {
				o.Sender = func(context.Context, emailint.Connection) (provider.Sender, error) {
					if c.open != nil {
						c.open()
					}
					return c.sender, nil
				}
			}))
			if s := post(t, w); s.State != c.want || s.Error == "" || strings.Contains(s.Error, "the text") {
				t.Errorf("%+v", s)
			}
			for range 3 {
				outbox(t, w, time.Hour)
			}
			if o := posted(t, w); o.State != c.want || c.sender.sent != 0 {
				t.Errorf("later %s: %s", o.State, o.Error)
			}
			c.open, c.sender.stage = nil, nil
			outbox(t, w, 24*time.Hour)
			if o := posted(t, w); c.want == state.OutQueued && o.State != state.OutSent {
				t.Errorf("mended, it is %s: %s", o.State, o.Error)
			}
		})
	}
}

// minedSent is a mailbox in whose code for copies there is a bug.
type minedSent struct {
	provider.Mailbox
	provider.SentFiler
	at string
}

func (b minedSent) FindSent(ctx context.Context, id string) (provider.ItemID, error) {
	if b.at == "FindSent" {
		panic(b.at)
	}
	return b.SentFiler.FindSent(ctx, id)
}

func (b minedSent) Locate(ctx context.Context, id string) ([]provider.Item, error) {
	if b.at == "Locate" {
		panic(b.at)
	}
	return b.Mailbox.Locate(ctx, id)
}

func (b minedSent) FileSent(ctx context.Context, raw []byte, at time.Time) (provider.ItemID, error) {
	if b.at == "FileSent" {
		panic(b.at)
	}
	return b.SentFiler.FileSent(ctx, raw, at)
}

// A mailbox that panics over a copy is asked again, some times and not at once.
func TestPanicOverACopy(t *testing.T) {
	for _, at := range []string{"FindSent", "Locate", "FileSent"} {
		broken := at
		p := &postman{}
		w := posting(t, p, emailinttest.WithOptions(func(o *emailint.Options) {
			o.Providers = []provider.Provider{&bugged{o.Providers[0], &broken}}
		}))
		w.Fake.NoSentCopy(true)
		post(t, w)
		w.Advance(time.Hour)
		if err := w.Engine.Outbox(t.Context()); err != nil {
			t.Errorf("%s: %v", at, err)
		}
		if o := posted(t, w); o.CopyTries != 1 || !strings.Contains(o.CopyError, "panicked") {
			t.Errorf("%s: copy %q, %d tries: %s", at, o.Copy, o.CopyTries, o.CopyError)
		}
		broken = ""
		outbox(t, w, time.Hour)
		if o := posted(t, w); at != "FileSent" && o.Copy != state.CopyFiled { // that one may have filed it
			t.Errorf("%s: mended, copy %q: %s", at, o.Copy, o.CopyError)
		}
	}
}

// bugged is a provider of such mailboxes.
type bugged struct {
	provider.Provider
	at *string
}

func (p *bugged) Open(ctx context.Context, cred []byte) (provider.Mailbox, error) {
	b, err := p.Provider.Open(ctx, cred)
	if err != nil {
		return nil, err
	}
	return minedSent{b, b.(provider.SentFiler), *p.at}, nil
}

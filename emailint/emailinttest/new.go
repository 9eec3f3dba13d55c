package emailinttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// Org is the organisation of a World.
const Org = "org"

// Owner is the address of a World's mailbox.
const Owner = "owner@example.com"

// World is an engine over a fake mailbox and a CRM, on a clock that stands still until it is set: no test needs to sleep.
type World struct {
	Engine     *emailint.Engine
	Fake       *providertest.Fake
	CRM        *MemCRM
	State      state.Store
	Connection emailint.Connection

	clock func() time.Time // nil: now
	store *flaky
	mu    sync.Mutex // guards now
	now   time.Time
}

// Option changes a World before it starts.
type Option func(*options)

type options struct {
	personality providertest.Personality
	settings    emailint.Settings
	crm         crm.Store
	clock       func() time.Time
	engine      []func(*emailint.Options)
}

// WithPersonality chooses what kind of service the fake mailbox is like; IMAP by default.
func WithPersonality(p providertest.Personality) Option {
	return func(o *options) { o.personality = p }
}

// WithSettings replaces the default settings.
func WithSettings(s emailint.Settings) Option { return func(o *options) { o.settings = s } }

// WithClock gives the world another clock, time.Now in a bubble of testing/synctest for example; Advance does nothing then.
func WithClock(now func() time.Time) Option { return func(o *options) { o.clock = now } }

// WithCRM puts a host's own store in place of MemCRM.
func WithCRM(s crm.Store) Option { return func(o *options) { o.crm = s } }

// WithOptions changes the engine's options before it starts.
func WithOptions(change func(*emailint.Options)) Option {
	return func(o *options) { o.engine = append(o.engine, change) }
}

// New returns a world with a connected mailbox, and closes it with the test.
func New(t testing.TB, opts ...Option) *World {
	t.Helper()
	w, err := Start(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.State.Close(); err != nil {
			t.Errorf("closing the state: %v", err)
		}
	})
	return w
}

// Start is New without a test: whoever calls it closes State.
func Start(ctx context.Context, opts ...Option) (*World, error) {
	o := options{personality: providertest.IMAP, settings: emailint.DefaultSettings()}
	for _, f := range opts {
		f(&o)
	}
	w := &World{CRM: NewMemCRM(), clock: o.clock, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	if o.crm == nil {
		o.crm = w.CRM
	}
	w.store = &flaky{Store: o.crm}
	w.Fake = providertest.NewFake(o.personality, provider.Profile{Address: Owner, Subject: "owner"}, w.Now)
	st, err := sqlite.Open(ctx, ":memory:")
	if err != nil {
		return nil, err
	}
	w.State = st
	if err := w.connect(ctx, o); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return w, nil
}

func (w *World) connect(ctx context.Context, opts options) (err error) {
	o := emailint.Options{
		State: w.State, CRM: w.store, Now: w.Now, Providers: []provider.Provider{w.Fake.Provider()},
		Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32),
		Sender: func(context.Context, emailint.Connection) (provider.Sender, error) { return w.Fake, nil },
	}
	for _, change := range opts.engine {
		change(&o)
	}
	if w.Engine, err = emailint.New(o); err != nil {
		return err
	}
	if _, err := w.Engine.SetSettings(ctx, Org, opts.settings, 0); err != nil {
		return err
	}
	w.Connection, err = w.Engine.Connect(ctx, Org, emailint.NewConnection{
		User: "user", Provider: w.Fake.Provider().Name(), Credential: []byte("{}")})
	return err
}

// Now is the world's time.
func (w *World) Now() time.Time {
	if w.clock != nil {
		return w.clock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Advance moves the clock.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// Deliver puts a mail (RFC 5322, LF or CRLF) into the inbox, one second later than the one before.
func (w *World) Deliver(raw string) providertest.Handle {
	w.Advance(time.Second)
	return w.Fake.Deliver([]byte(raw), w.Now(), provider.RoleInbox)
}

// Drain runs passes until nothing is due, moving the clock over every back-off. It fails after a bounded number.
func (w *World) Drain(ctx context.Context) error {
	var last error
	for range 50 {
		if last = w.Engine.Sync(ctx, Org, w.Connection.ID); ctx.Err() != nil {
			return ctx.Err()
		}
		st, err := w.Engine.Status(ctx, Org, w.Connection.ID)
		if err != nil {
			return err
		}
		if last == nil && st.Completeness() == 1 && st.Connection.Wake == st.Connection.Served {
			return nil
		}
		w.Advance(10 * time.Minute)
	}
	if last == nil {
		last = errors.New("emailinttest: still not drained after 50 passes")
	}
	return last
}

// Fail makes the next calls of the CRM fail, one for each error; nil lets one pass.
func (w *World) Fail(errs ...error) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.store.next = append(w.store.next, errs...)
}

// flaky fails as told, after the effect every other time: the caller can't know which.
type flaky struct {
	crm.Store
	mu    sync.Mutex // guards below
	next  []error
	count int
}

// Unwrap gives what the store can do besides.
func (f *flaky) Unwrap() crm.Store { return f.Store }

func (f *flaky) call(effect func() error) error {
	f.mu.Lock()
	var err error
	if len(f.next) > 0 {
		err, f.next = f.next[0], f.next[1:]
	}
	if err != nil {
		f.count++
	}
	after := f.count%2 == 0
	f.mu.Unlock()
	if err == nil {
		return effect()
	}
	if after {
		if e := effect(); e != nil {
			return e
		}
	}
	return err
}

func (f *flaky) Find(ctx context.Context, org string, q linker.Query) (d linker.Directory, err error) {
	err = f.call(func() error { d, err = f.Store.Find(ctx, org, q); return err })
	return d, err
}

func (f *flaky) CreateContacts(ctx context.Context, org string, cs []crm.NewContact) (rs []linker.Record, err error) {
	err = f.call(func() error { rs, err = f.Store.CreateContacts(ctx, org, cs); return err })
	return rs, err
}

func (f *flaky) SaveEmails(ctx context.Context, org string, es []crm.Email) error {
	return f.call(func() error { return f.Store.SaveEmails(ctx, org, es) })
}

func (f *flaky) UpdateEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return f.call(func() error { return f.Store.UpdateEmails(ctx, org, es) })
}

func (f *flaky) RemoveEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return f.call(func() error { return f.Store.(crm.Remover).RemoveEmails(ctx, org, es) })
}

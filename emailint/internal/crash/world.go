package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/internal/panics"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

const (
	org          = "org"
	providerName = "crash"
	lease        = 2 * time.Minute
)

// lister is the world's CRM: it can be asked for changes, by how many were told.
type lister struct {
	*emailinttest.MemCRM
	w *world
}

func (l lister) RecordChanges(_ context.Context, _, since string) ([]emailint.RecordChange, string, bool, error) {
	next := strconv.Itoa(len(l.w.untold))
	if since == "" {
		return nil, next, false, nil
	}
	told, err := strconv.Atoi(since)
	if err != nil {
		return nil, "", false, err
	}
	return l.w.untold[told:], next, false, nil
}

// Service is the mail service behind one mailbox. Its methods panic when they fail: they are the world, not what is tested.
type Service interface {
	Open(ctx context.Context) (provider.Mailbox, error)
	// Sender sends from the mailbox.
	Sender() provider.Sender
	Sent() []providertest.Delivery
	Lose(l providertest.Loss)         // the answer to the next release
	LoseMutation(l providertest.Loss) // the answer to the next change of the mailbox, filing in Sent included
	Proof() Proof

	Deliver(raw []byte, at time.Time, role provider.Role) providertest.Handle
	Move(h providertest.Handle, to provider.Role)
	Delete(h providertest.Handle)
	Reset(role provider.Role)
	// Look returns every place where a message lies.
	Look(messageID string) []providertest.Sight
	Forget() // what happened since cursors were last read is never told; does nothing where a service can't
	// A Service that is an io.Closer is closed with its world.

	// ItemID is what the mailbox calls the message now; "" when it is gone or the service can't tell.
	ItemID(h providertest.Handle) provider.ItemID
}

// Proof says what a service can tell of a mail whose release had no answer.
type Proof int

const (
	Draft    Proof = iota // the draft is still there, or it was sent
	SentCopy              // a copy in Sent proves that it was sent, and nothing proves the contrary
	Nothing
)

// Config is what a suite runs on.
type Config struct {
	// Store returns an empty state.
	Store func(ctx context.Context) (state.Store, error)
	// Reopen closes the state and opens it anew, as a new process would; nil: the same store serves every process, which is
	// the same, for a transaction either happened or did not.
	Reopen func(ctx context.Context, s state.Store) (state.Store, error)
	// Service returns an empty mailbox, on the given clock, of the owner of that address.
	Service func(address string, now func() time.Time) Service
}

// clock stands still until it is set, unless it runs: then it goes on with the time of a bubble of testing/synctest.
type clock struct {
	mu    sync.Mutex // guards all below
	t     time.Time
	since time.Time // zero: it stands still
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.since.IsZero() {
		return c.t.Add(time.Since(c.since))
	}
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func (c *clock) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
}

// day0 is when the script begins. Steps are five days apart: each takes two and a bit, so that what is to be looked at again in a
// day is looked at within the step, and recoveries, which take minutes, change no date.
var day0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// What a CRM answers that does not work, and one that does not want a save.
var (
	errDown    = errors.New("crash: the CRM is down")
	errRefused = errors.New("crash: the CRM refuses a save")
)

// box is one mailbox of the world.
type box struct {
	name    string
	address string
	service Service
	conn    int64 // 0: not connected yet

	handles map[string]providertest.Handle // by mail
	live    []string                       // mails that lie in a watched folder, in the order of arrival
	items   map[provider.ItemID]string     // every id that a mail ever had
}

// world is everything outside of the process, and the process.
type world struct {
	ctx   context.Context
	cfg   Config
	clock *clock
	store state.Store
	crm   *emailinttest.MemCRM
	boxes []*box
	down  int          // so many further tries of the host find the CRM down
	spite atomic.Int64 // so many further saves are refused

	hasher *ident.Hasher
	dates  map[string]time.Time    // of mails: copies are equal
	ids    map[string]string       // Message-ID -> mail
	hashes map[state.Hash]string   // hash of it -> mail
	keys   []string                // of the outbox, in order
	untold []emailint.RecordChange // what the CRM tells only when it is asked
	// receipt is that of the mailbox that was erased.
	receipt string

	proc   *failpoint.Process
	engine *emailint.Engine
	own    *failpoint.Store // the process's state
	lives  int
	// next is what the host does first when a process has come back; nil: nothing but what it was in the middle of.
	next func(w *world) error
}

func newWorld(ctx context.Context, cfg Config) (*world, error) {
	hasher, err := ident.New(make([]byte, 32), org)
	if err != nil {
		return nil, err
	}
	w := &world{ctx: ctx, cfg: cfg, clock: &clock{t: day0}, crm: emailinttest.NewMemCRM(), hasher: hasher,
		dates: map[string]time.Time{}, ids: map[string]string{}, hashes: map[state.Hash]string{}}
	for _, n := range []string{"ann", "bob"} {
		a := n + "@own.example"
		w.boxes = append(w.boxes, &box{name: n, address: a, service: cfg.Service(a, w.clock.now),
			handles: map[string]providertest.Handle{}, items: map[provider.ItemID]string{}})
	}
	if w.store, err = cfg.Store(ctx); err != nil {
		return nil, err
	}
	w.proc, w.own, w.engine, err = w.start("worker-0")
	return w, err
}

func (w *world) close() error {
	errs := []error{w.store.Close()}
	for _, b := range w.boxes {
		if c, ok := b.service.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// start starts a process.
func (w *world) start(worker string) (*failpoint.Process, *failpoint.Store, *emailint.Engine, error) {
	return w.startWith(worker, nil)
}

// startWith starts a process that stops at a gate before each failpoint.
func (w *world) startWith(worker string, gate func(string)) (*failpoint.Process, *failpoint.Store, *emailint.Engine, error) {
	p := failpoint.New(gate)
	own := failpoint.State(w.store, p)
	boxes := map[string]Service{}
	for _, b := range w.boxes {
		boxes[b.name] = b.service
	}
	open := func(ctx context.Context, credential []byte) (provider.Mailbox, error) {
		s := boxes[string(credential)]
		if s == nil {
			return nil, fmt.Errorf("crash: no mailbox %q", credential)
		}
		return s.Open(ctx)
	}
	e, err := emailint.New(emailint.Options{
		State: own, CRM: failpoint.CRM(lister{w.crm, w}, p, w.crmFails), Now: w.clock.now, Worker: worker, Workers: 2, Lease: lease,
		Providers: []provider.Provider{failpoint.Provider(providerName, p, open)},
		Keys:      []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32), Logger: panics.Fatal(),
		Sender: func(_ context.Context, c emailint.Connection) (provider.Sender, error) {
			return failpoint.Sender(p, w.boxOf(c.ID).service.Sender())
		},
	})
	return p, own, e, err
}

// crmFails is what the CRM answers to a call instead of doing it, nil when it works.
func (w *world) crmFails(point string) error {
	switch {
	case w.down > 0:
		return errDown
	case point == "crm.SaveEmails" && w.spite.Add(-1) >= 0: // workers at once come by here
		return errRefused
	}
	return nil
}

func (w *world) boxOf(conn int64) *box {
	for _, b := range w.boxes {
		if b.conn == conn {
			return b
		}
	}
	// A connection whose Connect died before the host was told its id.
	c, err := w.store.Connection(w.ctx, org, conn)
	if err != nil {
		panic(err)
	}
	for _, b := range w.boxes {
		if b.address == c.Address {
			return b
		}
	}
	panic("crash: a connection without a mailbox")
}

// restart starts a process after a death. Every other one takes over the leases of its former life at once, the others have
// another name and wait until they run out.
func (w *world) restart(fuse int) error {
	w.lives++
	if w.cfg.Reopen != nil {
		s, err := w.cfg.Reopen(w.ctx, w.store)
		if err != nil {
			return err
		}
		w.store = s
	}
	same := w.lives%2 == 1
	worker := fmt.Sprintf("worker-%d", w.lives/2)
	if !same {
		w.clock.advance(lease + time.Second)
	}
	var err error
	if w.proc, w.own, w.engine, err = w.start(worker); err != nil {
		return err
	}
	w.proc.Arm(nil, fuse)
	if same {
		if err := w.engine.TakeOver(w.ctx); err != nil && !w.proc.Dead() {
			return err
		}
	}
	return nil
}

// host repeats a call until it ends well, on one process after the other, and moves the clock over every back-off.
func (w *world) host(fuse func() int, call func() error) error {
	var last error
	for range 15 {
		last = call()
		if w.proc.Dead() {
			if err := w.restart(fuse()); err != nil {
				return err
			}
			if next := w.next; next != nil {
				w.next = nil
				if err := w.host(fuse, func() error { return next(w) }); err != nil {
					return err
				}
			}
			continue
		}
		if last == nil {
			return nil
		}
		w.down = max(0, w.down-1)
		w.clock.advance(11 * time.Minute)
	}
	return fmt.Errorf("the host gave up: %w", last)
}

// drain syncs every mailbox until nothing is outstanding, and once more: the second step of a deletion is taken by the pass after
// the one that met the first.
func (w *world) drain(fuse func() int) error {
	var why error
	quiet := 0
	for round := range 20 {
		for _, b := range w.boxes {
			if b.conn == 0 {
				continue
			}
			if err := w.host(fuse, func() error { return w.engine.Sync(w.ctx, org, b.conn) }); err != nil {
				return fmt.Errorf("syncing %s: %w", b.name, err)
			}
		}
		if err := w.host(fuse, func() error { return w.engine.Outbox(w.ctx) }); err != nil {
			return fmt.Errorf("working on the outbox: %w", err)
		}
		if why = w.outstanding(); why != nil {
			w.clock.advance(11 * time.Minute)
			if round > 2 { // a copy in Sent is looked for during hours
				w.clock.advance(time.Hour)
			}
			continue
		}
		// Deletions take a look after they were seen, and where mail is released another a day later.
		if quiet++; quiet == 3 {
			return nil
		}
		w.clock.advance(25 * time.Hour)
	}
	return fmt.Errorf("it never drains: %w", why)
}

// outstanding says what is not done yet.
func (w *world) outstanding() error {
	for _, b := range w.boxes {
		if b.conn == 0 {
			continue
		}
		c, err := w.store.Connection(w.ctx, org, b.conn)
		if err != nil {
			return err
		}
		n, err := w.store.Counts(w.ctx, org, b.conn)
		if err != nil {
			return err
		}
		runs, err := w.store.Runs(w.ctx, org, b.conn)
		if err != nil {
			return err
		}
		complete := emailint.Status{Connection: c, Counts: n, Runs: runs}.Completeness()
		unread := slices.ContainsFunc(runs, func(r state.Run) bool { return !r.Done })
		if complete != 1 || unread || c.Wake > c.Served {
			return fmt.Errorf("%s: completeness %.2f, counts %+v, history read %v, wake %d, served %d", b.name, complete, n, !unread, c.Wake, c.Served)
		}
	}
	// What is unknown stays so until a person decides.
	later := w.clock.now().AddDate(1, 0, 0)
	out, err := w.store.OutboxDue(w.ctx, "", later, 100)
	if err != nil {
		return err
	}
	for _, o := range out {
		if o.State != state.OutUnknown {
			return fmt.Errorf("outgoing mail %s is %s", o.Key, o.State)
		}
	}
	if out, err = w.store.CopiesDue(w.ctx, "", later, 100); err != nil || len(out) > 0 {
		return fmt.Errorf("%d copies in Sent are to be looked after (%w)", len(out), err)
	}
	open, err := w.store.Erasures(w.ctx)
	if err != nil || len(open) > 0 {
		return fmt.Errorf("erasures are not done: %+v (%w)", open, err)
	}
	es, err := w.store.Undelivered(w.ctx, org, 0, later, 100)
	if err != nil {
		return err
	}
	if len(es) > 0 {
		return fmt.Errorf("%d emails are undelivered", len(es))
	}
	return nil
}

// mail is a message of the script. Its name is its subject and, at script.example, its Message-ID.
type mail struct {
	name  string
	from  string
	to    string // "": the owner of the mailbox
	re    string // Message-ID of the mail it answers
	extra string // further header lines
}

func (m mail) raw(to string, at time.Time) []byte {
	if m.to != "" {
		to = m.to
	}
	re := ""
	if m.re != "" {
		re = "In-Reply-To: <" + m.re + ">\r\n"
	}
	return []byte("From: " + m.from + "\r\nTo: " + to + "\r\nSubject: " + m.name + "\r\nDate: " + at.Format(time.RFC1123Z) +
		"\r\nMessage-ID: <" + id(m.name) + ">\r\n" + re + m.extra + "\r\nThe text of " + m.name + ".\r\n")
}

func id(name string) string { return name + "@script.example" }

// learn remembers what a Message-ID belongs to.
func (w *world) learn(messageID, name string) {
	w.ids[messageID] = name
	w.hashes[state.Hash(w.hasher.MessageID(messageID))] = name
}

// deliver puts a mail into a folder of a mailbox.
func (w *world) deliver(b *box, m mail, at time.Time, role provider.Role) {
	w.learn(id(m.name), m.name)
	if w.dates[m.name].IsZero() {
		w.dates[m.name] = at
	}
	b.handles[m.name] = b.service.Deliver(m.raw(b.address, w.dates[m.name]), at, role)
	if role != provider.RoleJunk && role != provider.RoleTrash && role != provider.RoleDrafts {
		b.live = append(b.live, m.name)
	}
	b.note()
}

func (w *world) move(b *box, name string, to provider.Role) {
	b.service.Move(b.handles[name], to)
	b.note()
}

func (w *world) expunge(b *box, name string) {
	b.service.Delete(b.handles[name])
	b.live = slices.DeleteFunc(b.live, func(n string) bool { return n == name })
}

// note remembers the ids that mails have now.
func (b *box) note() {
	for n, h := range b.handles {
		if id := b.service.ItemID(h); id != "" {
			b.items[id] = n
		}
	}
}

// settings changes the organisation's settings as a host does: read, change, save what was read.
func (w *world) settings(change func(s *emailint.Settings)) error {
	s, v, err := w.engine.Settings(w.ctx, org)
	if err != nil {
		return err
	}
	change(&s)
	_, err = w.engine.SetSettings(w.ctx, org, s, v)
	return err
}

// connect connects a mailbox.
func (w *world) connect(b *box) error {
	c, err := w.engine.Connect(w.ctx, org, emailint.NewConnection{User: b.name, Provider: providerName, Credential: []byte(b.name)})
	if err == nil {
		b.conn = c.ID
	}
	return err
}

// erase erases a mailbox, until its receipt says that it is done.
func (w *world) erase(b *box) error {
	if b.conn == 0 {
		return nil
	}
	if err := w.engine.Relink(w.ctx); err != nil { // should another life have begun it
		return err
	}
	if _, err := w.engine.Erase(w.ctx, org, b.conn); err != nil {
		return err
	}
	r, err := w.engine.Erasure(w.ctx, org, b.conn)
	if err != nil {
		return err
	}
	if r.Done.IsZero() {
		return fmt.Errorf("the erasure ended well and is not done: %+v", r)
	}
	r.Connection, r.Begun, r.Done = 0, time.Time{}, time.Time{}
	w.receipt = fmt.Sprintf("%+v", r)
	b.conn = 0
	return nil
}

var errUnfinished = errors.New("the mail is neither sent nor failed nor unknown yet")

// outgoing is a mail to one recipient, under its name as key.
func (w *world) outgoing(b *box, m mail) emailint.Outgoing {
	if !slices.Contains(w.keys, m.name) {
		w.keys = append(w.keys, m.name)
	}
	w.learn(id(m.name), m.name)
	return emailint.Outgoing{Connection: b.conn, Key: m.name, From: b.address, Recipients: []string{m.to},
		Raw: m.raw("", day0.Add(time.Duration(len(w.keys))*time.Hour))}
}

// send sends a mail, until it is known what became of it.
func (w *world) send(b *box, m mail) error {
	out, err := w.engine.Send(w.ctx, org, w.outgoing(b, m))
	if err != nil {
		return err
	}
	switch out.State {
	case state.OutSent, state.OutFailed, state.OutUnknown:
		return nil
	}
	return errUnfinished
}

// sentID returns the Message-ID under which recipients have what was sent.
func (w *world) sentID(name string) string {
	for _, b := range w.boxes {
		for _, d := range b.service.Sent() {
			if message.ParseHeader(d.Raw).Subject == name {
				return d.MessageID
			}
		}
	}
	return ""
}

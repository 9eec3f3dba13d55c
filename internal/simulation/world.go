package simulation

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/internal/panics"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

const (
	org   = "org"
	lease = 2 * time.Minute
)

// day0 is when a run begins.
var day0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// Config is what doesn't change in a run.
type Config struct {
	Seed     uint64
	Rules    Rules // in the beginning
	PageSize int
	Remover  bool // the CRM can remove emails
	Pull     bool // changes of records are not told, the engine asks for them
	Bare     bool // the service of the IMAP-like mailbox files no copy in Sent

	// Open opens an empty state, which is closed in the end; nil is SQLite in memory. All come to the same.
	Open func(ctx context.Context) (state.Store, error)
}

func (c Config) open(ctx context.Context) (state.Store, error) {
	if c.Open != nil {
		return c.Open(ctx)
	}
	return sqlite.Open(ctx, ":memory:")
}

// world is everything outside of the engines, and what they share. Only one goroutine at a time works on it: that which Schedule
// lets go on, or the run's own.
type world struct {
	ctx     context.Context
	cfg     Config
	clock   time.Time
	store   state.Store
	crm     *emailinttest.MemCRM
	boxes   []*box
	truth   Truth
	host    *caller
	lives   int                // processes started
	bare    map[string]bool    // emails, by id, that the CRM was once told to have no links
	owner   map[string]string  // by the id of a host's own email: the email that has its row
	took    map[string]int64   // by email: the revision up to which owner knows
	had     map[string]bool    // the host's own emails, by its id, that it had before
	kept    map[string][]int64 // by the id of an email that is the host's: mailboxes that held it since
	fence   *fence
	stumble int            // after so many failpoints the host's process dies; 0: it doesn't
	passed  map[int64]bool // by connection: its last pass ended well
	passes  int            // of failpoints, by the host's call that is under way
	untold  []emailint.RecordChange
	told    []emailint.RecordChange // everything that ever changed, for the pull

	crmTrouble []trouble // of the next calls of the CRM
	mutations  map[mutationKey]*Mutation
	bad        []Violation // what the world itself has seen

	count Counts
	hash  hash.Hash64
	log   io.Writer // nil: nobody reads it
}

type mutationKey struct {
	box  *Box
	mail string
}

// Counts says how often what happened.
type Counts map[string]int

// box is a mailbox at its service. Box is what the truth says of it, since it was last erased.
type box struct {
	*Box
	fake   *providertest.Fake
	copies map[providertest.Handle]*Copy
	paused bool
	holes  bool // something was never told: it is to be reconciled
	sent   int  // deliveries that were seen to
}

func newWorld(ctx context.Context, cfg Config, log io.Writer) (*world, error) {
	st, err := cfg.open(ctx)
	if err != nil {
		return nil, err
	}
	w := &world{ctx: ctx, cfg: cfg, clock: day0, store: st, crm: emailinttest.NewMemCRM(), mutations: map[mutationKey]*Mutation{}, bare: map[string]bool{}, had: map[string]bool{}, owner: map[string]string{}, took: map[string]int64{}, kept: map[string][]int64{}, passed: map[int64]bool{},
		count: Counts{}, hash: fnv.New64a(), log: log}
	w.truth.AlwaysCreate = true
	w.fence = newFence(w)
	for i, kind := range []providertest.Personality{providertest.IMAP, providertest.Gmail, providertest.Graph} {
		name := owners[i]
		b := &box{Box: &Box{Name: name, Address: address(name), Kind: kind}, copies: map[providertest.Handle]*Copy{}}
		b.fake = providertest.NewFake(kind, provider.Profile{Address: b.Address, Subject: b.Address}, w.now)
		b.fake.SetPageSize(cfg.PageSize)
		b.fake.TrustAuth(authServer)
		b.fake.NoSentCopy(cfg.Bare && kind == providertest.IMAP)
		w.boxes = append(w.boxes, b)
		w.truth.Boxes = append(w.truth.Boxes, b.Box)
	}
	w.host = &caller{w: w}
	last := ""
	w.host.gate = func(point string) {
		if mutates(last) {
			w.notice()
		}
		last = point
		if w.passes++; w.passes <= endless {
			w.trace("  host %s", point)
			if w.stumble > 0 {
				if w.stumble--; w.stumble == 0 {
					w.count["times the host died in a call"]++
					w.host.Kill()
				}
			}
			return
		}
		if w.host.down == nil {
			w.host.down = errors.New("it was at work for ever")
			w.violate("endless: the engine goes on and on, it stands at %s", point)
		}
		w.host.Kill()
	}
	w.host.restart()
	if err := w.host.settings(nil, cfg.Rules); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return w, nil
}

func (w *world) now() time.Time             { return w.clock }
func (w *world) advance(d time.Duration)    { w.clock = w.clock.Add(d) }
func (w *world) violate(f string, a ...any) { w.bad = append(w.bad, Violation(fmt.Sprintf(f, a...))) }

// trace notes what happens. Equal traces are equal runs.
func (w *world) trace(format string, args ...any) {
	fmt.Fprintf(w.hash, format, args...)
	w.hash.Write([]byte{'\n'})
	if w.log != nil {
		fmt.Fprintf(w.log, "%s  "+format+"\n", append([]any{w.clock.Format("01-02 15:04:05")}, args...)...)
	}
}

func (w *world) box(name string) *box {
	for _, b := range w.boxes {
		if b.Name == name {
			return b
		}
	}
	panic("simulation: there is no mailbox " + name)
}

// boxOf returns the mailbox at whose service a connection is, erased or not.
func (w *world) boxOf(c state.Connection) *box {
	for _, b := range w.boxes {
		if b.Address == c.Address {
			return b
		}
	}
	panic("simulation: a connection without a mailbox")
}

// alive reports whether the mailbox is connected.
func (b *box) alive() bool { return b.Conn != 0 && !b.Erased }

func (w *world) mail(name string) *Mail {
	for _, m := range w.truth.Mails {
		if m.Subject == name {
			return m
		}
	}
	return nil
}

// record returns the record that has an id now, or had it last; nil: there never was one.
func (w *world) record(r linker.Record) *Record {
	for _, x := range slices.Backward(w.truth.Records) {
		if x.Record == r {
			return x
		}
	}
	return nil
}

// living returns the record that has an id now; nil: there is none, or it was merged or deleted.
func (w *world) living(r linker.Record) *Record {
	if x := w.record(r); x != nil && x.Into == nil && !x.Deleted {
		return x
	}
	return nil
}

// process is one life of a process of the host.
type process struct {
	*failpoint.Process
	engine *emailint.Engine
	state  state.Store
}

// start starts a process that stops at a gate before each failpoint.
func (w *world) start(name string, gate func(string)) *process {
	w.lives++
	p := &process{Process: failpoint.New(gate)}
	p.state = failpoint.State(w.fence, p.Process)
	o := emailint.Options{
		State: p.state, CRM: failpoint.CRM(w.hostStore(), p.Process, nil), Now: w.now, Worker: name, Workers: 2, Lease: lease,
		Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32), Logger: panics.Fatal(),
		Sender: func(_ context.Context, c emailint.Connection) (provider.Sender, error) {
			return failpoint.Sender(p.Process, w.boxOf(c).fake)
		},
	}
	for _, b := range w.boxes {
		o.Providers = append(o.Providers, failpoint.Provider(b.Name, p.Process, func(ctx context.Context, _ []byte) (provider.Mailbox, error) {
			return b.fake.Provider().Open(ctx, nil)
		}))
	}
	var err error
	if p.engine, err = emailint.New(o); err != nil {
		panic(err) // the options are constant
	}
	return p
}

// caller calls the engine as a host does: what failed is repeated until it ends well, by one process after the other.
type caller struct {
	w    *world
	gate func(string)
	*process
	down error // why it gave up; it calls no more
}

func (h *caller) restart() { h.process = h.w.start(fmt.Sprintf("host-%d", h.w.lives), h.gate) }

// endless is how many failpoints are never passed by one who comes to an end.
const endless = 5000

// tries is how often a call is repeated. Trouble in a run is finite.
const tries = 20

// call repeats a call until it ends well. That it never does is a violation.
func (h *caller) call(what string, f func(p *process) error) error {
	if h.down != nil {
		return h.down
	}
	var err error
	for range tries {
		h.w.passes = 0
		err = f(h.process)
		if h.Dead() {
			h.restart()
			h.gate("again")
			continue
		}
		if err == nil {
			return nil
		}
		h.w.count["calls repeated by the host"]++
		h.w.advance(11 * time.Minute)
		h.gate("again")
	}
	h.w.violate("host: %s never ends well: %v", what, err)
	h.down = err
	return err
}

// settings saves changed settings. r are the rules as they are then.
func (h *caller) settings(change func(*emailint.Settings), r Rules) error {
	w := h.w
	var since time.Time
	err := h.call("SetSettings", func(p *process) error {
		s, v, err := p.engine.Settings(w.ctx, org)
		if err != nil {
			return err
		}
		if change != nil {
			change(&s)
		}
		s.Sync.PeopleFirst, s.Sync.ImportDays = r.PeopleFirst, r.ImportDays
		s.Rules.Leads, s.Rules.Opportunities, s.Rules.CreateContacts = r.Leads, r.Opportunities, r.CreateContacts
		if s.Rules.OpportunityPolicy = r.Policy; r.Policy == "" {
			s.Rules.OpportunityPolicy = linker.AllOpportunities
		}
		s.Rules.IgnoreAutomated, s.Rules.InternalThreads, s.Rules.FailedAuth.InheritThread = r.IgnoreAutomated, r.InternalThreads, r.ForgedThreads
		s.Rules.ExcludedDomains, s.Rules.ExcludedAddresses = []linker.Exclusion{}, []message.Key{}
		for _, d := range r.Excluded {
			s.Rules.ExcludedDomains = append(s.Rules.ExcludedDomains, linker.Exclusion{Domain: message.Key(d), Reach: linker.ReachEverything})
		}
		for _, a := range r.Never {
			s.Rules.ExcludedAddresses = append(s.Rules.ExcludedAddresses, message.Key(a))
		}
		s.OnDelete = emailint.KeepDeleted
		if r.Release {
			s.OnDelete = emailint.ReleaseDeleted
		}
		s.Inbox = []emailint.InboxRule{{ID: "archive", On: r.Archive, Do: emailint.ArchiveMail}}
		if _, err = p.engine.SetSettings(w.ctx, org, s, v); err != nil {
			return err
		}
		if s, _, err = p.engine.Settings(w.ctx, org); err == nil {
			since = s.Inbox[0].Since
		}
		return err
	})
	if err != nil {
		return err
	}
	if r.ArchiveSince = w.truth.Rules.ArchiveSince; r.ArchiveSince.IsZero() {
		r.ArchiveSince = since // what was planned while it was on may be done when it is on again
	}
	w.truth.Rules = r
	for _, b := range w.boxes {
		b.wanted(r)
	}
	w.truth.AlwaysCreate = w.truth.AlwaysCreate && r.CreateContacts
	for _, x := range append(slices.Clone(r.Excluded), r.Never...) {
		if !slices.Contains(w.truth.EverExcluded, x) {
			w.truth.EverExcluded = append(w.truth.EverExcluded, x)
		}
	}
	return nil
}

// connect connects a mailbox, or reconnects it.
func (h *caller) connect(b *box) error {
	w := h.w
	return h.call("Connect "+b.Name, func(p *process) error {
		c, err := p.engine.Connect(w.ctx, org, emailint.NewConnection{User: b.Name, Provider: b.Name, Credential: []byte("{}")})
		if err == nil {
			if b.Conn == 0 {
				b.Days, b.First = w.truth.Rules.ImportDays, true
			}
			b.Conn, b.Connected, b.paused = c.ID, c.ConnectedAt, false
			b.wanted(w.truth.Rules)
		}
		return err
	})
}

// drain brings the run to rest: nothing fails any more, all is told, and every mailbox is synced until nothing is outstanding, and
// three more times a day apart.
func (w *world) drain() error {
	w.crmTrouble, w.stumble = nil, 0
	for _, b := range w.boxes {
		b.fake.Calm()
		b.fake.Reorder(false)
		if !b.alive() {
			continue
		}
		if err := (resume{b.Name}).do(w.host); err != nil {
			return err
		}
		if c, err := w.store.Connection(w.ctx, org, b.Conn); err != nil {
			return err
		} else if c.State != state.Connected { // its owner was asked
			if err := (connect{b.Name}).do(w.host); err != nil {
				return err
			}
		}
	}
	w.advance(lease + time.Second)
	if err := w.host.tell(); err != nil {
		return err
	}
	for _, b := range w.boxes {
		if b.alive() && b.holes {
			if err := (reconcile{b.Name}).do(w.host); err != nil {
				return err
			}
		}
	}
	var why error
	quiet := 0
	for range 24 {
		why = w.round()
		if w.host.down != nil {
			return w.host.down
		}
		w.notice()
		if why == nil {
			why = w.outstanding()
		}
		if why != nil {
			w.count["rounds to rest"]++
			w.trace("not at rest: %v", why)
			w.advance(61 * time.Minute)
			continue
		}
		// Deletions take a look after they were seen, and where mail is released another a day later.
		if quiet++; quiet == 4 {
			return nil
		}
		w.advance(25 * time.Hour)
	}
	w.violate("drain: it never comes to rest: %v", why)
	return nil
}

// round lets everybody work once.
func (w *world) round() error {
	var errs []error
	e := w.host.engine
	for _, b := range w.boxes {
		if w.passes = 0; b.alive() {
			errs = append(errs, e.Sync(w.ctx, org, b.Conn))
		}
	}
	w.passes = 0
	errs = append(errs, e.Outbox(w.ctx))
	w.passes = 0
	errs = append(errs, e.Relink(w.ctx))
	return errors.Join(errs...)
}

// outstanding says what is not done yet.
func (w *world) outstanding() error {
	for _, b := range w.boxes {
		if !b.alive() {
			continue
		}
		st, err := w.host.engine.Status(w.ctx, org, b.Conn)
		if err != nil {
			return err
		}
		c, unread := st.Connection, slices.ContainsFunc(st.Runs, func(r state.Run) bool { return !r.Done })
		if st.Completeness() != 1 || unread || c.Wake > c.Served || c.State != state.Connected {
			return fmt.Errorf("%s is %s, completeness %.2f, counts %+v, history read %v, wake %d, served %d", b.Name, c.State, st.Completeness(),
				st.Counts, !unread, c.Wake, c.Served)
		}
	}
	later := w.clock.AddDate(1, 0, 0)
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
		return errors.Join(err, fmt.Errorf("%d copies in Sent are to be looked after", len(out)))
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

// wanted notes what is to be read of a mailbox from now on.
func (b *box) wanted(r Rules) {
	if b.Days >= 0 && (r.ImportDays < 0 || r.ImportDays > b.Days) {
		b.Days = r.ImportDays
	}
	b.First = b.First && r.PeopleFirst
}

func connID(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err) // ids of connections are ours
	}
	return n
}

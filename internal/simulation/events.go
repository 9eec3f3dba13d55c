package simulation

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// event is something that happens outside of the workers. It is made before the run, so that a list of events can be run again, and
// again without some of them: one whose mail, record or mailbox is not there (any more) does nothing. do returns an error only when the host gave
// up.
type event interface {
	fmt.Stringer
	do(h *caller) error
}

// place is where a mail lies.
type location struct {
	box  string
	role provider.Role
}

func (l location) String() string { return l.box + "'s " + role(l.role) }

// arrive is a new mail.
type arrive struct {
	name               string
	from               string
	to, cc, bcc        []string
	reuses             string   // the mail whose Message-ID it has; "": its own
	nameless           bool     // it has no Message-ID
	replyTo            string   // the mail that In-Reply-To names
	refs               []string // those that References names
	automated, spoofed bool
	old                time.Duration // it was written so long ago
	at                 []location
}

func (e arrive) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mail %s from %s to %s", e.name, e.from, strings.Join(e.to, ", "))
	for _, l := range []struct {
		what string
		list []string
	}{{"cc", e.cc}, {"bcc", e.bcc}} {
		if len(l.list) > 0 {
			fmt.Fprintf(&b, ", %s %s", l.what, strings.Join(l.list, ", "))
		}
	}
	if e.replyTo != "" {
		b.WriteString(", in reply to " + e.replyTo)
	}
	if len(e.refs) > 0 {
		b.WriteString(", with references to " + strings.Join(e.refs, ", "))
	}
	for _, f := range []struct {
		on   bool
		what string
	}{{e.nameless, "without a Message-ID"}, {e.reuses != "", "with the Message-ID of " + e.reuses}, {e.automated, "automated"}, {e.spoofed, "forged"}} {
		if f.on {
			b.WriteString(", " + f.what)
		}
	}
	for i, l := range e.at {
		b.WriteString([]string{", arrives in ", " and "}[min(i, 1)] + l.String())
	}
	return b.String()
}

// id is the Message-ID by which others know a mail.
func (w *world) id(name string) string {
	m := w.mail(name)
	switch {
	case m == nil:
		return messageID(name)
	case m.Renamed != "":
		return m.Renamed
	}
	return m.MessageID
}

func (e arrive) do(h *caller) error {
	w := h.w
	if w.mail(e.name) != nil {
		return nil
	}
	m := &Mail{Subject: e.name, MessageID: messageID(e.name), From: e.from, To: e.to, Cc: e.cc, Bcc: e.bcc, Date: w.clock.Add(-e.old),
		Automated: e.automated, Spoofed: e.spoofed}
	switch {
	case e.nameless:
		m.MessageID = ""
	case e.reuses != "":
		if w.mail(e.reuses) == nil {
			return nil
		}
		m.MessageID = w.id(e.reuses)
	}
	if e.replyTo != "" {
		m.InReplyTo = w.id(e.replyTo)
	}
	for _, r := range e.refs {
		if id := w.id(r); id != "" {
			m.References = append(m.References, id)
		}
	}
	w.truth.Mails = append(w.truth.Mails, m)
	w.count["mails"]++
	for _, l := range e.at {
		w.deliver(w.box(l.box), m, l.role)
	}
	return nil
}

// also is a further copy of a mail, in another mailbox.
type also struct {
	name string
	at   location
}

func (e also) String() string { return fmt.Sprintf("a copy of %s arrives in %s", e.name, e.at) }

func (e also) do(h *caller) error {
	m, b := h.w.mail(e.name), h.w.box(e.at.box)
	if m == nil || m.Key != "" && !m.Sent || b.knows(e.name) || b.Address == m.From { // one of his own comes into Sent alone
		return nil
	}
	if m.Renamed != "" { // as its recipients have it
		as := *m
		as.MessageID = m.Renamed
		h.w.deliverRaw(b, m, as.raw(false), e.at.role)
		return nil
	}
	h.w.deliver(b, m, e.at.role)
	return nil
}

// move is what the owner of a mailbox does to a mail.
type move struct {
	name string
	to   location
}

func (e move) String() string { return fmt.Sprintf("%s is moved to %s", e.name, e.to) }

func (e move) do(h *caller) error {
	b := h.w.box(e.to.box)
	hd, c := b.holds(e.name)
	if c == nil || c.Role == e.to.role || c.Sent && !aside(e.to.role) && e.to.role != provider.RoleSent || c.Role == provider.RoleDrafts ||
		!c.Sent && e.to.role == provider.RoleSent || h.w.filing(b, c.Mail) || e.to.role == provider.RoleInbox && h.w.unanswered(b, c.Mail) {
		return nil
	}
	h.w.count["moves"]++
	h.w.move(b, hd, c, e.to.role)
	return nil
}

// filing: whether the copy in Sent of a mail is still to be looked after. Whoever takes it away then gets another.
func (w *world) filing(b *box, m *Mail) bool {
	if m.By != b.Box {
		return false
	}
	out, err := w.store.OutboxGet(w.ctx, org, m.Key)
	return err == nil && (out.State != state.OutSent || out.Copy == state.CopyDue || out.Copy == state.CopyTried)
}

// unanswered: whether nobody knows yet that our archive of a mail happened, on a service that tells its present state only. Who brings the mail back
// before the next pass leaves no trace, and it is archived once more: the window that docs/design.md names. On IMAP the new id tells.
func (w *world) unanswered(b *box, m *Mail) bool {
	if b.Kind == providertest.IMAP {
		return false
	}
	for _, e := range w.crm.Emails(org) {
		id, err := strconv.ParseInt(e.ID, 10, 64)
		if err != nil || e.Message.Subject != m.Subject {
			continue
		}
		is, err := w.store.IntentsOf(w.ctx, org, id)
		if err != nil || slices.ContainsFunc(is, func(i state.Intent) bool { return i.State == state.IntentAttempted && i.Connection == b.Conn }) {
			return true
		}
	}
	return false
}

// archived returns a mail that a rule archived in a mailbox: the n-th, or the first of fewer; nil: there is none.
func (w *world) archived(b *box, n int) *Mutation {
	var all []*Mutation
	for _, m := range w.truth.Mails {
		if mu := w.mutations[mutationKey{b.Box, m.Subject}]; mu != nil {
			all = append(all, mu)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[n%len(all)]
}

// bringBack brings a mail back to the inbox that a rule archived.
type bringBack struct {
	box string
	n   int
}

func (e bringBack) String() string {
	return fmt.Sprintf("%s brings a mail that was archived (%d) back to the inbox", e.box, e.n)
}

func (e bringBack) do(h *caller) error {
	w, b := h.w, h.w.box(e.box)
	mu := w.archived(b, e.n)
	if mu == nil {
		return nil
	}
	hd, c := b.holds(mu.Subject)
	if c == nil || c.Role != provider.RoleArchive || w.unanswered(b, c.Mail) {
		return nil
	}
	w.count["archived mails brought back"]++
	w.trace("it is %s", mu.Subject)
	w.move(b, hd, c, provider.RoleInbox)
	mu.Undone = true
	return nil
}

// undo takes back what the rule of the inbox did to a mail.
type undo struct {
	box string
	n   int
}

func (e undo) String() string {
	return fmt.Sprintf("the archiving of a mail (%d) is undone for %s", e.n, e.box)
}

func (e undo) do(h *caller) error {
	w, b := h.w, h.w.box(e.box)
	mu := w.archived(b, e.n)
	if !b.alive() || mu == nil {
		return nil
	}
	email := w.emailOf(mu.Subject)
	if email == "" {
		return nil
	}
	w.trace("it is %s", mu.Subject)
	return h.call("Undo", func(p *process) error {
		is, err := p.state.IntentsOf(w.ctx, org, connID(email))
		for _, i := range is {
			if err == nil && i.Connection == b.Conn {
				_, err = p.engine.Undo(w.ctx, org, i.ID)
			}
		}
		return err
	})
}

// remove deletes a mail for good.
type remove struct{ name, box string }

func (e remove) String() string { return fmt.Sprintf("%s deletes %s for good", e.box, e.name) }

func (e remove) do(h *caller) error {
	b := h.w.box(e.box)
	hd, c := b.holds(e.name)
	if c == nil || h.w.filing(b, c.Mail) {
		return nil
	}
	h.w.count["deletions"]++
	b.fake.Delete(hd)
	c.Deleted = true
	return nil
}

// reset voids the cursor of a folder, and over IMAP its ids; an empty role: of all.
type reset struct {
	location
	all bool
}

func (e reset) String() string {
	if e.all {
		return "all cursors of " + e.box + " expire"
	}
	return "the cursor of " + e.location.String() + " expires"
}

func (e reset) do(h *caller) error {
	b := h.w.box(e.box)
	if e.all {
		b.fake.ExpireCursors()
	} else {
		b.fake.ResetFolder(e.role)
	}
	b.Stirred = true
	h.w.count["cursors expired"]++
	h.w.note(b)
	return nil
}

// oddity is how the service of a mailbox behaves for a while.
type oddity struct {
	box, what string
	n         int
}

func (e oddity) String() string { return fmt.Sprintf("the service of %s: %s (%d)", e.box, e.what, e.n) }

var errService = errors.New("simulation: the service has a bad moment")

func (e oddity) do(h *caller) error {
	f := h.w.box(e.box).fake
	switch e.what {
	case "repeats pages":
		f.RepeatPages(e.n)
	case "reorders pages":
		f.Reorder(e.n%2 == 1)
	case "fails":
		f.FailNext(e.n, errService)
	case "limits the rate":
		f.Throttle(time.Duration(e.n) * time.Minute)
	case "cuts the connection":
		f.CutAfter(e.n)
	case "refuses the sign-in":
		f.RefuseSignIn(1)
	case "withdraws consent":
		f.Revoke()
	case "can't search":
		f.FailLocate(e.n, errService)
	default:
		panic("simulation: a service that " + e.what)
	}
	h.w.count["troubles of a service"]++
	return nil
}

// spoil makes a mail unreadable, or readable again.
type spoil struct {
	name, box string
	heal      bool
}

func (e spoil) String() string {
	if e.heal {
		return fmt.Sprintf("%s can be read in %s again", e.name, e.box)
	}
	return fmt.Sprintf("%s can't be read in %s", e.name, e.box)
}

func (e spoil) do(h *caller) error {
	b := h.w.box(e.box)
	hd, c := b.holds(e.name)
	if c == nil {
		return nil
	}
	err := errService
	if e.heal {
		err = nil
	}
	h.w.count["mails spoiled or healed"]++
	c.Stirred = true // it is read again, also where it was to be listed only
	b.fake.Spoil(hd, err)
	return nil
}

// forget makes a hole in what the service tells, which is found by comparing: a mail arrives of which it never tells, or it forgets whatever it
// did not tell yet.
type forget struct {
	box  string
	mail *arrive // nil: none
}

func (e forget) String() string {
	if e.mail != nil {
		return fmt.Sprintf("the service of %s never tells of: %s; the mailbox is reconciled", e.box, e.mail)
	}
	return fmt.Sprintf("the service of %s forgets what it has not told; the mailbox is reconciled", e.box)
}

func (e forget) do(h *caller) error {
	w, b := h.w, h.w.box(e.box)
	if b.Kind == providertest.Gmail {
		// Its inventory doesn't tell where a mail lies, so a move that is never told stays unknown: nothing but the arrival may be forgotten.
		if e.mail == nil || h != w.host || !b.alive() {
			return nil
		}
		for range 3 { // what rules of the inbox did is read as well
			if w.passes = 0; h.engine.Sync(w.ctx, org, b.Conn) != nil {
				if h.Dead() {
					h.restart()
				}
				return nil // not now
			}
		}
		w.notice()
	}
	if e.mail != nil {
		if err := e.mail.do(h); err != nil {
			return err
		}
	}
	if !b.alive() {
		return nil
	}
	b.fake.Forget()
	b.Stirred = true
	b.holes = true
	return reconcile{e.box}.do(h)
}

type reconcile struct{ box string }

func (e reconcile) String() string { return e.box + " is reconciled" }

func (e reconcile) do(h *caller) error {
	w, b := h.w, h.w.box(e.box)
	if !b.alive() || b.paused {
		return nil
	}
	b.Stirred = true
	return h.call("Reconcile "+e.box, func(p *process) error {
		if c, err := w.store.Connection(w.ctx, org, b.Conn); b.paused || !b.alive() || err != nil || c.State != state.Connected {
			return nil // not now: at rest
		}
		_, err := p.engine.Reconcile(w.ctx, org, b.Conn, provider.Window{})
		if err == nil {
			b.holes = false
			w.count["reconciliations"]++
		}
		return err
	})
}

// connect connects a mailbox, or reconnects it.
type connect struct{ box string }

func (e connect) String() string { return e.box + " connects" }

func (e connect) do(h *caller) error {
	h.w.count["mailboxes connected"]++
	h.w.box(e.box).fake.Grant()
	return h.connect(h.w.box(e.box))
}

// erase erases a mailbox.
type erase struct{ box string }

func (e erase) String() string { return e.box + " is erased" }

func (e erase) do(h *caller) error {
	w, b := h.w, h.w.box(e.box)
	if !b.alive() {
		return nil
	}
	w.count["mailboxes erased"]++
	o, err := w.observe()
	if err != nil {
		return err
	}
	before := w.truth.heldFor(o)
	was := b.Box
	conn := b.Conn
	was.Erased = true
	// What is connected anew is another mailbox to the engine, with what lies there.
	b.Box = &Box{Name: was.Name, Address: was.Address, Kind: was.Kind}
	b.paused, b.holes = false, false
	w.truth.Boxes = append(w.truth.Boxes, b.Box)
	for _, hd := range b.fake.Handles() {
		if c := b.copies[hd]; c != nil {
			b.add(hd, &Copy{Mail: c.Mail, Received: c.Received, Sent: c.Sent, Role: c.Role, Unlisted: aside(c.Role)})
		}
	}
	// What was said of a mail that no other mailbox has shown is erased with it; where one shows it meanwhile that may be too late.
	var torn []int
	for i, x := range w.truth.Words {
		if !x.Thread && (was.had(x.Mail) || x.Mail.By == was) {
			if shown, _ := w.shown(x.Mail); !shown {
				torn = append(torn, i)
			}
		}
	}
	err = h.call("Erase "+e.box, func(p *process) error {
		_, err := p.engine.Erase(w.ctx, org, conn)
		return err
	})
	if err != nil {
		return err
	}
	if o, err = w.observe(); err != nil {
		return err
	}
	w.truth.tear(before, o)
	for _, i := range torn {
		w.truth.Words[i].Torn = true
	}
	return nil
}

func (b *Box) had(m *Mail) bool {
	return slices.ContainsFunc(b.Copies, func(c *Copy) bool { return c.Mail == m })
}

// shown reports whether a mailbox that is connected has a row of the mail, and of the mail whether its fingerprint is not in all of them.
func (w *world) shown(m *Mail) (shown, vague bool) {
	for _, b := range w.boxes {
		if !b.alive() {
			continue
		}
		shown = shown || m.By == b.Box && m.Sent
		rows, err := w.store.Items(w.ctx, org, b.Conn, 0, 10000)
		if err != nil {
			panic(err)
		}
		for _, c := range b.Copies {
			for _, r := range rows {
				if c.Mail == m && slices.Contains(c.Items, r.Item) && r.MessageID != "" { // one that was only listed is not known by its id
					shown, vague = true, vague || r.Fingerprint == ""
				}
			}
		}
	}
	return shown, vague
}

type pause struct{ box string }

func (e pause) String() string { return e.box + " is paused" }

func (e pause) do(h *caller) error {
	w, b := h.w, h.w.box(e.box)
	if !b.alive() || b.paused {
		return nil
	}
	w.count["mailboxes paused"]++
	b.paused = true
	return h.call("pausing "+e.box, func(p *process) error { return p.state.SetState(w.ctx, org, b.Conn, state.Paused, "") })
}

type resume struct{ box string }

func (e resume) String() string { return e.box + " goes on" }

func (e resume) do(h *caller) error {
	w, b := h.w, h.w.box(e.box)
	if !b.alive() || !b.paused {
		return nil
	}
	b.paused = false
	return h.call("resuming "+e.box, func(p *process) error { return p.state.SetState(w.ctx, org, b.Conn, state.Connected, "") })
}

type wake struct{ box string }

func (e wake) String() string { return e.box + " is woken" }

func (e wake) do(h *caller) error {
	w, b := h.w, h.w.box(e.box)
	if !b.alive() {
		return nil
	}
	w.count["wakes"]++
	return h.call("Wake", func(p *process) error { return p.engine.Wake(w.ctx, org, b.Conn) })
}

// send is a mail that the engine is asked to send.
type send struct {
	name, box   string
	to, cc, bcc []string
	replyTo     string
}

func (e send) String() string {
	s := fmt.Sprintf("%s sends %s to %s", e.box, e.name, strings.Join(slices.Concat(e.to, e.cc, e.bcc), ", "))
	if e.replyTo != "" {
		s += ", in reply to " + e.replyTo
	}
	return s
}

func (e send) do(h *caller) error {
	w, b := h.w, h.w.box(e.box)
	if !b.alive() || w.mail(e.name) != nil {
		return nil
	}
	m := &Mail{Subject: e.name, MessageID: messageID(e.name), From: b.Address, To: e.to, Cc: e.cc, Bcc: e.bcc, Date: w.clock, Key: e.name, By: b.Box}
	if e.replyTo != "" {
		m.InReplyTo = w.id(e.replyTo)
		if m.InReplyTo != "" {
			m.References = []string{m.InReplyTo}
		}
	}
	w.truth.Mails = append(w.truth.Mails, m)
	w.count["mails to send"]++
	err := h.call("Send "+e.name, func(p *process) error {
		_, err := p.engine.Send(w.ctx, org, emailint.Outgoing{Connection: m.By.Conn, Key: m.Key, Raw: m.raw(true), From: m.From,
			Recipients: slices.Concat(m.To, m.Cc, m.Bcc)})
		if out, gone := w.store.OutboxGet(w.ctx, org, m.Key); gone == nil {
			m.Asked = out.Created
		}
		return err
	})
	w.note(b)
	return err
}

// lose makes the answer to the next send of a mailbox, or to the next change of it, get lost.
type lose struct {
	box    string
	loss   int // providertest.Loss
	change bool
}

func (e lose) String() string {
	what := "send"
	if e.change {
		what = "change"
	}
	return fmt.Sprintf("the answer to the next %s of %s gets lost %s", what, e.box, []string{"before it happens", "after it happened"}[e.loss])
}

func (e lose) do(h *caller) error {
	f := h.w.box(e.box).fake
	if e.change {
		f.LoseMutation(losses[e.loss])
	} else {
		f.LoseOutcome(losses[e.loss])
	}
	h.w.count["answers to be lost"]++
	return nil
}

// rules changes the organisation's rules.
type rules struct {
	what, of string
	on       bool
	days     int
}

func (e rules) String() string {
	if e.what == "days to import" {
		return fmt.Sprintf("rules: %d days are to be imported", e.days)
	}
	return fmt.Sprintf("rules: %s %s %s", e.what, e.of, map[bool]string{true: "on", false: "off"}[e.on])
}

func (e rules) do(h *caller) error {
	r := h.w.truth.Rules
	toggle := func(list []string) []string {
		list = slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == e.of })
		if e.on {
			list = append(list, e.of)
		}
		return list
	}
	switch e.what {
	case "leads":
		r.Leads = e.on
	case "opportunities":
		r.Opportunities = e.on
	case "creating contacts":
		r.CreateContacts = e.on
	case "excluded":
		r.Excluded = toggle(r.Excluded)
	case "never":
		r.Never = toggle(r.Never)
	case "archiving":
		r.Archive = e.on
	case "people first":
		r.PeopleFirst = e.on
	case "days to import":
		r.ImportDays = e.days
	default:
		panic("simulation: no rule " + e.what)
	}
	h.w.count["settings changed"]++
	return h.settings(nil, r)
}

// word is what a person says of a mail.
type word struct {
	name   string
	thread bool
	by     string // "email", "message-id"
	say    Saying
	record linker.Record
}

func (e word) String() string {
	s := fmt.Sprintf("a person says of %s: %s", e.name, e.say)
	if e.thread {
		s = fmt.Sprintf("a person says of the thread of %s: %s", e.name, e.say)
	}
	if e.record != (linker.Record{}) {
		s += fmt.Sprintf(" %s/%s", e.record.Kind, e.record.ID)
	}
	return s + " (by " + e.by + ")"
}

// neverSender is the word that excludes a sender.
const neverSender Saying = "never this sender"

// emailOf returns the id under which the CRM has a mail.
func (w *world) emailOf(name string) string {
	id := ""
	for _, x := range w.crm.Emails(org) {
		if x.Message.Subject == name && x.Survivor == "" && (id == "" || len(x.Links) > 0) {
			id = x.ID
		}
	}
	return id
}

// namesakes returns the mails that have a Message-ID, those of them that a mailbox has shown, and whether of one of these it is not known in some mailbox how it
// is told from the others.
func (w *world) namesakes(id string) (all, shown []*Mail, vague bool) {
	for _, m := range w.truth.Mails {
		if m.MessageID == id || m.Renamed == id {
			all = append(all, m)
			is, not := w.shown(m)
			if is {
				shown = append(shown, m)
			}
			vague = vague || not
		}
	}
	return all, shown, vague
}

func (e word) do(h *caller) error {
	w := h.w
	m := w.mail(e.name)
	if m == nil || m.Key != "" && !m.Sent {
		return nil
	}
	c := emailint.Correction{Thread: e.thread}
	if e.by == "email" {
		c.Email = w.emailOf(e.name)
	}
	said := Word{Mail: m, Thread: e.thread, Say: e.say}
	of := []*Mail{m}   // of which it is said
	var before []*Mail // those of them that were shown when it was
	if c.Email == "" {
		c.MessageID = m.MessageID
		if m.MessageID == "" || e.say == neverSender {
			return nil
		}
		if of, before, said.Whichever = w.namesakes(c.MessageID); len(of) > 1 && e.thread {
			return nil
		}
	}
	if e.record != (linker.Record{}) {
		// One that was merged stands for the one that lives on.
		said.On = w.record(e.record)
		if said.On == nil || now(said.On) == nil {
			return nil
		}
		said.Record = said.On.Record
		for _, r := range w.truth.Records {
			if r != said.On && last(r) == last(said.On) {
				said.Was = append(said.Was, r)
			}
		}
	}
	switch e.say {
	case SayLink:
		c.Link = []linker.Record{e.record}
	case SayUnlink:
		c.Unlink = []linker.Record{e.record}
	case SayForget:
		c.Forget = []linker.Record{e.record}
	case SayDrop:
		c.Drop = true
	case SayRestore:
		c.Restore = true
	case neverSender:
		c.NeverSender, c.Thread = true, false
	}
	// What the CRM shows to a person it has told us.
	if err := h.tell(); err != nil {
		return err
	}
	w.count["corrections"]++
	if e.say == SayDrop {
		said.Decided = w.decided()
	}
	unknown := false
	err := h.call("Correct", func(p *process) error {
		err := p.engine.Correct(w.ctx, org, c)
		// No mailbox has shown it; or who wrote it is not known any more.
		unknown = errors.Is(err, state.ErrNotFound) || e.say == neverSender && err != nil && strings.Contains(err.Error(), "never sender: the email")
		if unknown {
			return nil
		}
		return err
	})
	if err != nil || unknown {
		return err
	}
	if e.say == neverSender {
		if !slices.Contains(w.truth.Rules.Never, m.From) {
			w.truth.Rules.Never = append(slices.Clone(w.truth.Rules.Never), m.From)
		}
		if !slices.Contains(w.truth.EverExcluded, m.From) {
			w.truth.EverExcluded = append(w.truth.EverExcluded, m.From)
		}
		return nil
	}
	if said.On != nil && e.thread {
		o, err := w.observe()
		if err != nil {
			return err
		}
		said.Apart = w.truth.apart(o, m)
	}
	var after []*Mail
	if c.Email == "" {
		var vague bool
		_, after, vague = w.namesakes(c.MessageID)
		said.Whichever = said.Whichever || vague
	}
	for _, said.Mail = range of {
		if len(of) > 1 {
			// It is said of the mails that were shown; while it was, one may have come. What we sent may be known by the service's id or not yet.
			was, is := slices.Contains(before, said.Mail), slices.Contains(after, said.Mail)
			if !was && !is {
				continue
			}
			w.count["corrections of namesakes"]++
			said.Torn = was != is || said.Mail.MessageID != c.MessageID
		}
		if e.say == SayLink {
			if said.LetGo, err = w.letGo(said.Mail); err != nil {
				return err
			}
		}
		w.truth.Words = append(w.truth.Words, said)
	}
	return nil
}

// letGo returns the mailboxes in which a mail is no more, and whose hold on its email has ended.
func (w *world) letGo(m *Mail) (conns []int64, err error) {
	emails := map[int64]int64{} // by mailbox
	for _, b := range w.boxes {
		if !b.alive() {
			continue
		}
		rows, err := w.store.Items(w.ctx, org, b.Conn, 0, 10000)
		if err != nil {
			return nil, err
		}
		for _, c := range b.Copies {
			i := slices.IndexFunc(rows, func(r state.Row) bool { return r.Email != 0 && slices.Contains(c.Items, r.Item) })
			if c.Mail == m && c.Deleted && i >= 0 {
				emails[b.Conn] = rows[i].Email
			}
		}
	}
	for conn, id := range emails {
		e, err := w.store.Email(w.ctx, org, id)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(e.Holders, conn) {
			conns = append(conns, conn)
		}
	}
	slices.Sort(conns)
	return conns, nil
}

package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// People outside, and what of them the CRM may know. Few, so that what happens meets.
var (
	people = []string{"ada@acme.com", "bea@acme.com", "cy@eu.acme.com", "dan@beta.com", "eve@beta.com", "fay@shop.beta.com",
		"gil@gamma.com", "lee@lead.com", "max@delta.com", "ned@novel.com", "una@unknown.com"}
	domains = []string{"acme.com", "beta.com", "eu.acme.com", "gamma.com", "novel.com"}
)

func contact(id string) linker.Record { return linker.Record{Kind: linker.Contact, ID: id} }
func account(id string) linker.Record { return linker.Record{Kind: linker.Account, ID: id} }
func lead(id string) linker.Record    { return linker.Record{Kind: linker.Lead, ID: id} }
func deal(id string) linker.Record    { return linker.Record{Kind: linker.Opportunity, ID: id} }

// profile says how much of what happens in a run.
type profile struct {
	name                                                                     string
	declares                                                                 int // weight of emails that the host had before
	mail, copies, folders, trouble, changes, rules, words, sends, boxes, bad int // weights of events; bad: of a hundred works that have upsets
	crowd                                                                    int // of a hundred works in which several work at once
	special                                                                  int // weight of what belongs to this profile alone
	meanwhile                                                                int // so many more events happen while workers work
}

var profiles = []profile{
	{name: "calm", mail: 10, copies: 3, folders: 8, changes: 2, words: 1, sends: 1},
	{name: "everything", mail: 10, copies: 3, folders: 8, trouble: 2, changes: 6, rules: 2, words: 4, sends: 3, boxes: 2, bad: 50, crowd: 50},
	{name: "workers", mail: 10, copies: 4, folders: 6, changes: 4, words: 2, sends: 1, boxes: 1, bad: 90, crowd: 95},
	{name: "changes", mail: 8, copies: 2, folders: 2, changes: 14, rules: 3, words: 3, bad: 40, crowd: 50},
	{name: "people", mail: 8, copies: 2, folders: 4, changes: 5, rules: 1, words: 12, sends: 1, bad: 30, crowd: 40},
	{name: "sends", mail: 4, copies: 2, folders: 3, trouble: 2, changes: 2, words: 2, sends: 12, bad: 60, crowd: 60},
	{name: "mailboxes", mail: 8, copies: 4, folders: 18, trouble: 6, changes: 1, words: 1, sends: 1, boxes: 1, bad: 50, crowd: 40},
	{name: "erasure", mail: 8, copies: 4, folders: 5, changes: 3, words: 4, sends: 3, boxes: 6, bad: 50, crowd: 60},
}

// maker makes a script. It keeps in mind roughly what there will be.
type maker struct {
	*rand.Rand
	p       profile
	cfg     Config
	steps   []Step
	mails   []arrive
	sent    []send
	ghosts  []string // mails that were cited and are not there yet
	records []linker.Record
	dead    []linker.Record
	open    map[string]bool // mailboxes that are connected
	n       int             // mails named
	// What does not go together in a run: where Message-IDs are reused it depends on the order of things on which mails a word on a thread holds.
	reuse, erases, threads bool
	declared               []declare
	history                int           // so many more mails come before anything is connected
	apart                  time.Duration // at most that much one after the other
	early                  int           // so many declarations come before anything else
	elapsed                time.Duration
}

// Generate makes the script of a seed.
func Generate(seed uint64) Script { return GenerateAs(seed, "") }

// GenerateAs makes the script of a seed in a profile; "": in that which the seed chooses.
func GenerateAs(seed uint64, profile string) Script {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 1)), open: map[string]bool{}}
	m.p = profiles[m.IntN(len(profiles))]
	for _, p := range slices.Concat(profiles, special) {
		if p.name == profile {
			m.p = p
		}
	}
	m.cfg = Config{Seed: seed, PageSize: 1 + m.IntN(4), Remover: m.one(2), Pull: m.one(4), Bare: m.one(3)}
	m.cfg.Rules = Rules{Leads: m.one(2), Opportunities: !m.one(3), CreateContacts: !m.one(3), Release: m.one(2), Archive: m.one(3)}
	m.reuse, m.erases = m.one(3), m.p.boxes > 3 || m.one(2)
	m.threads = !m.reuse
	if m.one(6) {
		m.cfg.Rules.Excluded = []string{pick(m, domains)}
	}
	m.cfg.Rules.ImportDays, m.apart = -1, time.Hour
	m.seldom(seed)
	for range 2 + m.IntN(4) {
		m.step(time.Second, m.create())
	}
	for range 2 + m.IntN(6) + m.history {
		m.step(m.a(m.apart), m.arrival())
	}
	for range m.early {
		m.step(time.Second, m.declare())
	}
	m.connectOne()
	m.step(time.Minute, m.work())
	for n := 4 + m.IntN(9); n > 0; n-- {
		for range 1 + m.IntN(4) {
			m.step(m.pause(), m.event())
		}
		m.step(m.a(time.Minute), m.work())
	}
	return Script{Config: m.cfg, Profile: m.p.name, Steps: m.steps}
}

func (m *maker) one(in int) bool    { return m.IntN(in) == 0 }
func (m *maker) percent(p int) bool { return m.IntN(100) < p }
func (m *maker) a(d time.Duration) time.Duration {
	return time.Duration(1+m.IntN(int(d/time.Second))) * time.Second
}
func pick[T any](m *maker, list []T) T { return list[m.IntN(len(list))] }
func (m *maker) pause() time.Duration {
	return m.a(pick(m, []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, time.Hour, 6 * time.Hour, 36 * time.Hour}))
}

func (m *maker) step(after time.Duration, e event) {
	if e == nil {
		return
	}
	m.elapsed += after
	m.steps = append(m.steps, Step{after, e})
}

// event makes one by the weights of the profile.
func (m *maker) event() event {
	p := m.p
	kinds := []struct {
		weight int
		make   func() event
	}{
		{p.mail, m.arrival}, {p.copies, m.copyOf}, {p.folders, m.inFolders}, {p.trouble, m.oddity}, {p.changes, m.change}, {p.rules, m.rule},
		{p.words, m.word}, {p.sends, m.send}, {p.boxes, m.mailbox}, {1, m.connectOne0}, {p.declares, m.declare}, {p.special, m.special},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := m.IntN(total)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			return k.make()
		}
	}
	return nil
}

func (m *maker) connectOne() { m.step(m.a(time.Minute), m.connectOne0()) }

// connectOne0 connects a mailbox that is not.
func (m *maker) connectOne0() event {
	var shut []string
	for _, o := range owners {
		if !m.open[o] {
			shut = append(shut, o)
		}
	}
	if len(shut) == 0 {
		return m.arrival()
	}
	o := pick(m, shut)
	m.open[o] = true
	return connect{o}
}

func (m *maker) name() string {
	if len(m.ghosts) > 0 && m.one(2) {
		i := m.IntN(len(m.ghosts))
		g := m.ghosts[i]
		m.ghosts = slices.Delete(m.ghosts, i, i+1)
		return g
	}
	m.n++
	return fmt.Sprintf("m%d", m.n)
}

// inbox is where mail comes in.
func (m *maker) inbox() provider.Role {
	return pick(m, []provider.Role{provider.RoleInbox, provider.RoleInbox, provider.RoleInbox, provider.RoleInbox, provider.RoleInbox, provider.RoleInbox,
		provider.RoleInbox, provider.RoleInbox, "", provider.RoleArchive, provider.RoleJunk, provider.RoleTrash})
}

// some returns up to n of a list, each once.
func some[T any](m *maker, list []T, n int) (out []T) {
	for _, i := range m.Perm(len(list))[:min(n, len(list))] {
		out = append(out, list[i])
	}
	return out
}

// arrival makes a new mail.
func (m *maker) arrival() event {
	e := arrive{automated: m.one(9), old: m.a(time.Minute)}
	if m.one(12) {
		e.old += m.a(40 * 24 * time.Hour)
	}
	whom := some(m, owners, 1+m.IntN(2))
	outside := some(m, people, 1+m.IntN(2))
	switch {
	case m.one(5): // the owner's own mail, written in his mail program
		e.from = address(whom[0])
		e.to = outside[:1]
		if len(outside) > 1 {
			if m.one(2) {
				e.bcc = outside[1:]
			} else {
				e.cc = outside[1:]
			}
		}
		if m.one(4) {
			e.to, e.bcc = []string{address(pick(m, owners))}, outside // outside people in Bcc alone
		}
		e.at = []location{{whom[0], provider.RoleSent}}
		if len(whom) > 1 {
			e.cc = append(slices.Clone(e.cc), address(whom[1]))
			e.at = append(e.at, location{whom[1], m.inbox()})
		}
		if m.one(8) {
			e.at[0].role = provider.RoleDrafts
		}
		e.automated = false
	case m.one(10): // among own people
		e.from, e.to = address(whom[0]), []string{address(owners[m.IntN(3)])}
		e.at = []location{{whom[0], provider.RoleSent}}
		if e.to[0] != e.from {
			e.at = append(e.at, location{e.to[0][:3], provider.RoleInbox})
		}
	default:
		e.from = outside[0]
		for _, o := range whom {
			e.to = append(e.to, address(o))
			if len(e.at) == 0 || m.one(2) { // else it comes later, or never
				e.at = append(e.at, location{o, m.inbox()})
			}
		}
		if len(outside) > 1 {
			e.cc = outside[1:]
		}
		e.spoofed = m.one(12)
	}
	m.reply(&e)
	e.name = m.name()
	switch {
	case m.one(20):
		e.nameless = true
	case m.reuse && m.one(12) && len(m.mails) > 0:
		e.reuses = pick(m, m.mails).name
	}
	if e.reuses == e.name {
		e.reuses = ""
	}
	m.straighten(&e)
	m.mails = append(m.mails, e)
	return e
}

// straighten takes out citations by which a thread would become a circle. Nobody can answer a mail that answers him.
func (m *maker) straighten(e *arrive) {
	id := func(name string) string {
		for _, x := range m.mails {
			if x.name == name && x.reuses != "" {
				return x.reuses
			}
		}
		return name
	}
	me := e.name
	if e.reuses != "" {
		me = id(e.reuses)
	}
	above := map[string][]string{}
	cites := func(x arrive) []string { return append(slices.Clone(x.refs), x.replyTo) }
	for _, x := range m.mails {
		above[id(x.name)] = append(above[id(x.name)], cites(x)...)
	}
	for _, x := range m.sent {
		above[x.name] = append(above[x.name], x.replyTo)
	}
	circle := func(cited string) bool {
		seen := map[string]bool{}
		for todo := []string{cited}; len(todo) > 0; todo = todo[1:] {
			c := id(todo[0])
			if c == me {
				return true
			}
			if !seen[c] {
				seen[c] = true
				todo = append(todo, above[c]...)
			}
		}
		return false
	}
	e.refs = slices.DeleteFunc(slices.Clone(e.refs), circle)
	if circle(e.replyTo) {
		e.replyTo = ""
	}
}

// reply lets a mail answer another, in one of the ways in which mail programs say so.
func (m *maker) reply(e *arrive) {
	if m.one(2) {
		return
	}
	if m.one(8) {
		m.n++
		g := fmt.Sprintf("m%d", m.n) // comes later, or never
		m.ghosts = append(m.ghosts, g)
		e.replyTo = g
		return
	}
	var parent string
	var above []string
	if len(m.sent) > 0 && m.one(3) {
		s := pick(m, m.sent)
		parent = s.name
		if s.replyTo != "" {
			above = []string{s.replyTo}
		}
	} else if len(m.mails) > 0 {
		// Threads grow at their ends.
		p := m.mails[len(m.mails)-1-min(m.IntN(len(m.mails)), m.IntN(len(m.mails)))]
		parent, above = p.name, p.refs
		if p.replyTo != "" && !slices.Contains(above, p.replyTo) {
			above = append(slices.Clone(above), p.replyTo)
		}
	} else {
		return
	}
	switch m.IntN(6) {
	case 0:
		e.replyTo = parent
	case 1:
		e.refs = []string{parent}
	case 2: // only to what it answers
		if len(above) > 0 {
			e.replyTo = above[len(above)-1]
		} else {
			e.replyTo = parent
		}
	default:
		e.replyTo, e.refs = parent, append(slices.Clone(above), parent)
	}
}

// copyOf is one more copy of a mail, later.
func (m *maker) copyOf() event {
	if len(m.mails) == 0 {
		return nil
	}
	var names []string
	for _, x := range m.mails[max(0, len(m.mails)-8):] {
		names = append(names, x.name)
	}
	for _, s := range m.sent {
		names = append(names, s.name)
	}
	return also{pick(m, names), location{pick(m, owners), m.inbox()}}
}

// somewhere picks a mail and a mailbox in which it may lie.
func (m *maker) somewhere() (string, string) {
	if len(m.mails) == 0 {
		return "", ""
	}
	if len(m.sent) > 0 && m.one(5) {
		s := pick(m, m.sent)
		return s.name, s.box
	}
	x := pick(m, m.mails)
	if len(x.at) == 0 || m.one(6) {
		return x.name, pick(m, owners)
	}
	return x.name, pick(m, x.at).box
}

// inFolders is what happens to mail in its mailbox.
func (m *maker) inFolders() event {
	name, box := m.somewhere()
	if name == "" {
		return nil
	}
	switch m.IntN(13) {
	case 0, 1:
		return remove{name, box}
	case 2:
		return reset{location{box, pick(m, []provider.Role{provider.RoleInbox, provider.RoleInbox, provider.RoleArchive, "", provider.RoleSent})}, m.one(4)}
	case 3:
		return oddity{box, pick(m, []string{"repeats pages", "reorders pages"}), 1 + m.IntN(2)}
	case 4, 12:
		if m.cfg.Rules.Archive {
			if m.one(3) {
				return undo{box, m.IntN(5)}
			}
			return bringBack{box, m.IntN(5)}
		}
	case 5:
		return spoil{name, box, m.one(2)}
	case 6:
		switch m.IntN(3) {
		case 0:
			return forget{box: box}
		case 1:
			if e, ok := m.arrival().(arrive); ok && slices.ContainsFunc(e.at, func(l location) bool { return l.box == box }) {
				return forget{box, &e}
			} else if ok {
				return e
			}
		}
		return wake{box}
	}
	return move{name, location{box, pick(m, []provider.Role{provider.RoleInbox, provider.RoleArchive, "", provider.RoleTrash, provider.RoleJunk, provider.RoleInbox,
		provider.RoleSent})}}
}

func (m *maker) oddity() event {
	return oddity{pick(m, owners), pick(m, []string{"fails", "fails", "limits the rate", "cuts the connection", "refuses the sign-in", "can't search", "withdraws consent"}), 1 + m.IntN(4)}
}

// create makes a record.
func (m *maker) create() event {
	e := change{kind: emailint.RecordCreated, tell: m.telling()}
	again := len(m.dead) > 0 && m.one(3)
	switch n := m.IntN(10); {
	case again:
		e.record = pick(m, m.dead)
	case n < 4:
		e.record = contact(fmt.Sprintf("c%d", 1+m.IntN(9)))
	case n < 7:
		e.record = account(fmt.Sprintf("a%d", 1+m.IntN(5)))
	case n < 8:
		e.record = lead(fmt.Sprintf("l%d", 1+m.IntN(3)))
	default:
		e.record = deal(fmt.Sprintf("d%d", 1+m.IntN(5)))
	}
	switch e.record.Kind {
	case linker.Contact:
		e.keys = some(m, people, 1+m.IntN(2))
		e.of = some(m, m.of(linker.Account), m.IntN(2))
	case linker.Account:
		e.keys = some(m, domains, 1)
	case linker.Lead:
		e.keys = some(m, people, 1)
	case linker.Opportunity:
		e.of = some(m, append(m.of(linker.Account), m.of(linker.Contact)...), 1+m.IntN(2))
		e.opened, e.closed = m.dates()
	}
	m.records = append(m.records, e.record)
	return e
}

// dates of a deal: mail may come before, in and after its time.
func (m *maker) dates() (opened, closed time.Duration) {
	opened = m.elapsed - m.a(10*24*time.Hour) + m.a(4*24*time.Hour)
	if m.one(2) {
		closed = opened + m.a(12*24*time.Hour)
	}
	return opened, closed
}

func (m *maker) telling() telling {
	switch m.IntN(8) {
	case 0:
		return tellTwice
	case 1, 2:
		return tellLate
	}
	return tellNow
}

func (m *maker) of(k linker.Kind) (out []linker.Record) {
	for _, r := range m.records {
		if r.Kind == k && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	// Those that the engine may make.
	if k == linker.Contact && m.cfg.Rules.CreateContacts && m.one(3) {
		out = append(out, contact("new:"+pick(m, people)))
	}
	return out
}

func (m *maker) anyRecord() (linker.Record, bool) {
	k := pick(m, []linker.Kind{linker.Contact, linker.Contact, linker.Account, linker.Lead, linker.Opportunity})
	rs := m.of(k)
	if len(rs) == 0 {
		rs = m.records
	}
	if len(rs) == 0 {
		return linker.Record{}, false
	}
	return pick(m, rs), true
}

// change changes a record.
func (m *maker) change() event {
	r, ok := m.anyRecord()
	if !ok || m.one(4) {
		return m.create()
	}
	e := change{record: r, tell: m.telling()}
	switch n := m.IntN(10); {
	case n < 2:
		others := slices.DeleteFunc(m.of(r.Kind), func(o linker.Record) bool { return o == r })
		if len(others) == 0 {
			return m.create()
		}
		e.kind, e.into = emailint.RecordMerged, pick(m, others)
	case n < 4:
		e.kind = emailint.RecordDeleted
		m.dead = append(m.dead, r)
	case r.Kind == linker.Opportunity && n < 8:
		e.kind = emailint.DealChanged
		e.opened, e.closed = m.dates()
	case r.Kind == linker.Opportunity, r.Kind == linker.Contact && n < 7:
		of := m.of(linker.Account)
		if r.Kind == linker.Opportunity {
			of = append(of, m.of(linker.Contact)...)
		}
		if len(of) == 0 {
			return m.create()
		}
		e.kind, e.of, e.gone = emailint.RelationChanged, some(m, of, 1), m.one(2)
	default:
		e.kind, e.key, e.gone = emailint.AddressesChanged, pick(m, people), m.one(2)
		if r.Kind == linker.Account {
			e.key = pick(m, domains)
		}
	}
	return e
}

func (m *maker) rule() event {
	switch m.IntN(8) {
	case 0:
		return rules{what: "leads", on: m.one(2)}
	case 1:
		return rules{what: "opportunities", on: m.one(2)}
	case 2:
		return rules{what: "creating contacts", on: m.one(2)}
	case 3:
		return rules{what: "archiving", on: m.one(2)}
	case 4:
		return rules{what: "never", of: pick(m, people), on: m.one(2)}
	}
	return rules{what: "excluded", of: pick(m, domains), on: m.one(2)}
}

func (m *maker) word() event {
	if len(m.mails) == 0 {
		return nil
	}
	e := word{thread: m.threads && m.one(2), by: pick(m, []string{"email", "message-id"})}
	e.name = pick(m, m.mails).name
	if len(m.sent) > 0 && m.one(5) {
		e.name = pick(m, m.sent).name
	}
	switch m.IntN(12) {
	case 0:
		e.say = SayDrop
	case 1:
		e.say = SayRestore
	case 2:
		e.say, e.by, e.thread = neverSender, "email", false
	case 3, 4:
		e.say = SayForget
	case 5, 6, 7:
		e.say = SayUnlink
	default:
		e.say = SayLink
	}
	if e.say == SayForget || e.say == SayUnlink || e.say == SayLink {
		r, ok := m.anyRecord()
		if !ok {
			return nil
		}
		e.record = r
	}
	return e
}

func (m *maker) send() event {
	box := pick(m, owners)
	if m.one(4) {
		return lose{box, m.IntN(2), m.one(3)}
	}
	outside := some(m, people, 1+m.IntN(2))
	m.n++
	e := send{name: fmt.Sprintf("s%d", m.n), box: box, to: outside[:1]}
	if len(outside) > 1 {
		if m.one(2) {
			e.bcc = outside[1:]
		} else {
			e.cc = outside[1:]
		}
	}
	if m.one(5) {
		e.cc = append(slices.Clone(e.cc), address(pick(m, owners)))
	}
	if len(m.mails) > 0 && m.one(2) {
		e.replyTo = pick(m, m.mails).name
	}
	m.sent = append(m.sent, e)
	return e
}

// mailbox is what happens to a connection as a whole.
func (m *maker) mailbox() event {
	b := pick(m, owners)
	switch n := m.IntN(8); {
	case n < 3 && m.erases:
		if m.open[b] {
			m.open[b] = false
			return erase{b}
		}
		m.open[b] = true
		return connect{b}
	case n < 5:
		m.open[b] = true
		return connect{b}
	case n < 6:
		return pause{b}
	}
	return resume{b}
}

// work lets workers work.
func (m *maker) work() event {
	w := work{seed: m.Uint64()}
	n := 1
	if m.percent(m.p.crowd) {
		n = 2 + m.IntN(4)/3
	}
	for len(w.jobs) < n {
		var open []string
		for _, o := range owners {
			if m.open[o] {
				open = append(open, o)
			}
		}
		if len(open) == 0 {
			open = owners
		}
		j := job{"sync", pick(m, open)}
		switch k := m.IntN(14); {
		case k == 0:
			j = job{do: "outbox"}
		case k < 4:
			j = job{do: "relink"}
		case k == 4:
			j.do = "reconcile"
		case len(w.jobs) > 0 && k < 7 && w.jobs[0].do == "sync": // two at one mailbox
			j = w.jobs[0]
		}
		w.jobs = append(w.jobs, j)
	}
	if m.percent(m.p.crowd) {
		for range m.IntN(3 + m.p.meanwhile) {
			if e := m.event(); e != nil {
				w.events = append(w.events, e)
			}
		}
	}
	if m.percent(m.p.bad) {
		for range 1 + m.IntN(2) {
			u := upset{step: 2 + m.IntN(60*n), worker: m.IntN(n), n: 1}
			switch k := m.IntN(10); {
			case k < 3:
				u.what = killed
			case k < 6 && n+len(w.events) > 1:
				u.what, u.n = pausedLong, 1+m.IntN(90)
				if n > 1 && m.one(2) { // others come to the same mailbox meanwhile
					w.jobs[(u.worker+1)%n] = w.jobs[u.worker]
				}
			case k < 8:
				u.what = lostAnswer
			default:
				u.what, u.n = pick(m, []string{crmFails, crmLoses, crmRefuses}), 1+m.IntN(4)
			}
			w.upsets = append(w.upsets, u)
		}
	}
	return w
}

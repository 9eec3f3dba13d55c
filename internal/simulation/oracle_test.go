package simulation

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// scene is a small world with what came of it, both written by hand.
type scene struct {
	Truth
	Observed
	ann, bob, cid *Box    // IMAP, Gmail, Graph
	ada, acme     *Record // a contact of an account
	clock         time.Time
	serial        int
}

var midday = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// newScene is three connected mailboxes, a contact ada@acme.example and an account acme.example, without a mail.
func newScene() *scene {
	s := &scene{clock: midday}
	s.Rules.ImportDays = -1
	s.Sends, s.Outbox, s.Kept, s.Owner = map[string]int{}, map[string]string{}, map[string][]int64{}, map[string]string{}
	for i, b := range []struct {
		name string
		kind providertest.Personality
	}{{"ann", providertest.IMAP}, {"bob", providertest.Gmail}, {"cid", providertest.Graph}} {
		s.Boxes = append(s.Boxes, &Box{Name: b.name, Address: b.name + "@own.example", Kind: b.kind, Conn: int64(i + 1), Connected: midday, Days: -1})
	}
	s.ann, s.bob, s.cid = s.Boxes[0], s.Boxes[1], s.Boxes[2]
	s.ada = s.record("contact/ada", "ada@acme.example")
	s.acme = s.record("account/acme", "acme.example")
	return s
}

func recordOf(name string) linker.Record {
	kind, id, _ := strings.Cut(name, "/")
	return linker.Record{Kind: linker.Kind(kind), ID: id}
}

func (s *scene) record(name string, keys ...string) *Record {
	r := &Record{Record: recordOf(name), Keys: keys, Had: keys, Since: midday}
	s.Records = append(s.Records, r)
	return r
}

// deal is an opportunity that hangs on a record, open since long before.
func (s *scene) deal(id string, on *Record) *Record {
	s.Rules.Opportunities = true
	r := s.record("opportunity/" + id)
	r.Of, r.Opened = []linker.Record{on.Record}, midday.AddDate(-1, 0, 0)
	return r
}

// mail is one from somebody to others, separated by spaces, that answers the mails named.
func (s *scene) mail(subject, from, to string, answers ...*Mail) *Mail {
	m := &Mail{Subject: subject, MessageID: subject + "@id", From: from, To: strings.Fields(to), Date: s.clock}
	for _, a := range answers {
		m.References = append(m.References, a.MessageID)
	}
	s.Mails = append(s.Mails, m)
	return m
}

// comes puts a mail into a folder of a mailbox an hour later, and reads it there: as unmatched, until it is made something else.
func (s *scene) comes(m *Mail, b *Box, role provider.Role) *Copy {
	s.clock = s.clock.Add(time.Hour)
	c := &Copy{Mail: m, Received: s.clock, Sent: role == provider.RoleSent, Role: role}
	b.Copies = append(b.Copies, c)
	s.moves(b, c, role)
	return c
}

// moves moves a copy within its mailbox; over IMAP it has another id and another row then.
func (s *scene) moves(b *Box, c *Copy, to provider.Role) {
	was := s.row(b, c)
	c.Role = to
	if len(c.Items) > 0 && b.Kind != providertest.IMAP {
		was.Folders = []provider.Role{to}
		return
	}
	s.serial++
	c.Items = append(c.Items, provider.ItemID(fmt.Sprintf("%s-%d", b.Name, s.serial)))
	fate, email := "unmatched", int64(0)
	if was != nil {
		was.Left, was.Folders = true, nil
		fate, email = was.Fate, was.Email
	}
	if !aside(to) {
		s.Rows = append(s.Rows, Row{Conn: b.Conn, Item: c.Items[len(c.Items)-1], Folders: []provider.Role{to}, Fate: fate, Email: email})
	}
}

// goes deletes a copy for good.
func (s *scene) goes(b *Box, c *Copy) {
	r := s.row(b, c)
	r.Left, r.Gone, r.Folders = true, true, nil
	c.Deleted = true
}

// row is the row of a copy's last id; nil: none.
func (s *scene) row(b *Box, c *Copy) *Row {
	for i := range s.Rows {
		if r := &s.Rows[i]; len(c.Items) > 0 && r.Conn == b.Conn && r.Item == c.Items[len(c.Items)-1] {
			return r
		}
	}
	return nil
}

// is says what the engine made of a mail: the fate of its rows, and links as "contact/ada address". Who has a row holds it.
func (s *scene) is(m *Mail, fate string, links ...string) {
	e, stored := s.email(m)
	if e == nil {
		id := strconv.Itoa(len(s.Emails) + 1)
		s.Emails = append(s.Emails, Email{ID: id, Subject: m.Subject})
		s.State = append(s.State, Email{ID: id, Envelope: true})
		e, stored = s.email(m)
	}
	e.Links = nil
	for _, l := range links {
		name, by, _ := strings.Cut(l, " ")
		e.Links = append(e.Links, linker.Link{Record: recordOf(name), By: linker.How(by)})
	}
	e.Revision++
	e.Holders = nil
	for _, b := range s.Boxes {
		for _, c := range b.Copies {
			for _, item := range c.Items {
				for i := range s.Rows {
					if r := &s.Rows[i]; c.Mail == m && r.Conn == b.Conn && r.Item == item {
						r.Fate = fate
						r.Email, _ = strconv.ParseInt(e.ID, 10, 64)
						if !slices.Contains(e.Holders, b.Conn) {
							e.Holders = append(e.Holders, b.Conn)
						}
					}
				}
			}
		}
	}
	s.told(e, stored)
}

// told makes the state agree with the CRM; an email without links has no envelope.
func (s *scene) told(e, stored *Email) {
	stored.Revision, stored.Holders, stored.Links, stored.Envelope = e.Revision, e.Holders, e.Links, len(e.Links) > 0
}

// email is that of the CRM and that of the state.
func (s *scene) email(m *Mail) (crm, stored *Email) {
	for i := range s.Emails {
		if s.Emails[i].Subject == m.Subject {
			return &s.Emails[i], &s.State[i]
		}
	}
	return nil, nil
}

// held sets the holders of an email.
func (s *scene) held(m *Mail, conns ...int64) {
	e, stored := s.email(m)
	e.Holders, stored.Holders = conns, conns
}

// offer is a mail of ada to ann, linked to her and to her account.
func (s *scene) offer() (*Mail, *Copy) {
	m := s.mail("offer", "ada@acme.example", "ann@own.example")
	c := s.comes(m, s.ann, provider.RoleInbox)
	s.is(m, "linked", "contact/ada address", "account/acme domain")
	return m, c
}

// answer is a mail of a stranger to ann that answers others, in her inbox.
func (s *scene) answer(subject string, to ...*Mail) *Mail {
	m := s.mail(subject, "someone@elsewhere.example", "ann@own.example", to...)
	s.comes(m, s.ann, provider.RoleInbox)
	return m
}

// fleeting is an answer to an answer to the offer. The one between, whose row it returns, lay in a mailbox whose listing shows no References, and
// went before it was decided.
func (s *scene) fleeting() (*Mail, *Row) {
	offer, _ := s.offer()
	between := s.mail("re", "someone@elsewhere.example", "cid@own.example", offer)
	c := s.comes(between, s.cid, provider.RoleInbox)
	s.goes(s.cid, c)
	m := s.answer("re re", between)
	r := s.row(s.cid, c)
	r.Fate, r.Known, r.Cites = "gone", true, true
	return m, r
}

func (s *scene) say(m *Mail, thread bool, say Saying, r *Record) {
	w := Word{Mail: m, Thread: thread, Say: say, On: r}
	if r != nil {
		w.Record = r.Record
	}
	s.Words = append(s.Words, w)
}

// outgoing is a mail of ann to ada that the engine sent, of which no mailbox has shown a copy.
func (s *scene) outgoing() *Mail {
	m := s.mail("sent", "ann@own.example", "ada@acme.example")
	m.Key, m.By, m.Sent, m.Asked = "k1", s.ann, true, s.clock
	s.Sends["k1"], s.Outbox["k1"] = 1, "sent"
	s.is(m, "", "contact/ada address", "account/acme domain")
	s.held(m, 1)
	return m
}

// teeth is, for each rule, a world in which all is right, and the smallest thing that makes it wrong: what build returns.
var teeth = []struct {
	promise, name string
	build         func(s *scene) (wrong func())
}{
	{promiseRow, "a row is missing", func(s *scene) func() {
		s.offer()
		return func() { s.Rows = nil; s.held(s.Mails[0]) }
	}},
	{promiseRow, "two rows", func(s *scene) func() {
		s.offer()
		return func() { s.Rows = append(s.Rows, s.Rows[0]) }
	}},
	{promiseRow, "a row of a mail that never was", func(s *scene) func() {
		s.offer()
		return func() { s.Rows = append(s.Rows, Row{Conn: 1, Item: "other", Fate: "unmatched"}) }
	}},
	{promiseRow, "due", func(s *scene) func() {
		s.offer()
		return func() { s.Rows[0].Due = true }
	}},
	{promiseRow, "failed", func(s *scene) func() {
		s.offer()
		return func() { s.Rows[0].Fate = "failed"; s.held(s.Mails[0]) }
	}},
	{promiseRow, "left, though it is there", func(s *scene) func() {
		s.offer()
		return func() { s.Rows[0].Left = true }
	}},
	{promiseRow, "in a folder where it was", func(s *scene) func() {
		m := s.mail("offer", "ada@acme.example", "cid@own.example")
		c := s.comes(m, s.cid, provider.RoleInbox)
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		s.moves(s.cid, c, provider.RoleArchive)
		return func() { s.Rows[0].Folders = []provider.Role{provider.RoleInbox} }
	}},
	{promiseRow, "back in the inbox, beside its owner's label", func(s *scene) func() {
		m := s.mail("offer", "ada@acme.example", "bob@own.example")
		c := s.comes(m, s.bob, "")
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		c.Back, s.Rows[0].Folders = true, []provider.Role{provider.RoleInbox, ""}
		return func() { s.Rows[0].Folders = []provider.Role{""} }
	}},
	{promiseRow, "the row of an earlier id has not left", func(s *scene) func() {
		_, c := s.offer()
		s.moves(s.ann, c, "")
		return func() { s.Rows[0].Left = false }
	}},
	{promiseRow, "a row of what was deleted has not left", func(s *scene) func() {
		_, c := s.offer()
		s.goes(s.ann, c)
		return func() { s.Rows[0].Left, s.Rows[0].Gone = false, false }
	}},
	{promiseRow, "a watched mail was not read", func(s *scene) func() {
		s.answer("question")
		return func() { s.Rows[0].Fate = "unread" }
	}},
	{promiseRow, "spam that was taken out of junk", func(s *scene) func() {
		m := s.mail("win", "someone@elsewhere.example", "bob@own.example")
		c := s.comes(m, s.bob, provider.RoleJunk)
		s.Rows = append(s.Rows, Row{Conn: 2, Item: c.Items[0], Folders: []provider.Role{provider.RoleJunk}, Fate: "spam"})
		c.Role = provider.RoleInbox
		s.Rows[0].Folders, s.Rows[0].Fate = []provider.Role{provider.RoleInbox}, "unmatched"
		return func() { s.Rows[0].Fate = "spam" }
	}},
	{promiseRow, "a draft was decided", func(s *scene) func() {
		m := s.mail("idea", "bob@own.example", "ada@acme.example")
		c := s.comes(m, s.bob, provider.RoleDrafts)
		c.Unlisted = true
		s.Rows = append(s.Rows, Row{Conn: 2, Item: c.Items[0], Folders: []provider.Role{provider.RoleDrafts}, Fate: "draft"})
		return func() { s.Rows[0].Fate = "unmatched" }
	}},
	{promiseGone, "the fate gone, and it is there", func(s *scene) func() {
		s.answer("question")
		return func() { s.Rows[0].Fate = "gone" }
	}},
	{promiseGone, "a move was taken for a deletion", func(s *scene) func() {
		_, c := s.offer()
		s.moves(s.ann, c, provider.RoleArchive)
		return func() { s.Rows[0].Gone = true }
	}},
	{promiseErased, "a row of an erased mailbox", func(s *scene) func() {
		s.answer("question")
		s.bob.Erased = true
		return func() { s.Rows = append(s.Rows, Row{Conn: 2, Item: "bob-1", Fate: "unmatched"}) }
	}},

	{promiseLinks, "R2 the copy in Sent decides, which alone shows Bcc", func(s *scene) func() {
		m := s.mail("among us", "ann@own.example", "bob@own.example")
		m.Bcc = []string{"ada@acme.example"}
		s.comes(m, s.bob, provider.RoleInbox)
		s.comes(m, s.ann, provider.RoleSent)
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		return func() { s.is(m, "internal") }
	}},
	{promiseLinks, "R2 the earliest copy decides", func(s *scene) func() {
		m := s.mail("offer", "ada@acme.example", "ann@own.example bob@own.example")
		s.comes(m, s.bob, provider.RoleInbox)
		s.deal("d", s.ada).Closed = s.clock.Add(time.Minute)
		s.comes(m, s.ann, provider.RoleInbox)
		s.is(m, "linked", "contact/ada address", "account/acme domain", "opportunity/d related")
		return func() { s.is(m, "linked", "contact/ada address", "account/acme domain") }
	}},
	{promiseLinks, "R2 a copy that nobody read doesn't decide", func(s *scene) func() {
		m := s.mail("offer", "ada@acme.example", "ann@own.example bob@own.example")
		c := s.comes(m, s.bob, provider.RoleInbox)
		c.Deleted = true
		s.Rows = nil
		s.deal("d", s.ada).Closed = s.clock.Add(time.Minute)
		s.comes(m, s.ann, provider.RoleInbox)
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		return func() {
			s.is(m, "linked", "contact/ada address", "account/acme domain", "opportunity/d related")
		}
	}},
	{promiseLinks, "R2 the best that can be read, where the best was deleted", func(s *scene) func() {
		m := s.mail("among us", "ann@own.example", "bob@own.example")
		m.Bcc = []string{"ada@acme.example"}
		s.comes(m, s.bob, provider.RoleInbox)
		c := s.comes(m, s.ann, provider.RoleSent)
		s.goes(s.ann, c)
		s.is(m, "internal")
		return func() { s.is(m, "linked", "contact/ada address") }
	}},
	{promiseLinks, "R2 only what was deleted", func(s *scene) func() {
		m := s.mail("among us", "ann@own.example", "bob@own.example")
		m.Bcc = []string{"ada@acme.example"}
		s.comes(m, s.bob, provider.RoleInbox)
		s.comes(m, s.ann, provider.RoleSent)
		c := s.comes(m, s.cid, provider.RoleSent)
		s.goes(s.cid, c)
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		return func() { s.is(m, "internal") }
	}},
	{promiseFate, "R3 without links a copy may be decided by itself", func(s *scene) func() {
		m := s.mail("among us", "ann@own.example", "bob@own.example")
		m.Bcc = []string{"someone@elsewhere.example"}
		s.comes(m, s.bob, provider.RoleInbox)
		s.Rows[0].Fate = "internal"
		s.comes(m, s.ann, provider.RoleSent)
		return func() { s.Rows[1].Fate = "automated" }
	}},
	{promiseRow, "what was sent is not decided", func(s *scene) func() {
		s.outgoing()
		s.Rows = append(s.Rows, Row{Conn: 1, Item: "outbox:k1", Fate: "linked", Outbox: true})
		return func() { s.Rows[0].Fate = "pending" }
	}},
	{promiseLinks, "R2 what was sent has links before its copy shows", func(s *scene) func() {
		m := s.outgoing()
		return func() { s.is(m, ""); s.State[0].Envelope = true }
	}},

	{promiseFate, "R3 unmatched", func(s *scene) func() {
		m := s.answer("question")
		return func() { s.is(m, "internal") }
	}},
	{promiseFate, "R3 among own people", func(s *scene) func() {
		m := s.mail("lunch", "bob+x@own.example", "ann@own.example")
		s.comes(m, s.ann, provider.RoleInbox)
		s.is(m, "internal")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseFate, "R3 automated", func(s *scene) func() {
		m := s.answer("news")
		m.Automated = true
		s.is(m, "automated")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R3 automated mail links", func(s *scene) func() {
		m, _ := s.offer()
		m.Automated = true
		return func() { s.is(m, "automated") }
	}},
	{promiseLinks, "R3 a domain is excluded, with those below", func(s *scene) func() {
		m, _ := s.offer()
		m.From = "ada@mail.acme.example"
		s.ada.Keys = []string{m.From}
		s.Rules.Excluded = []string{"acme.example"}
		s.is(m, "excluded")
		return func() { s.is(m, "linked", "contact/ada address", "account/acme domain") }
	}},
	{promiseLinks, "R3 never this sender, whatever his tag", func(s *scene) func() {
		m, _ := s.offer()
		m.From = "ada+offers@acme.example"
		s.Rules.Never = []string{"ada@acme.example"}
		s.is(m, "excluded")
		return func() { s.is(m, "linked", "account/acme domain") }
	}},
	{promiseLinks, "R3 one of several is excluded", func(s *scene) func() {
		m, _ := s.offer()
		m.Cc = []string{"spy@spies.example"}
		s.record("account/spies", "spies.example")
		s.Rules.Excluded = []string{"spies.example"}
		return func() { s.is(m, "linked", "contact/ada address", "account/acme domain", "account/spies domain") }
	}},
	{promiseLinks, "R3 an address before a domain", func(s *scene) func() {
		m, _ := s.offer()
		return func() { s.is(m, "linked", "contact/ada domain", "account/acme domain") }
	}},
	{promiseLinks, "R3 leads where they are on", func(s *scene) func() {
		m := s.answer("question")
		s.record("lead/l", "someone@elsewhere.example")
		return func() { s.is(m, "linked", "lead/l address") }
	}},
	{promiseLinks, "R3 the nearest parent that an account holds", func(s *scene) func() {
		m, _ := s.offer()
		m.From = "eve@a.b.acme.example"
		s.record("account/b", "b.acme.example")
		s.is(m, "linked", "account/b domain")
		return func() { s.is(m, "linked", "account/b domain", "account/acme domain") }
	}},
	{promiseLinks, "R3 not above the registrable domain", func(s *scene) func() {
		m, _ := s.offer()
		m.From = "eve@shop.co.uk"
		s.record("account/uk", "co.uk")
		s.is(m, "unmatched")
		return func() { s.is(m, "linked", "account/uk domain") }
	}},
	{promiseLinks, "R3 the account of a contact", func(s *scene) func() {
		m, _ := s.offer()
		m.From, s.ada.Keys = "ada@home.example", []string{"ada@home.example"}
		s.ada.Of = []linker.Record{s.acme.Record}
		s.is(m, "linked", "contact/ada address", "account/acme related")
		return func() { s.is(m, "linked", "contact/ada address") }
	}},
	{promiseLinks, "R3 a deal of the account of a contact", func(s *scene) func() {
		m, _ := s.offer()
		m.From, s.ada.Keys = "ada@home.example", []string{"ada@home.example"}
		s.ada.Of = []linker.Record{s.acme.Record}
		s.deal("d", s.acme)
		s.is(m, "linked", "contact/ada address", "account/acme related", "opportunity/d related")
		return func() { s.is(m, "linked", "contact/ada address", "account/acme related") }
	}},
	{promiseLinks, "R3 a deal that was opened later", func(s *scene) func() {
		m, c := s.offer()
		s.deal("d", s.ada).Opened = c.Received.Add(time.Second)
		return func() {
			s.is(m, "linked", "contact/ada address", "account/acme domain", "opportunity/d related")
		}
	}},
	{promiseLinks, "R3 a deal that was closed at that time", func(s *scene) func() {
		m, c := s.offer()
		s.deal("d", s.ada).Closed = c.Received
		return func() {
			s.is(m, "linked", "contact/ada address", "account/acme domain", "opportunity/d related")
		}
	}},
	{promiseLinks, "R3 merged records are their successors", func(s *scene) func() {
		m, _ := s.offer()
		eve := s.record("contact/eve", "ada@acme.example")
		s.ada.Into, s.ada.Keys = eve, nil
		s.is(m, "linked", "contact/eve address", "account/acme domain")
		return func() { s.is(m, "linked", "contact/ada address", "account/acme domain") }
	}},
	{promiseLinks, "R3 deleted records are nothing", func(s *scene) func() {
		m, _ := s.offer()
		s.ada.Deleted, s.ada.Keys = true, nil
		s.is(m, "linked", "account/acme domain")
		return func() { s.is(m, "linked", "contact/ada address", "account/acme domain") }
	}},
	{promiseLinks, "R3 nothing hangs on what a person took off", func(s *scene) func() {
		m, _ := s.offer()
		s.deal("d", s.ada)
		s.say(m, false, SayUnlink, s.ada)
		s.is(m, "linked", "account/acme domain")
		return func() { s.is(m, "linked", "account/acme domain", "opportunity/d related") }
	}},
	{promiseLinks, "R3 a person's link survives an exclusion", func(s *scene) func() {
		m, _ := s.offer()
		s.Rules.Excluded = []string{"acme.example"}
		s.say(m, false, SayLink, s.ada)
		s.is(m, "linked", "contact/ada person")
		return func() { s.is(m, "excluded") }
	}},

	{promiseLinks, "R4 an answer inherits", func(s *scene) func() {
		offer, _ := s.offer()
		m := s.answer("re", offer)
		s.is(m, "linked", "contact/ada thread", "account/acme thread")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R4 what hangs on the inherited", func(s *scene) func() {
		offer, _ := s.offer()
		m := s.answer("re", offer)
		s.deal("d", s.ada)
		s.is(offer, "linked", "contact/ada address", "account/acme domain", "opportunity/d related")
		s.is(m, "linked", "contact/ada thread", "account/acme thread", "opportunity/d related")
		return func() { s.is(m, "linked", "contact/ada thread", "account/acme thread") }
	}},
	{promiseLinks, "R4 up the chain, through a mail that has none of its own", func(s *scene) func() {
		offer, _ := s.offer()
		re := s.answer("re", offer)
		s.is(re, "linked", "contact/ada thread", "account/acme thread")
		m := s.answer("re re", re)
		s.is(m, "linked", "contact/ada thread", "account/acme thread")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R4 not past a mail that has some", func(s *scene) func() {
		offer, _ := s.offer()
		zoe := s.record("contact/zoe", "zoe@z.example")
		re := s.mail("re", "zoe@z.example", "ann@own.example", offer)
		s.comes(re, s.ann, provider.RoleInbox)
		s.is(re, "linked", "contact/zoe address", "contact/ada thread", "account/acme thread")
		m := s.answer("re re", re)
		s.is(m, "linked", "contact/zoe thread")
		_ = zoe
		return func() { s.is(m, "linked", "contact/zoe thread", "contact/ada thread", "account/acme thread") }
	}},
	{promiseLinks, "R4 not through a mail that nobody has seen", func(s *scene) func() {
		offer, _ := s.offer()
		re := s.mail("re", "zoe@z.example", "ann@own.example", offer)
		m := s.answer("re re", re)
		return func() { s.is(m, "linked", "contact/ada thread", "account/acme thread") }
	}},
	{promiseLinks, "R4 through a mail in junk", func(s *scene) func() {
		offer, _ := s.offer()
		re := s.mail("re", "someone@elsewhere.example", "bob@own.example", offer)
		c := s.comes(re, s.bob, provider.RoleJunk)
		c.Unlisted = true
		s.Rows = append(s.Rows, Row{Conn: 2, Item: c.Items[0], Folders: []provider.Role{provider.RoleJunk}, Fate: "spam", Known: true})
		m := s.answer("re re", re)
		s.is(m, "linked", "contact/ada thread", "account/acme thread")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R4 through a mail that went after its header was read", func(s *scene) func() {
		m, _ := s.fleeting()
		s.is(m, "linked", "contact/ada thread", "account/acme thread")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R4 not through one that went before its header was read", func(s *scene) func() {
		m, between := s.fleeting()
		between.Cites = false
		return func() { s.is(m, "linked", "contact/ada thread", "account/acme thread") }
	}},
	{promiseLinks, "R5 a word on a thread goes no further than such a mail", func(s *scene) func() {
		m, between := s.fleeting()
		between.Cites = false
		s.say(m, true, SayLink, s.ada)
		s.is(m, "linked", "contact/ada person")
		return func() { s.is(s.Mails[0], "linked", "contact/ada person", "account/acme domain") }
	}},
	{promiseLinks, "R4 never from a sibling", func(s *scene) func() {
		root := s.answer("question")
		re := s.mail("re", "ada@acme.example", "ann@own.example", root)
		s.comes(re, s.ann, provider.RoleInbox)
		s.is(re, "linked", "contact/ada address", "account/acme domain")
		m := s.answer("other", root)
		return func() { s.is(m, "linked", "contact/ada thread", "account/acme thread") }
	}},
	{promiseLinks, "R4 never from oneself, but from another of that id", func(s *scene) func() {
		offer, _ := s.offer()
		m := s.answer("forged", offer)
		m.MessageID = offer.MessageID
		s.is(m, "linked", "contact/ada thread", "account/acme thread")
		offer.References = []string{offer.MessageID}
		return func() { s.is(offer, "linked", "contact/ada address", "account/acme thread") }
	}},
	{promiseLinks, "R4 spoofed mail inherits nothing", func(s *scene) func() {
		offer, _ := s.offer()
		m := s.answer("re", offer)
		m.Spoofed = true
		return func() { s.is(m, "linked", "contact/ada thread", "account/acme thread") }
	}},
	{promiseLinks, "R4 a dropped mail gives nothing", func(s *scene) func() {
		offer, _ := s.offer()
		m := s.answer("re", offer)
		s.say(offer, false, SayDrop, nil)
		s.is(offer, "excluded")
		s.Rows[0].Reason = "dropped by a person"
		return func() { s.is(m, "linked", "contact/ada thread", "account/acme thread") }
	}},
	{promiseLinks, "R4 a mail that nobody holds gives nothing", func(s *scene) func() {
		offer, c := s.offer()
		s.Rules.Release = true
		s.goes(s.ann, c)
		s.is(offer, "linked")
		m := s.answer("re", offer)
		return func() { s.is(m, "linked", "contact/ada thread", "account/acme thread") }
	}},
	{promiseLinks, "R4 what was sent is answered under the id that its recipients saw", func(s *scene) func() {
		sent := s.outgoing()
		sent.Renamed = "new@id"
		m := s.answer("re", &Mail{MessageID: "new@id"})
		s.is(m, "linked", "contact/ada thread", "account/acme thread")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R4 circles end", func(s *scene) func() {
		a := s.answer("a")
		b := s.answer("b", a)
		a.References = []string{b.MessageID}
		return func() { s.is(b, "linked", "contact/ada thread") }
	}},

	{promiseLinks, "R5 a word on a mail is inherited by those that answer it", func(s *scene) func() {
		m := s.answer("question")
		re := s.answer("re", m)
		s.say(m, false, SayLink, s.ada)
		s.is(m, "linked", "contact/ada person")
		s.is(re, "linked", "contact/ada thread")
		return func() { s.is(re, "linked", "contact/ada person") }
	}},
	{promiseLinks, "R5 the later word counts", func(s *scene) func() {
		m, _ := s.offer()
		s.say(m, false, SayLink, s.ada)
		s.say(m, false, SayUnlink, s.ada)
		s.is(m, "linked", "account/acme domain")
		return func() { s.is(m, "linked", "contact/ada person", "account/acme domain") }
	}},
	{promiseLinks, "R5 a word that was taken back", func(s *scene) func() {
		m, _ := s.offer()
		s.say(m, false, SayUnlink, s.ada)
		s.say(m, false, SayForget, s.ada)
		return func() { s.is(m, "linked", "account/acme domain") }
	}},
	{promiseLinks, "R5 a word of a record that is merged after the other's was taken back", func(s *scene) func() {
		m, _ := s.offer()
		one := s.record("contact/one")
		s.say(m, false, SayLink, one)
		s.say(m, false, SayForget, s.ada)
		one.Into = s.ada
		s.is(m, "linked", "contact/ada person", "account/acme domain")
		return func() { s.is(m, "linked", "contact/ada address", "account/acme domain") }
	}},
	{promiseLinks, "R5 a word on a thread holds for siblings", func(s *scene) func() {
		root := s.answer("question")
		one, two := s.answer("one", root), s.answer("two", root)
		s.say(one, true, SayLink, s.ada)
		for _, m := range []*Mail{root, one, two} {
			s.is(m, "linked", "contact/ada person")
		}
		return func() { s.is(two, "unmatched") }
	}},
	{promiseLinks, "R5 a word on a thread whose top nobody has seen", func(s *scene) func() {
		root := &Mail{MessageID: "root@id"}
		one, two := s.answer("one", root), s.answer("two", root)
		s.say(one, true, SayLink, s.ada)
		s.is(one, "linked", "contact/ada person")
		s.is(two, "linked", "contact/ada person")
		return func() { s.is(two, "unmatched") }
	}},
	{promiseLinks, "R5 a namesake doesn't pull a mail into another thread", func(s *scene) func() {
		root := s.answer("question")
		m := s.answer("mine")
		forged := s.answer("forged", root)
		forged.MessageID = m.MessageID
		s.say(root, true, SayLink, s.ada)
		s.is(root, "linked", "contact/ada person")
		s.is(forged, "linked", "contact/ada person")
		return func() { s.is(m, "linked", "contact/ada person") }
	}},
	{promiseLinks, "R5 a word on another thread", func(s *scene) func() {
		one, two := s.answer("one"), s.answer("two")
		s.say(one, true, SayLink, s.ada)
		s.is(one, "linked", "contact/ada person")
		return func() { s.is(two, "linked", "contact/ada person") }
	}},
	{promiseLinks, "R5 a mail's own word before that of its thread", func(s *scene) func() {
		root := s.answer("question")
		m := s.answer("re", root)
		s.say(m, false, SayUnlink, s.ada)
		s.say(root, true, SayLink, s.ada)
		s.is(root, "linked", "contact/ada person")
		return func() { s.is(m, "linked", "contact/ada person") }
	}},
	{promiseLinks, "R5 a forgotten word of the mail lets its thread's count", func(s *scene) func() {
		root := s.answer("question")
		m := s.answer("re", root)
		s.say(root, true, SayLink, s.ada)
		s.say(m, false, SayUnlink, s.ada)
		s.say(m, false, SayForget, s.ada)
		s.is(root, "linked", "contact/ada person")
		s.is(m, "linked", "contact/ada person")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R5 without a Message-ID and an answer the thread is the mail", func(s *scene) func() {
		one, two := s.answer("one"), s.answer("two")
		one.MessageID, two.MessageID = "", ""
		s.say(one, true, SayLink, s.ada)
		s.is(one, "linked", "contact/ada person")
		return func() { s.is(two, "linked", "contact/ada person") }
	}},
	{promiseLinks, "R5 a word on the thread of such a mail is its own, and the later wins", func(s *scene) func() {
		m := s.answer("one")
		m.MessageID = ""
		s.say(m, false, SayLink, s.ada)
		s.say(m, true, SayUnlink, s.ada)
		return func() { s.is(m, "linked", "contact/ada person") }
	}},
	{promiseLinks, "R4 what may have been sent gives what it would have", func(s *scene) func() {
		sent := s.outgoing()
		s.Outbox["k1"] = "unknown"
		s.is(sent, "")
		s.Emails = nil
		s.State, s.Rows = nil, nil
		m := s.answer("re", sent)
		s.is(m, "linked", "contact/ada thread", "account/acme thread")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R5 words follow merges, the later wins where two meet", func(s *scene) func() {
		m := s.answer("question")
		eve := s.record("contact/eve")
		s.say(m, false, SayUnlink, eve)
		s.say(m, false, SayLink, s.ada)
		s.ada.Into, s.ada.Keys = eve, nil
		s.is(m, "linked", "contact/eve person")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R5 a record made anew has no words", func(s *scene) func() {
		m := s.answer("question")
		s.say(m, false, SayLink, s.ada)
		s.ada.Deleted, s.ada.Keys = true, nil
		s.record("contact/ada", "ada@acme.example")
		return func() { s.is(m, "linked", "contact/ada person") }
	}},
	{promiseLinks, "R5 a record made anew is still unwanted", func(s *scene) func() {
		m, _ := s.offer()
		s.say(m, false, SayUnlink, s.ada)
		s.ada.Deleted, s.ada.Keys = true, nil
		s.record("contact/ada", "ada@acme.example")
		s.is(m, "linked", "account/acme domain")
		return func() { s.is(m, "linked", "contact/ada address", "account/acme domain") }
	}},
	{promiseLinks, "R5 taken back on a thread that nobody knew to be the same", func(s *scene) func() {
		m, _ := s.offer()
		s.say(m, true, SayUnlink, s.ada)
		s.say(m, true, SayForget, s.ada)
		s.Words[1].Apart = []int{0}
		s.is(m, "linked", "account/acme domain")
		return func() { s.Words[1].Apart = nil }
	}},
	{promiseDropped, "R5 dropped", func(s *scene) func() {
		m, _ := s.offer()
		s.say(m, false, SayDrop, nil)
		s.is(m, "excluded")
		s.Rows[0].Reason = "dropped"
		return func() { s.is(m, "excluded", "contact/ada address", "account/acme domain") }
	}},
	{promiseDropped, "R5 dropped, and the row doesn't say it", func(s *scene) func() {
		m, _ := s.offer()
		s.say(m, true, SayDrop, nil)
		s.is(m, "excluded")
		s.Rows[0].Reason = "dropped"
		return func() { s.Rows[0].Reason = "by address ada@acme.example" }
	}},
	{promiseLinks, "R5 restored", func(s *scene) func() {
		m, _ := s.offer()
		s.say(m, true, SayDrop, nil)
		s.say(m, false, SayRestore, nil)
		return func() { s.is(m, "excluded"); s.Rows[0].Reason = "dropped" }
	}},

	{promiseHolders, "R6 every mailbox with a copy that was read", func(s *scene) func() {
		m := s.mail("offer", "ada@acme.example", "ann@own.example bob@own.example")
		s.comes(m, s.bob, provider.RoleInbox)
		s.comes(m, s.ann, provider.RoleInbox)
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		return func() { s.held(m, 1) }
	}},
	{promiseHolders, "R6 not an erased one", func(s *scene) func() {
		m := s.mail("offer", "ada@acme.example", "ann@own.example cid@own.example")
		s.comes(m, s.cid, provider.RoleInbox)
		s.comes(m, s.ann, provider.RoleInbox)
		s.cid.Erased, s.Rows = true, s.Rows[1:]
		m.To = []string{"ann@own.example"}
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		return func() { s.held(m, 1, 3) }
	}},
	{promiseLinks, "R6 the last one was erased", func(s *scene) func() {
		m, _ := s.offer()
		s.ann.Erased, s.Rows = true, nil
		s.is(m, "linked")
		return func() { s.is(m, "linked", "contact/ada address", "account/acme domain") }
	}},
	{promiseHolders, "R6 one that let go", func(s *scene) func() {
		s.Rules.Release = true
		m := s.mail("offer", "ada@acme.example", "ann@own.example bob@own.example")
		c := s.comes(m, s.bob, provider.RoleInbox)
		s.comes(m, s.ann, provider.RoleInbox)
		s.goes(s.bob, c)
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		s.held(m, 1)
		return func() { s.held(m, 1, 2) }
	}},
	{promiseLinks, "R6 a person's link keeps what was deleted", func(s *scene) func() {
		s.Rules.Release = true
		m, c := s.offer()
		s.say(m, false, SayLink, s.ada)
		s.goes(s.ann, c)
		s.is(m, "linked", "contact/ada person", "account/acme domain")
		return func() { s.is(m, "linked"); s.State[0].Envelope = true }
	}},
	{promiseHolders, "R6 a person's link comes too late to keep what was let go", func(s *scene) func() {
		s.Rules.Release = true
		m := s.mail("offer", "ada@acme.example", "ann@own.example bob@own.example")
		c := s.comes(m, s.bob, provider.RoleInbox)
		s.comes(m, s.ann, provider.RoleInbox)
		s.goes(s.bob, c)
		s.say(m, false, SayLink, s.ada)
		s.Words[0].LetGo = []int64{2}
		s.is(m, "linked", "contact/ada person", "account/acme domain")
		s.held(m, 1)
		return func() { s.Words[0].LetGo = nil }
	}},
	{promiseLinks, "R6 deleted mail is kept where it isn't let go", func(s *scene) func() {
		m, c := s.offer()
		s.goes(s.ann, c)
		return func() { s.is(m, "linked"); s.State[0].Envelope = true }
	}},

	{promiseOnce, "R7 links under two ids", func(s *scene) func() {
		s.offer()
		return func() {
			again := s.Emails[0]
			again.ID = "7"
			s.Emails, s.State = append(s.Emails, again), append(s.State, again)
		}
	}},
	{promiseOnce, "R7 reused ids are two mails", func(s *scene) func() {
		one, _ := s.offer()
		two := s.answer("forged")
		two.MessageID = one.MessageID
		return func() { s.Emails[0].Subject = "both" }
	}},
	{promiseOnce, "R7 what was joined has no links", func(s *scene) func() {
		s.offer()
		s.Emails = append(s.Emails, Email{ID: "7", Subject: "offer", Survivor: "1"})
		s.State = append(s.State, Email{ID: "7", Survivor: "1"})
		return func() { s.State[1].Links = s.State[0].Links }
	}},
	{promiseAgreement, "R7 a save was not replayed", func(s *scene) func() {
		s.offer()
		return func() { s.State[0].Revision++ }
	}},
	{promiseAgreement, "R7 the CRM has other links", func(s *scene) func() {
		m, _ := s.offer()
		return func() { s.State[0].Links = nil; s.say(m, false, SayForget, s.ada) }
	}},
	{promiseAgreement, "R7 the CRM never got it", func(s *scene) func() {
		s.offer()
		return func() { s.Emails = nil }
	}},
	{promiseAgreement, "R7 the CRM has what nobody knows", func(s *scene) func() {
		s.offer()
		return func() { s.State = nil }
	}},

	{promiseLinks, "R8 what is frozen may lack links, and never has others", func(s *scene) func() {
		m, c := s.offer()
		s.goes(s.ann, c)
		s.is(m, "linked", "contact/ada address")
		s.State[0].Envelope = false
		return func() { s.is(m, "linked", "contact/zoe address"); s.record("contact/zoe"); s.State[0].Envelope = false }
	}},
	{promiseLinks, "R8 children follow what the frozen has", func(s *scene) func() {
		offer, c := s.offer()
		s.moves(s.ann, c, provider.RoleTrash)
		s.is(offer, "unmatched")
		m := s.answer("re", offer)
		return func() { s.is(m, "linked", "contact/ada thread", "account/acme thread") }
	}},
	{promiseLinks, "R8 only while nothing can be read", func(s *scene) func() {
		m := s.mail("offer", "ada@acme.example", "cid@own.example")
		c := s.comes(m, s.cid, provider.RoleInbox)
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		s.moves(s.cid, c, provider.RoleTrash)
		return func() { s.is(m, "unmatched") }
	}},

	{promiseSend, "R9 sent twice", func(s *scene) func() {
		s.outgoing()
		return func() { s.Sends["k1"] = 2 }
	}},
	{promiseSend, "R9 failed, and accepted", func(s *scene) func() {
		m := s.mail("sent", "ann@own.example", "ada@acme.example")
		m.Key, m.By, m.Failed = "k1", s.ann, true
		s.Outbox["k1"] = "failed"
		return func() { s.Sends["k1"] = 1 }
	}},
	{promiseSend, "R9 sent, and never accepted", func(s *scene) func() {
		s.outgoing()
		return func() { s.Sends["k1"] = 0 }
	}},
	{promiseSend, "R9 unknown only over SMTP", func(s *scene) func() {
		m := s.mail("sent", "ann@own.example", "ada@acme.example")
		m.Key, m.By = "k1", s.ann
		s.Outbox["k1"] = "unknown"
		return func() { m.By = s.bob }
	}},
	{promiseSend, "R9 without an end", func(s *scene) func() {
		m := s.mail("sent", "ann@own.example", "ada@acme.example")
		m.Key, m.By = "k1", s.ann
		s.Outbox["k1"] = "unknown"
		return func() { s.Outbox["k1"] = "sending" }
	}},

	{promiseArchive, "R10 history", func(s *scene) func() {
		_, c := s.offer()
		s.Moved = []Mutation{{Box: s.ann, Subject: "offer", Times: 1}}
		return func() { c.Received = midday.Add(-time.Second) }
	}},
	{promiseArchive, "R10 before the rule was switched on", func(s *scene) func() {
		_, c := s.offer()
		s.Rules.ArchiveSince = c.Received
		s.Moved = []Mutation{{Box: s.ann, Subject: "offer", Times: 1}}
		return func() { s.Rules.ArchiveSince = c.Received.Add(time.Second) }
	}},
	{promiseArchive, "R10 twice", func(s *scene) func() {
		s.offer()
		s.Moved = []Mutation{{Box: s.ann, Subject: "offer", Times: 1}}
		return func() { s.Moved[0].Times = 2 }
	}},
	{promiseArchive, "R10 brought back", func(s *scene) func() {
		s.offer()
		s.Moved = []Mutation{{Box: s.ann, Subject: "offer", Times: 1}}
		return func() { s.Moved[0].Again = 1 }
	}},
	{promiseArchive, "R10 without links", func(s *scene) func() {
		s.offer()
		s.Moved = []Mutation{{Box: s.ann, Subject: "offer", Times: 1}}
		return func() { s.Moved[0].Bare = 1 }
	}},

	{promiseContact, "R11 for a spoofed sender", func(s *scene) func() {
		m, _ := s.made()
		return func() { m.Spoofed = true }
	}},
	{promiseContact, "R11 for an automated sender", func(s *scene) func() {
		m, _ := s.made()
		return func() { m.Automated = true }
	}},
	{promiseContact, "R11 for nobody who wrote", func(s *scene) func() {
		m, r := s.made()
		return func() {
			r.Address, r.Keys = "other@elsewhere.example", []string{"other@elsewhere.example"}
			s.is(m, "unmatched")
		}
	}},
	{promiseContact, "R11 for one of the own people", func(s *scene) func() {
		m, r := s.made()
		b := &Box{Name: "dan", Address: "dan@own.example", Kind: providertest.IMAP, Conn: 4, Connected: r.Since}
		s.Boxes = append(s.Boxes, b)
		return func() {
			b.Address, b.Connected = m.From, r.Since.Add(-time.Second)
			s.is(m, "internal")
		}
	}},
	{promiseContact, "R11 twice", func(s *scene) func() {
		m, r := s.made()
		return func() {
			*s.record("contact/second", r.Keys...) = Record{Record: recordOf("contact/second"), Keys: r.Keys, Had: r.Keys, Created: true,
				Address: r.Address, Since: r.Since.Add(time.Hour)}
			s.is(m, "linked", "contact/new address", "contact/second address")
		}
	}},
	{promiseContact, "R11 made anew without new mail", func(s *scene) func() {
		m, r := s.made()
		r.Deleted, r.Until, r.Keys = true, r.Since.Add(time.Minute), nil
		*s.record("contact/second") = Record{Record: recordOf("contact/second"), Keys: r.Had, Had: r.Had, Created: true,
			Address: r.Address, Since: r.Since.Add(time.Hour)}
		s.is(m, "linked", "contact/second address")
		return func() { r.Decided = []*Mail{m} }
	}},
	{promiseContact, "R11 none was made", func(s *scene) func() {
		m, r := s.made()
		s.AlwaysCreate = true
		return func() {
			s.Records = slices.DeleteFunc(s.Records, func(o *Record) bool { return o == r })
			s.is(m, "unmatched")
		}
	}},

	{promiseContact, "R11 none was made, and another mail was dropped", func(s *scene) func() {
		m, r := s.made()
		other := s.mail("other", "ada@acme.example", "ann@own.example")
		s.comes(other, s.ann, provider.RoleInbox)
		s.is(other, "linked", "contact/ada address", "account/acme domain")
		s.AlwaysCreate = true
		s.say(other, true, SayDrop, nil)
		s.say(other, true, SayRestore, nil)
		return func() {
			s.Records = slices.DeleteFunc(s.Records, func(o *Record) bool { return o == r })
			s.is(m, "unmatched")
		}
	}},
	{promiseContact, "R11 none was made of a mail that was dropped after it was decided, and restored", func(s *scene) func() {
		root := s.answer("root")
		s.clock = s.clock.Add(time.Hour)
		m := s.mail("question", "una@unknown.example", "ann@own.example", root)
		s.comes(m, s.ann, provider.RoleInbox)
		s.AlwaysCreate = true
		s.record("contact/gone").Had = []string{root.From}
		s.say(root, true, SayDrop, nil)
		s.say(root, true, SayRestore, nil)
		return func() { s.Words[0].Decided = []*Mail{root, m} }
	}},

	{promiseWake, "R12 a wake", func(s *scene) func() {
		s.offer()
		return func() { s.Wakes = []string{"connection 1 was woken 3 times and served 2"} }
	}},

	{promiseRow, "it was not to be imported, and was read", func(s *scene) func() {
		s.imports(2)
		s.early(72 * time.Hour)
		s.Rows[0].Fate = "unread"
		return func() { s.Rows[0].Fate = "unmatched" }
	}},
	{promiseRow, "it was to be imported by a wider window, and has no row", func(s *scene) func() {
		s.imports(4)
		s.early(72 * time.Hour)
		return func() { s.Rows = nil }
	}},
	{promiseRow, "the window is wider by now, and it was listed only", func(s *scene) func() {
		s.imports(2)
		s.early(72 * time.Hour)
		s.imports(4)
		return func() { s.Rows[0].Fate = "unread" }
	}},
	{promiseRow, "a person of the CRM is in it, and it was listed only", func(s *scene) func() {
		s.Rules.PeopleFirst, s.bob.First = true, true
		m := s.early(time.Hour)
		m.From = "ada@acme.example"
		s.is(m, "linked", "contact/ada address", "account/acme domain")
		return func() { s.Rows[0].Fate = "unread"; s.Emails, s.State = nil, nil }
	}},
	{promiseRow, "nobody in it was ever one of the CRM, and it was read", func(s *scene) func() {
		s.Rules.PeopleFirst, s.bob.First = true, true
		s.early(time.Hour)
		s.Rows[0].Fate = "unread"
		return func() { s.Rows[0].Fate = "unmatched" }
	}},
	{promiseRow, "people come first no more, and it was listed only", func(s *scene) func() {
		s.early(time.Hour)
		return func() { s.Rows[0].Fate = "unread" }
	}},
	{promiseRow, "it came since the mailbox was connected, and was listed only", func(s *scene) func() {
		s.Rules.PeopleFirst, s.bob.First = true, true
		s.early(-time.Hour)
		return func() { s.Rows[0].Fate = "unread" }
	}},

	{promiseLinks, "R14 what the host had has its links", func(s *scene) func() {
		m := s.had()
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R14 what hangs on a record of the host's is not found", func(s *scene) func() {
		m := s.had()
		s.deal("d", s.ada)
		return func() { s.is(m, "linked", "contact/ada host", "opportunity/d related") }
	}},
	{promiseLinks, "R14 they stand whatever is excluded", func(s *scene) func() {
		m := s.had()
		s.Rules.Excluded = []string{"elsewhere.example"}
		return func() { s.is(m, "excluded") }
	}},
	{promiseLinks, "R14 they are inherited", func(s *scene) func() {
		m := s.answer("re", s.had())
		s.is(m, "linked", "contact/ada thread")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R14 they are withdrawn", func(s *scene) func() {
		m := s.had()
		s.Declared[0].Records = nil
		s.is(m, "unmatched")
		return func() { s.is(m, "linked", "contact/ada host") }
	}},
	{promiseLinks, "R14 a person took one off", func(s *scene) func() {
		m := s.had()
		s.say(m, false, SayUnlink, s.ada)
		s.is(m, "unmatched")
		return func() { s.is(m, "linked", "contact/ada host") }
	}},
	{promiseLinks, "R14 a person says so, too", func(s *scene) func() {
		m := s.had()
		s.say(m, false, SayLink, s.ada)
		s.is(m, "linked", "contact/ada person")
		return func() { s.is(m, "linked", "contact/ada host") }
	}},
	{promiseLinks, "R14 they are stronger than an address", func(s *scene) func() {
		m, _ := s.offer()
		s.declares("own-1", m, "", s.ada)
		s.is(m, "linked", "contact/ada host", "account/acme domain")
		s.known(m, "own-1")
		return func() { s.is(m, "linked", "contact/ada address", "account/acme domain") }
	}},
	{promiseLinks, "R14 they follow a merge", func(s *scene) func() {
		m := s.had()
		zoe := s.record("contact/zoe")
		s.ada.Into, s.ada.Keys = zoe, nil
		s.is(m, "linked", "contact/zoe host")
		return func() { s.is(m, "unmatched") }
	}},
	{promiseLinks, "R14 one that was deleted is not the one that is made anew", func(s *scene) func() {
		m := s.had()
		s.ada.Deleted, s.ada.Keys = true, nil
		s.record("contact/ada", "ada@acme.example")
		s.is(m, "unmatched")
		return func() { s.is(m, "linked", "contact/ada host") }
	}},
	{promiseLinks, "R14 who names the author counts before who doesn't", func(s *scene) func() {
		m := s.answer("old")
		s.declares("own-1", m, "", s.ada)
		s.declares("own-2", m, m.From, s.acme)
		s.is(m, "linked", "account/acme host")
		s.known(m, "own-2")
		return func() { s.is(m, "linked", "contact/ada host"); s.known(m, "own-2") }
	}},
	{promiseLinks, "R14 what it was found to be it stays", func(s *scene) func() {
		m := s.had()
		s.declares("own-2", m, m.From, s.acme)
		return func() { s.is(m, "linked", "account/acme host") }
	}},
	{promiseLinks, "R14 it is only one of two with its Message-ID", func(s *scene) func() {
		first := s.had()
		m := s.answer("namesake")
		m.MessageID = first.MessageID
		return func() { s.is(m, "linked", "contact/ada host") }
	}},
	{promiseLinks, "R14 one that is forged is not it", func(s *scene) func() {
		m := s.answer("old")
		m.Spoofed = true
		s.declares("own-1", m, "", s.ada)
		return func() { s.is(m, "linked", "contact/ada host") }
	}},
	{promiseLinks, "R14 one of another author is not it", func(s *scene) func() {
		m := s.answer("old")
		s.declares("own-1", m, "zoe@acme.example", s.ada)
		return func() { s.is(m, "linked", "contact/ada host") }
	}},
	{promiseLinks, "R14 what no mailbox shows is not it", func(s *scene) func() {
		m := s.outgoing()
		zoe := s.record("contact/zoe")
		s.declares("own-1", m, "", zoe)
		return func() { s.is(m, "", "contact/ada address", "account/acme domain", "contact/zoe host"); s.held(m, 1) }
	}},
	{promiseDeclared, "it is linked, and not known", func(s *scene) func() {
		m := s.had()
		return func() { s.known(m, ""); s.Met.Met = 0 }
	}},
	{promiseDeclared, "declared without records, it is known where it links by the rules", func(s *scene) func() {
		m, _ := s.offer()
		s.declares("own-1", m, "")
		s.known(m, "own-1")
		return func() { s.known(m, ""); s.Met.Met = 0 }
	}},
	{promiseDeclared, "it is known as what was not declared", func(s *scene) func() {
		m, _ := s.offer()
		s.declares("own-1", s.answer("other"), "")
		return func() { s.known(m, "own-1") }
	}},
	{promiseDeclared, "a declaration is missing", func(s *scene) func() {
		s.had()
		return func() { s.Met.Declared-- }
	}},
	{promiseDeclared, "one too many is met", func(s *scene) func() {
		s.had()
		return func() { s.Met.Met++ }
	}},
	{promiseOwn, "two emails are the host's one", func(s *scene) func() {
		first := s.had()
		m, _ := s.offer()
		m.MessageID = first.MessageID
		return func() { s.known(m, "own-1") }
	}},
	{promiseOwn, "the row of the host's own went to what an erased email was", func(s *scene) func() {
		s.had()
		return func() { s.Owner["own-1"] = "7" }
	}},
	{promiseAgreement, "the CRM doesn't know that it is its own", func(s *scene) func() {
		m := s.had()
		return func() { e, _ := s.email(m); e.HostID = "" }
	}},
	{promiseHolders, "R14 a deletion takes nothing from what is the host's", func(s *scene) func() {
		s.Rules.Release = true
		m := s.had()
		s.comes(m, s.bob, provider.RoleInbox)
		s.is(m, "linked", "contact/ada host")
		s.known(m, "own-1")
		s.Met.Met--
		s.goes(s.ann, s.ann.Copies[0])
		return func() { s.held(m, 2) }
	}},
	{promiseHolders, "R14 what was deleted before it was declared is let go", func(s *scene) func() {
		s.Rules.Release = true
		m, c := s.offer()
		s.comes(m, s.bob, provider.RoleInbox)
		s.goes(s.ann, c)
		s.is(m, "linked", "contact/ada host", "account/acme domain")
		s.held(m, 2)
		s.declares("own-1", m, "", s.ada)
		s.known(m, "own-1")
		return func() { s.held(m, 1, 2, 3) }
	}},
}

// imports sets how many days are to be imported, of every mailbox.
func (s *scene) imports(days int) {
	s.Rules.ImportDays = days
	for _, b := range s.Boxes {
		b.Days = days
	}
}

// early is a mail of a stranger that came to bob so long before his mailbox was connected.
func (s *scene) early(before time.Duration) *Mail {
	m := s.mail("early", "someone@elsewhere.example", "bob@own.example")
	s.comes(m, s.bob, provider.RoleInbox).Received = s.bob.Connected.Add(-before)
	return m
}

// declares says that the host had a mail before, with records.
func (s *scene) declares(host string, m *Mail, author string, rs ...*Record) {
	s.Declared = append(s.Declared, Declared{Host: host, MessageID: m.MessageID, Author: author, Records: rs})
	s.Met.Declared++
}

// known makes the email of a mail that of the host's.
func (s *scene) known(m *Mail, host string) {
	e, stored := s.email(m)
	e.HostID, stored.HostID = host, host
	s.Kept[e.ID], s.Owner[host] = e.Holders, e.ID
	s.Met.Met++
}

// had is a mail of a stranger that the host had, linked to ada.
func (s *scene) had() *Mail {
	m := s.answer("old")
	s.declares("own-1", m, "", s.ada)
	s.is(m, "linked", "contact/ada host")
	s.known(m, "own-1")
	return m
}

// made is a mail of a stranger for whom the engine made a contact.
func (s *scene) made() (*Mail, *Record) {
	m := s.answer("question")
	r := s.record("contact/new", m.From)
	r.Created, r.Address, r.Since = true, m.From, s.clock
	s.Rules.CreateContacts = true
	s.is(m, "linked", "contact/new address")
	return m, r
}

func TestTheOracleHasTeeth(t *testing.T) {
	rules := map[string]bool{}
	for _, c := range teeth {
		t.Run(c.name, func(t *testing.T) {
			s := newScene()
			wrong := c.build(s)
			if v := Check(s.Truth, s.Observed); len(v) > 0 {
				t.Fatalf("nothing is wrong, and it says:\n%s", lines(v))
			}
			wrong()
			v := Check(s.Truth, s.Observed)
			if !slices.ContainsFunc(v, func(v Violation) bool { return strings.HasPrefix(string(v), c.promise+": ") }) {
				t.Errorf("it doesn't see that %q is broken, but:\n%s", c.promise, lines(v))
			}
		})
		rule, _, _ := strings.Cut(c.promise, " ")
		if named, _, _ := strings.Cut(c.name, " "); named[0] == 'R' && len(named) < 4 {
			rule = named
		}
		rules[rule] = true
	}
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14} {
		if !rules[fmt.Sprintf("R%d", n)] {
			t.Errorf("nothing shows that R%d has a tooth", n)
		}
	}
}

func lines(vs []Violation) string {
	var out []string
	for _, v := range vs {
		out = append(out, string(v))
	}
	return cmp.Or(strings.Join(out, "\n"), "(nothing)")
}

// crowd is a world of many mails in long threads, with words on them, in which all is right.
func crowd(mails int) *scene {
	s := newScene()
	s.Rules.Opportunities = true
	s.deal("d", s.acme)
	all := []string{"contact/ada address", "account/acme domain", "opportunity/d related"}
	inherits := []string{"contact/ada thread", "account/acme thread", "opportunity/d related"}
	var thread []*Mail
	for i := range mails {
		if i%10 == 0 {
			m := s.mail(fmt.Sprintf("root %d", i), "ada@acme.example", "ann@own.example bob@own.example")
			s.comes(m, s.ann, provider.RoleInbox)
			s.comes(m, s.bob, provider.RoleInbox)
			s.is(m, "linked", all...)
			thread = []*Mail{m}
			continue
		}
		m := s.answer(fmt.Sprintf("re %d", i), thread...)
		s.is(m, "linked", inherits...)
		thread = append(thread, m)
		if i%10 == 5 {
			zoe := s.record(fmt.Sprintf("contact/zoe%d", i))
			s.say(m, true, SayLink, zoe)
			s.say(m, true, SayForget, zoe)
		}
	}
	return s
}

func TestARightWorldHasNoViolation(t *testing.T) {
	s := crowd(100)
	if v := Check(s.Truth, s.Observed); len(v) > 0 {
		t.Errorf("%s", lines(v))
	}
	if len(s.Emails) != 100 || len(s.Rows) != 110 {
		t.Errorf("%d emails, %d rows", len(s.Emails), len(s.Rows))
	}
}

func BenchmarkCheck(b *testing.B) {
	s := crowd(100)
	for b.Loop() {
		Check(s.Truth, s.Observed)
	}
}

// A word on a mail holds for no namesake, and may where nobody could tell them apart when it was said.
func TestAWordAndANamesake(t *testing.T) {
	for _, whichever := range []bool{true, false} {
		s := newScene()
		one, two := s.answer("one"), s.answer("two")
		two.MessageID = one.MessageID
		s.say(one, false, SayLink, s.ada)
		s.Words[0].Whichever = whichever
		s.is(one, "linked", "contact/ada person")
		for _, links := range [][]string{nil, {"contact/ada person"}} {
			s.is(two, map[bool]string{true: "linked", false: "unmatched"}[links != nil], links...)
			if v := Check(s.Truth, s.Observed); (len(v) == 0) != (whichever || links == nil) {
				t.Errorf("whichever %v, with %v, it says:\n%s", whichever, links, lines(v))
			}
		}
	}
}

// What an erasure tore either way is right, and nothing else is.
func TestAWordOnAThreadThatAnErasureTore(t *testing.T) {
	for _, c := range []struct {
		name  string
		links []string
		right bool
	}{
		{"it is kept", []string{"contact/ada person"}, true},
		{"it went with the mailbox", nil, true},
		{"something else", []string{"contact/ada thread"}, false},
	} {
		s := newScene()
		root := &Mail{MessageID: "root@id"}
		one := s.answer("one", root)
		s.say(one, true, SayLink, s.ada)
		s.is(one, "linked", "contact/ada person")
		if v := Check(s.Truth, s.Observed); len(v) > 0 {
			t.Fatalf("%s", lines(v))
		}
		before := s.heldFor(s.Observed)
		s.ann.Erased, s.Rows = true, nil
		s.is(one, "", nil...)
		s.tear(before, s.Observed)
		two := s.mail("two", "someone@elsewhere.example", "bob@own.example", root)
		s.comes(two, s.bob, provider.RoleInbox)
		s.is(two, map[bool]string{true: "linked", false: "unmatched"}[c.links != nil], c.links...)
		if v := Check(s.Truth, s.Observed); (len(v) == 0) != c.right {
			t.Errorf("%s: right is %v, and it says:\n%s", c.name, c.right, lines(v))
		}
	}
}

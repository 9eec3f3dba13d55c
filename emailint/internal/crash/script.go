package crash

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// step is some days of the scenario: something happens, the host calls the engine, and every mailbox is synced until nothing is
// outstanding. A crash may come anywhere in the last two.
type step struct {
	name  string
	world func(w *world, day time.Time) // once, whatever crashes
	host  []func(w *world) error        // each repeated until it ends well
}

var (
	ada      = linker.Record{Kind: linker.Contact, ID: "ada"}
	pat      = linker.Record{Kind: linker.Contact, ID: "pat"}
	santa    = linker.Record{Kind: linker.Contact, ID: "santa"}
	zoe      = linker.Record{Kind: linker.Contact, ID: "zoe"}
	lee      = linker.Record{Kind: linker.Lead, ID: "lee"}
	customer = linker.Record{Kind: linker.Account, ID: "customer"}
	deal     = linker.Record{Kind: linker.Opportunity, ID: "deal"}
)

const (
	fromAda = "Ada <ada@customer.example>"
	fromPat = "Pat <pat@partner.example>"
	auto    = "Auto-Submitted: auto-generated\r\n"
)

// script comes by every failpoint that is not marked as unreached.
var script = []step{
	{name: "settings",
		world: func(w *world, _ time.Time) {
			w.crm.Add(org, ada, "Ada", "ada@customer.example")
			w.crm.Add(org, pat, "Pat", "pat@partner.example")
			w.crm.Add(org, lee, "Lee", "lee@lead.example")
			w.crm.Add(org, customer, "Customer", "customer.example")
			w.crm.Relate(org, ada, linker.Related{Record: customer})
			w.crm.Relate(org, customer, linker.Related{Record: deal, Opened: day0.AddDate(-1, 0, 0)})
		},
		host: []func(w *world) error{func(w *world) error {
			return w.settings(func(s *emailint.Settings) {
				s.Rules.CreateContacts, s.Rules.Opportunities = true, true
				s.Inbox = []emailint.InboxRule{
					{ID: "archive", On: true, Do: emailint.ArchiveMail, Kinds: []linker.Kind{linker.Lead}},
					{ID: "label", On: true, Do: emailint.LabelMail, Label: "CRM", Users: []string{"bob"}},
				}
			})
		}}},

	{name: "import", // history in several pages, a reply before the mail it answers, the same mail in two mailboxes
		world: func(w *world, day time.Time) {
			ann, bob := w.boxes[0], w.boxes[1]
			old := func(b *box, m mail, hours int, r provider.Role) {
				w.deliver(b, m, day.Add(time.Duration(hours-96)*time.Hour), r)
			}
			old(ann, mail{name: "old-junk", from: "x@spam.example"}, 1, provider.RoleJunk)
			old(ann, mail{name: "old-both", from: fromAda, to: "ann@own.example, bob@own.example"}, 2, provider.RoleInbox)
			old(ann, mail{name: "old-reply", from: "private@elsewhere.example", re: id("old-both")}, 3, provider.RoleInbox)
			old(ann, mail{name: "old-new", from: "Nora <nora@fresh.example>"}, 4, provider.RoleInbox)
			old(ann, mail{name: "old-letter", from: "news@letters.example", extra: "List-Unsubscribe: <https://letters.example/x>\r\n"}, 5, provider.RoleInbox)
			old(ann, mail{name: "old-sent", from: "ann@own.example", to: "pat@partner.example"}, 6, provider.RoleSent)
			old(ann, mail{name: "old-zoe", from: fromPat, extra: "Cc: zoe@nowhere.example\r\n"}, 7, provider.RoleInbox)
			old(bob, mail{name: "old-both", from: fromAda, to: "ann@own.example, bob@own.example"}, 2, provider.RoleInbox)
			old(bob, mail{name: "old-internal", from: "ann@own.example"}, 3, provider.RoleInbox)
			// No contact is made of automated mail; it is found when one is made of him (rule 5).
			old(bob, mail{name: "old-olaf", from: "Olaf <olaf@novel.example>", extra: auto}, 5, provider.RoleInbox)
			old(bob, mail{name: "old-gift", from: "gift@presents.example", extra: auto}, 6, provider.RoleInbox)
			old(bob, mail{name: "old-pat", from: fromPat}, 4, provider.RoleInbox)
		},
		host: []func(w *world) error{
			func(w *world) error { return w.connect(w.boxes[0]) },
			func(w *world) error { return w.connect(w.boxes[1]) },
		}},

	{name: "live", // unknown senders become contacts, automated mail, spam and trash, one mail in two mailboxes
		world: func(w *world, day time.Time) {
			ann, bob := w.boxes[0], w.boxes[1]
			in := arrivals(w, day)
			in(ann, mail{name: "both", from: fromAda, to: "ann@own.example, bob@own.example"}, provider.RoleInbox)
			in(ann, mail{name: "new-1", from: "Ned <ned@novel.example>"}, provider.RoleInbox)
			in(ann, mail{name: "new-2", from: "Ned <ned@novel.example>", re: id("new-1")}, provider.RoleInbox)
			in(ann, mail{name: "robot", from: "robot@customer.example", extra: auto}, provider.RoleInbox)
			in(ann, mail{name: "robot-nobody", from: "robot@nobody.example", extra: auto}, provider.RoleInbox)
			in(ann, mail{name: "junk", from: fromPat}, provider.RoleJunk)
			in(ann, mail{name: "trash", from: fromPat}, provider.RoleTrash)
			in(ann, mail{name: "draft", from: "ann@own.example", to: "pat@partner.example"}, provider.RoleDrafts)
			in(bob, mail{name: "both", from: fromAda, to: "ann@own.example, bob@own.example"}, provider.RoleInbox)
			// The sender's copy knows more than the receiver's.
			memo := mail{name: "memo", from: "ann@own.example", to: "bob@own.example", extra: "Cc: ada@customer.example\r\n"}
			in(bob, memo, provider.RoleInbox)
			memo.extra += "Bcc: pat@partner.example\r\n"
			in(ann, memo, provider.RoleSent)
			in(bob, mail{name: "new-3", from: "Ned <ned@novel.example>"}, provider.RoleInbox)
		}},

	{name: "orphan", // replies to a mail that nobody has shown yet
		world: func(w *world, day time.Time) {
			in := arrivals(w, day)
			in(w.boxes[0], mail{name: "child", from: auto0, re: id("parent"), extra: auto}, provider.RoleInbox)
			in(w.boxes[0], mail{name: "grandchild", from: auto0, re: id("child"), extra: auto}, provider.RoleInbox)
		}},
	{name: "parent", // it comes late, and in another mailbox
		world: func(w *world, day time.Time) {
			arrivals(w, day)(w.boxes[1], mail{name: "parent", from: fromPat}, provider.RoleInbox)
		}},

	{name: "moves", // a move is not a deletion, and a deletion is not the end of what the CRM has
		world: func(w *world, day time.Time) {
			ann := w.boxes[0]
			w.move(ann, "both", provider.RoleArchive)
			w.move(ann, "new-2", provider.RoleTrash)
			w.move(ann, "junk", provider.RoleInbox)
			w.expunge(ann, "old-letter")
			w.expunge(ann, "old-reply")
		}},

	{name: "restart", // a folder whose ids are void, or a history that expired
		world: func(w *world, day time.Time) {
			ann := w.boxes[0]
			w.expunge(ann, "robot-nobody")
			ann.service.Reset(provider.RoleInbox)
			arrivals(w, day)(ann, mail{name: "after-restart", from: fromAda}, provider.RoleInbox)
			ann.note()
		}},

	{name: "send", host: []func(w *world) error{func(w *world) error {
		return w.send(w.boxes[0], mail{name: "offer", from: "ann@own.example", to: "ada@customer.example"})
	}}},
	{name: "send-lost-after",
		world: func(w *world, _ time.Time) { w.boxes[0].service.Lose(providertest.LostAfter) },
		host: []func(w *world) error{func(w *world) error {
			return w.send(w.boxes[0], mail{name: "offer-after", from: "ann@own.example", to: "pat@partner.example"})
		}}},
	{name: "send-lost-before",
		world: func(w *world, _ time.Time) { w.boxes[0].service.Lose(providertest.LostBefore) },
		host: []func(w *world) error{func(w *world) error {
			return w.send(w.boxes[0], mail{name: "offer-before", from: "ann@own.example", to: "pat@partner.example"})
		}}},
	{name: "send-bob", // whose service files no copy in Sent, while the CRM refuses a save
		world: func(w *world, _ time.Time) { w.spite.Store(1) },
		host: []func(w *world) error{func(w *world) error {
			return w.send(w.boxes[1], mail{name: "offer-bob", from: "bob@own.example", to: "ada@customer.example"})
		}}},
	{name: "answer", // to what we sent, under the Message-ID that the recipient saw, from an address nobody knows
		world: func(w *world, day time.Time) {
			arrivals(w, day)(w.boxes[1], mail{name: "answer", from: auto0, re: w.sentID("offer"), extra: auto}, provider.RoleInbox)
		}},

	{name: "rules",
		world: func(w *world, day time.Time) {
			in := arrivals(w, day)
			in(w.boxes[0], mail{name: "lead", from: "Lee <lee@lead.example>", extra: "Cc: ada@customer.example\r\n"}, provider.RoleInbox)
		},
		host: []func(w *world) error{func(w *world) error {
			return w.settings(func(s *emailint.Settings) { s.Rules.Leads, s.Rules.Opportunities = true, false })
		}}},

	{name: "undo", // what the rules of the inbox did
		host: []func(w *world) error{
			func(w *world) error { return w.undo("lead") },
			func(w *world) error { return w.undo("both") },
		}},

	{name: "outage", // of the CRM, for the first three passes
		world: func(w *world, day time.Time) {
			in := arrivals(w, day)
			in(w.boxes[0], mail{name: "in-outage", from: fromAda}, provider.RoleInbox)
			in(w.boxes[0], mail{name: "new-in-outage", from: "Olaf <olaf@novel.example>"}, provider.RoleInbox)
			in(w.boxes[1], mail{name: "bob-in-outage", from: fromPat, re: id("both")}, provider.RoleInbox)
			w.down = 3
		}},

	{name: "person", // corrects a link; the CRM has forgotten an email and must be given it in full
		world: func(w *world, _ time.Time) {
			for _, e := range w.crm.Emails(org) {
				if e.Message.Subject == "both" {
					must(w.crm.RemoveEmails(w.ctx, org, []crm.EmailState{{ID: e.ID, Revision: e.Revision}}))
				}
			}
		},
		host: []func(w *world) error{func(w *world) error {
			return w.correct("both", emailint.Correction{Link: []linker.Record{lee}, Unlink: []linker.Record{customer}})
		}}},

	{name: "records", // contacts are made in the CRM whose mail came long ago; of one it tells
		world: func(w *world, _ time.Time) {
			w.crm.Add(org, zoe, "Zoe", "zoe@nowhere.example")
			w.crm.Add(org, santa, "Santa", "gift@presents.example")
			w.untold = append(w.untold, emailint.RecordChange{Kind: emailint.RecordCreated, Record: santa, Addresses: []string{"gift@presents.example"}})
		},
		host: []func(w *world) error{func(w *world) error {
			return w.engine.RecordsChanged(w.ctx, org, emailint.RecordChange{Kind: emailint.RecordCreated, Record: zoe, Addresses: []string{"Zoe@Nowhere.example"}})
		}}},

	{name: "declare", // emails that the CRM had before: one that is to come, one that was met and links to nothing, one that never comes
		world: func(w *world, day time.Time) {
			for _, own := range []string{"own-1", "own-2", "own-3"} {
				w.crm.Had(org, own)
			}
			arrivals(w, day)(w.boxes[0], mail{name: "declared", from: auto0, extra: auto}, provider.RoleInbox)
		},
		host: []func(w *world) error{
			func(w *world) error {
				_, err := w.engine.Declare(w.ctx, org, emailint.DeclaredEmail{ID: "own-1", MessageID: id("declared"), Records: []linker.Record{pat}},
					emailint.DeclaredEmail{ID: "own-2", MessageID: id("old-internal"), From: "ann@own.example", Records: []linker.Record{zoe}},
					emailint.DeclaredEmail{ID: "own-3", MessageID: id("never"), Records: []linker.Record{zoe}})
				return err
			},
			func(w *world) error { _, err := w.engine.Declared(w.ctx, org); return err },
		}},

	{name: "release", // from now on a deletion ends a mailbox's hold: of one mail that another holds too, of one that nobody else holds
		world: func(w *world, day time.Time) {
			w.expunge(w.boxes[0], "memo")
			w.expunge(w.boxes[1], "old-pat")
			arrivals(w, day)(w.boxes[1], mail{name: "to-be-purged", from: fromPat}, provider.RoleInbox)
		},
		host: []func(w *world) error{func(w *world) error {
			return w.settings(func(s *emailint.Settings) { s.OnDelete = emailint.ReleaseDeleted })
		}}},
	{name: "trash", // is no deletion
		world: func(w *world, _ time.Time) { w.move(w.boxes[1], "to-be-purged", provider.RoleTrash) }},
	{name: "purge", // is one
		world: func(w *world, _ time.Time) { w.expunge(w.boxes[1], "to-be-purged") }},
	{name: "hole", // mail that the service never told of is found by comparing
		world: func(w *world, day time.Time) {
			arrivals(w, day)(w.boxes[0], mail{name: "untold", from: fromPat}, provider.RoleInbox)
			w.boxes[0].service.Forget()
		},
		host: []func(w *world) error{func(w *world) error {
			_, err := w.engine.Reconcile(w.ctx, org, w.boxes[0].conn, provider.Window{})
			return err
		}}},

	{name: "rules-again", // what is deleted is not brought back by deciding it again
		host: []func(w *world) error{func(w *world) error {
			return w.settings(func(s *emailint.Settings) { s.Rules.Opportunities = true })
		}}},

	{name: "reconnect",
		world: func(w *world, day time.Time) {
			arrivals(w, day)(w.boxes[0], mail{name: "last", from: fromAda, re: id("offer")}, provider.RoleInbox)
		},
		host: []func(w *world) error{
			func(w *world) error { return w.connect(w.boxes[0]) },
			func(w *world) error { return w.engine.Wake(w.ctx, org, w.boxes[0].conn) },
			func(w *world) error { _, err := w.engine.Status(w.ctx, org, w.boxes[0].conn); return err },
			func(w *world) error { _, err := w.engine.Explain(w.ctx, org, id("both")); return err },
		}},

	{name: "through", // a reply of bob's whose thread leads through a mail that only ann has, and her copy of a mail that he has too
		world: func(w *world, day time.Time) {
			ann, bob, in := w.boxes[0], w.boxes[1], arrivals(w, day)
			in(bob, mail{name: "top", from: fromPat}, provider.RoleInbox)
			in(ann, mail{name: "middle", from: auto0, re: id("top"), extra: auto}, provider.RoleInbox)
			in(bob, mail{name: "below", from: auto0, re: id("middle"), extra: auto}, provider.RoleInbox)
			note := mail{name: "note", from: "ann@own.example", to: "bob@own.example", extra: "Cc: ada@customer.example\r\n"}
			in(bob, note, provider.RoleInbox)
			note.extra += "Bcc: pat@partner.example\r\n"
			in(ann, note, provider.RoleSent)
			in(ann, mail{name: "hers", from: fromAda}, provider.RoleInbox)
		}},
	{name: "erase", host: []func(w *world) error{func(w *world) error { return w.erase(w.boxes[0]) }}},
	{name: "anew", // the same mailbox is another one now
		world: func(w *world, day time.Time) {
			arrivals(w, day)(w.boxes[1], mail{name: "to-ann", from: fromAda, to: "bob@own.example", extra: "Cc: ann@own.example\r\n"}, provider.RoleInbox)
		},
		host: []func(w *world) error{
			func(w *world) error { return w.connect(w.boxes[0]) },
			func(w *world) error { return w.engine.Relink(w.ctx) },
		}},
}

// auto0 is a sender nobody knows and of whom no contact is made, as its mail is automated.
const auto0 = "robot@elsewhere.example"

// arrivals delivers mail a second apart.
func arrivals(w *world, day time.Time) func(b *box, m mail, role provider.Role) {
	return func(b *box, m mail, role provider.Role) {
		day = day.Add(time.Second)
		w.deliver(b, m, day, role)
	}
}

// correct says a person's word on the email that is a mail.
func (w *world) correct(name string, c emailint.Correction) error {
	_, es, err := w.own.Lookup(w.ctx, org, state.Hash(w.hasher.MessageID(id(name))))
	if err != nil {
		return err
	}
	if len(es) != 1 {
		return fmt.Errorf("%d emails are %s", len(es), name)
	}
	c.Email = strconv.FormatInt(es[0].ID, 10)
	return w.engine.Correct(w.ctx, org, c)
}

// undo takes back what rules did to a mail.
func (w *world) undo(name string) error {
	_, es, err := w.own.Lookup(w.ctx, org, state.Hash(w.hasher.MessageID(id(name))))
	if err != nil {
		return err
	}
	undone := 0
	for _, e := range es {
		is, err := w.own.IntentsOf(w.ctx, org, e.ID)
		if err != nil {
			return err
		}
		for _, i := range is {
			if _, err := w.engine.Undo(w.ctx, org, i.ID); err != nil {
				return err
			}
			if _, err := w.engine.Mutations(w.ctx, org, i.Connection, 0, 10); err != nil {
				return err
			}
			undone++
		}
	}
	if undone == 0 {
		return fmt.Errorf("no rule did anything to %s", name)
	}
	return nil
}

// exclude is the exclusion that the disturbed runs add.
func exclude(s *emailint.Settings) {
	s.Rules.ExcludedDomains = append(s.Rules.ExcludedDomains, linker.Exclusion{Domain: "partner.example", Reach: linker.ReachEverything})
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Fake is a Service over providertest's fake, of a personality, with small pages.
func Fake(p providertest.Personality) func(address string, now func() time.Time) Service {
	return func(address string, now func() time.Time) Service {
		f := providertest.NewFake(p, provider.Profile{Address: address, Subject: address}, now)
		f.SetPageSize(3)
		s := &fakeService{f, p, Draft}
		if p == providertest.IMAP {
			s.proof = SentCopy
			if address == "bob@own.example" { // a poorer server
				s.proof = Nothing
				f.NoSentCopy(true)
				f.NoKeywords(true)
			}
		}
		return s
	}
}

type fakeService struct {
	*providertest.Fake
	personality providertest.Personality
	proof       Proof
}

func (s *fakeService) Open(ctx context.Context) (provider.Mailbox, error) {
	return s.Fake.Provider().Open(ctx, nil)
}
func (s *fakeService) Sender() provider.Sender  { return s.Fake }
func (s *fakeService) Proof() Proof             { return s.proof }
func (s *fakeService) Lose(l providertest.Loss) { s.LoseOutcome(l) }
func (s *fakeService) Reset(role provider.Role) { s.ResetFolder(role) }

package emailint_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider/providertest"
)

var (
	acme = linker.Record{Kind: linker.Account, ID: "acme"}
	deal = linker.Record{Kind: linker.Opportunity, ID: "deal"}
	bert = linker.Record{Kind: linker.Contact, ID: "bert"}
)

// links returns the links that the CRM has of a mail, "" for none.
func links(w *emailinttest.World, messageID string) string {
	var out []string
	for _, e := range w.CRM.Emails(emailinttest.Org) {
		if e.Message.MessageID != messageID {
			continue
		}
		for _, l := range e.Links {
			out = append(out, string(l.Kind)+"/"+l.ID+" by "+string(l.By))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func drained(t *testing.T, w *emailinttest.World) {
	t.Helper()
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, w *emailinttest.World, messageID, links_ string) {
	t.Helper()
	if got := links(w, messageID); got != links_ {
		t.Errorf("%s is linked to %q, want %q", messageID, got, links_)
	}
}

// Each kind of change reaches the mail that it concerns, and no other call is needed.
func TestRecordsChangedRelinksMail(t *testing.T) {
	for _, c := range []struct {
		name   string
		setup  func(w *emailinttest.World)
		change func(w *emailinttest.World) emailint.RecordChange
		from   string // who writes the mail
		before string
		after  string
	}{
		{"created", nil, func(w *emailinttest.World) emailint.RecordChange {
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			return emailint.RecordChange{Kind: emailint.RecordCreated, Record: ada, Addresses: []string{"Ada@Customer.Example"}}
		}, "ada@customer.example", "", "contact/ada by address"},
		{"created, the mail has a +tag", nil, func(w *emailinttest.World) emailint.RecordChange {
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			return emailint.RecordChange{Kind: emailint.RecordCreated, Record: ada, Addresses: []string{"ada@customer.example"}}
		}, "ada+news@customer.example", "", "contact/ada by address"},
		{"created, in another Gmail spelling", nil, func(w *emailinttest.World) emailint.RecordChange {
			w.CRM.Add(emailinttest.Org, ada, "Ada", "adalovelace@gmail.com")
			return emailint.RecordChange{Kind: emailint.RecordCreated, Record: ada, Addresses: []string{"adalovelace@gmail.com"}}
		}, "Ada.Lovelace@googlemail.com", "", "contact/ada by address"},
		{"a domain added", nil, func(w *emailinttest.World) emailint.RecordChange {
			w.CRM.Add(emailinttest.Org, acme, "Acme", "acme.co.uk")
			return emailint.RecordChange{Kind: emailint.AddressesChanged, Record: acme, Addresses: []string{"acme.co.uk"}}
		}, "x@mail.eu.acme.co.uk", "", "account/acme by domain"},
		{"deleted", func(w *emailinttest.World) { w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example") },
			func(w *emailinttest.World) emailint.RecordChange {
				w.CRM.Delete(emailinttest.Org, ada)
				return emailint.RecordChange{Kind: emailint.RecordDeleted, Record: ada}
			}, "ada@customer.example", "contact/ada by address", ""},
		{"merged", func(w *emailinttest.World) {
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			w.CRM.Add(emailinttest.Org, bert, "Bert", "bert@customer.example")
		}, func(w *emailinttest.World) emailint.RecordChange {
			w.CRM.Merge(emailinttest.Org, ada, bert)
			return emailint.RecordChange{Kind: emailint.RecordMerged, Record: ada, Into: bert}
		}, "ada@customer.example", "contact/ada by address", "contact/bert by address"},
		{"an account of a contact", func(w *emailinttest.World) {
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			w.CRM.Add(emailinttest.Org, acme, "Acme")
		}, func(w *emailinttest.World) emailint.RecordChange {
			w.CRM.Relate(emailinttest.Org, ada, linker.Related{Record: acme})
			return emailint.RecordChange{Kind: emailint.RelationChanged, Record: acme, Related: []linker.Record{ada}}
		}, "ada@customer.example", "contact/ada by address", "account/acme by related, contact/ada by address"},
		{"a deal dated back", func(w *emailinttest.World) { w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example") },
			func(w *emailinttest.World) emailint.RecordChange {
				w.CRM.Relate(emailinttest.Org, ada, linker.Related{Record: deal, Opened: w.Now().AddDate(0, -1, 0)})
				return emailint.RecordChange{Kind: emailint.DealChanged, Record: deal, Related: []linker.Record{ada}}
			}, "ada@customer.example", "contact/ada by address", "contact/ada by address, opportunity/deal by related"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := emailint.DefaultSettings()
			s.Rules.Opportunities = true
			w := emailinttest.New(t, emailinttest.WithSettings(s))
			if c.setup != nil {
				c.setup(w)
			}
			w.Deliver(raw(c.from, "m@x", ""))
			w.Deliver(raw("nobody@else.example", "reply@x", "In-Reply-To: <m@x>\n"))
			drained(t, w)
			want(t, w, "m@x", c.before)
			change := c.change(w)
			if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, change, change); err != nil {
				t.Fatal(err)
			}
			st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
			if err != nil || st.Completeness() == 1 {
				t.Errorf("completeness %v while a change is not taken in (%v)", st.Completeness(), err)
			}
			drained(t, w)
			want(t, w, "m@x", c.after)
			if (links(w, "reply@x") != "") != (c.after != "") {
				t.Errorf("the reply is linked to %q, the mail it answers to %q", links(w, "reply@x"), c.after)
			}
		})
	}
}

// A change that can't be understood is refused with its place, and nothing of the call is stored.
func TestRecordsChangedNamesWhatIsWrong(t *testing.T) {
	w := emailinttest.New(t)
	before, err := w.State.ChangeNumber(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Engine.RecordsChanged(t.Context(), emailinttest.Org,
		emailint.RecordChange{Kind: emailint.RecordCreated, Record: ada, Addresses: []string{"ada@customer.example"}},
		emailint.RecordChange{Kind: emailint.RecordMerged, Record: ada},
		emailint.RecordChange{Kind: "renamed", Record: ada, Addresses: []string{"no address"}},
		emailint.RecordChange{Kind: emailint.RecordDeleted})
	for _, text := range []string{"changes[1]: into", "changes[2]: kind", "addresses[0]", "changes[3]: record"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want it to name %s", err, text)
		}
	}
	if after, err := w.State.ChangeNumber(t.Context(), emailinttest.Org); err != nil || after != before {
		t.Errorf("change number %d, before %d (%v)", after, before, err)
	}
}

// Relink finds the mail of a change for whoever syncs by a queue of his own.
func TestRelinkFindsMailOfAChange(t *testing.T) {
	w := emailinttest.New(t)
	w.Deliver(raw("ada@customer.example", "m@x", ""))
	drained(t, w)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: emailint.RecordCreated, Record: ada, Addresses: []string{"ada@customer.example"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Engine.Relink(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
	if err != nil || st.Counts.Due != 1 || st.Connection.Wake <= st.Connection.Served {
		t.Errorf("counts %+v, wake %d, served %d (%v)", st.Counts, st.Connection.Wake, st.Connection.Served, err)
	}
	drained(t, w)
	want(t, w, "m@x", "contact/ada by address")
}

// A mail that we sent and no mailbox has shown is relinked too.
func TestSentMailWithoutCopyIsRelinked(t *testing.T) {
	w := emailinttest.New(t)
	w.Fake.NoSentCopy(true)
	s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	s.FileSent = false
	if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
		t.Fatal(err)
	}
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	_, err = w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
		Recipients: []string{"ada@customer.example"}, Raw: []byte(strings.ReplaceAll("From: owner@example.com\nTo: ada@customer.example\nSubject: offer\n"+
			"Date: Mon, 02 Mar 2026 09:00:00 +0000\nMessage-ID: <offer@x>\n\nHello.\n", "\n", "\r\n"))})
	if err != nil {
		t.Fatal(err)
	}
	drained(t, w)
	want(t, w, "offer@x", "contact/ada by address")
	w.CRM.Add(emailinttest.Org, bert, "Bert")
	w.CRM.Merge(emailinttest.Org, ada, bert)
	if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: emailint.RecordMerged, Record: ada, Into: bert}); err != nil {
		t.Fatal(err)
	}
	drained(t, w)
	want(t, w, "offer@x", "contact/bert by address")
	x, err := w.Engine.Explain(t.Context(), emailinttest.Org, "offer@x")
	if err != nil || len(x.Copies) != 0 || len(x.Emails) != 1 {
		t.Errorf("explanation %+v, %v: want the email and no copy", x, err)
	}
}

// A contact that the engine made and a person deleted stays deleted.
func TestDeletedContactIsNotMadeAgain(t *testing.T) {
	s := emailint.DefaultSettings()
	s.Rules.CreateContacts = true
	w := emailinttest.New(t, emailinttest.WithSettings(s))
	w.Deliver(raw("ned@novel.example", "m@x", ""))
	drained(t, w)
	ned := linker.Record{Kind: linker.Contact, ID: "new:ned@novel.example"}
	want(t, w, "m@x", "contact/new:ned@novel.example by address")
	w.CRM.Delete(emailinttest.Org, ned)
	if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: emailint.RecordDeleted, Record: ned, Addresses: []string{"ned@novel.example"}}); err != nil {
		t.Fatal(err)
	}
	drained(t, w)
	want(t, w, "m@x", "")
	if n := w.CRM.Created(emailinttest.Org); n != 1 {
		t.Errorf("%d contacts were made, want 1", n)
	}
	w.Deliver(raw("ned@novel.example", "again@x", "")) // he writes again: that is another matter
	drained(t, w)
	want(t, w, "again@x", "contact/new:ned@novel.example#2 by address")
}

// listing is a host that tells nothing and can be asked.
type listing struct {
	*emailinttest.MemCRM
	changes []emailint.RecordChange
	asked   []string
	err     error
	page    int
}

func (l *listing) RecordChanges(_ context.Context, org, since string) ([]emailint.RecordChange, string, bool, error) {
	l.asked = append(l.asked, since)
	if l.err != nil || org != emailinttest.Org {
		return nil, "", false, l.err
	}
	from := len(since)
	if since == "" {
		return nil, strings.Repeat("x", len(l.changes)+1), false, nil
	}
	to := min(from-1+l.page, len(l.changes))
	return l.changes[from-1 : to], strings.Repeat("x", to+1), to < len(l.changes), nil
}

func TestChangesArePulled(t *testing.T) {
	crm := &listing{MemCRM: emailinttest.NewMemCRM(), page: 1}
	w := emailinttest.New(t, emailinttest.WithCRM(crm))
	w.CRM = crm.MemCRM
	w.Deliver(raw("ada@customer.example", "m@x", ""))
	w.Deliver(raw("bert@customer.example", "n@x", ""))
	drained(t, w)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	w.CRM.Add(emailinttest.Org, bert, "Bert", "bert@customer.example")
	crm.changes = []emailint.RecordChange{
		{Kind: emailint.RecordCreated, Record: ada, Addresses: []string{"ada@customer.example"}},
		{Kind: "nonsense", Record: ada},
		{Kind: emailint.RecordCreated, Record: bert, Addresses: []string{"bert@customer.example"}}}
	asked := len(crm.asked)
	drained(t, w)
	if len(crm.asked) != asked {
		t.Errorf("asked again before a quarter of an hour had passed")
	}
	w.Advance(16 * time.Minute)
	crm.err = errors.New("not now")
	drained(t, w) // and mail goes on
	want(t, w, "m@x", "")
	crm.err = nil
	w.Advance(2 * time.Minute) // one that failed is left alone for a minute
	drained(t, w)
	want(t, w, "m@x", "contact/ada by address")
	want(t, w, "n@x", "contact/bert by address")
	if len(crm.asked) != asked+1+3 {
		t.Errorf("asked for %q", crm.asked)
	}
}

// A late parent that links to nothing connects its children to what it answers itself.
func TestLateParentIsWalkedThrough(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		s := emailint.DefaultSettings()
		s.Rules.ExcludedDomains = []linker.Exclusion{{Domain: "excluded.example", Reach: linker.ReachEverything}}
		w := emailinttest.New(t, emailinttest.WithPersonality(p), emailinttest.WithSettings(s))
		w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		w.Deliver(raw("ada@customer.example", "a@x", ""))
		w.Deliver(raw("x@else.example", "d@x", "In-Reply-To: <c@x>\n"))
		drained(t, w)
		want(t, w, "d@x", "")
		w.Deliver(raw("y@excluded.example", "c@x", "In-Reply-To: <b@x>\n"))
		drained(t, w)
		w.Deliver(raw("y@excluded.example", "b@x", "In-Reply-To: <a@x>\n"))
		drained(t, w)
		want(t, w, "c@x", "")
		want(t, w, "d@x", "contact/ada by thread")
	})
}

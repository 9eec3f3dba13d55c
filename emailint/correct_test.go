package emailint_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// emailID returns the id of the email that is a mail, linked or not.
func emailID(t *testing.T, w *emailinttest.World, messageID string) string {
	t.Helper()
	x, err := w.Engine.Explain(t.Context(), emailinttest.Org, messageID)
	if err != nil || len(x.Emails) != 1 {
		t.Fatalf("%s is %+v, %v", messageID, x, err)
	}
	return x.Emails[0].ID
}

func correct(t *testing.T, w *emailinttest.World, c emailint.Correction) {
	t.Helper()
	if err := w.Engine.Correct(t.Context(), emailinttest.Org, c); err != nil {
		t.Fatal(err)
	}
	drained(t, w)
}

func customers(t *testing.T, p providertest.Personality) *emailinttest.World {
	s := emailint.DefaultSettings()
	s.Rules.Opportunities = true
	w := emailinttest.New(t, emailinttest.WithPersonality(p), emailinttest.WithSettings(s))
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	w.CRM.Add(emailinttest.Org, bert, "Bert", "bert@customer.example")
	w.CRM.Add(emailinttest.Org, acme, "Acme")
	w.CRM.Relate(emailinttest.Org, ada, linker.Related{Record: acme})
	return w
}

// What a person says stands, what hangs on a record goes with it, children inherit it, and it can be taken back.
func TestCorrectOneMail(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := customers(t, p)
		w.Deliver(raw("ada@customer.example", "m@x", ""))
		w.Deliver(raw("nobody@else.example", "reply@x", "In-Reply-To: <m@x>\n"))
		drained(t, w)
		want(t, w, "m@x", "account/acme by related, contact/ada by address")
		id := emailID(t, w, "m@x")
		correct(t, w, emailint.Correction{Email: id, Unlink: []linker.Record{ada}, Link: []linker.Record{bert}})
		want(t, w, "m@x", "contact/bert by person")
		want(t, w, "reply@x", "contact/bert by thread")

		// The machine doesn't undo it: neither new rules nor an exclusion.
		s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
		if err != nil {
			t.Fatal(err)
		}
		s.Rules.ExcludedDomains = []linker.Exclusion{{Domain: "customer.example"}}
		if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
			t.Fatal(err)
		}
		drained(t, w)
		want(t, w, "m@x", "contact/bert by person")

		w.CRM.Merge(emailinttest.Org, bert, ada) // "not ada" and "bert" meet: the later word is bert's
		if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: emailint.RecordMerged, Record: bert, Into: ada}); err != nil {
			t.Fatal(err)
		}
		drained(t, w)
		want(t, w, "m@x", "contact/ada by person")
		correct(t, w, emailint.Correction{Email: id, Forget: []linker.Record{bert}}) // he means ada by now
		want(t, w, "m@x", "")
		want(t, w, "reply@x", "")
	})
}

// Everything taken off, the mail leaves the CRM and comes back by a word.
func TestUnlinkEverything(t *testing.T) {
	w := customers(t, providertest.IMAP)
	h := w.Deliver(raw("bert@customer.example", "m@x", ""))
	drained(t, w)
	id := emailID(t, w, "m@x")
	correct(t, w, emailint.Correction{Email: id, Unlink: []linker.Record{bert}})
	if n := len(w.CRM.Emails(emailinttest.Org)); n != 0 {
		t.Errorf("%d emails in the CRM, want none", n)
	}
	x, err := w.Engine.Explain(t.Context(), emailinttest.Org, "m@x")
	if err != nil || len(x.Copies) != 1 || x.Copies[0].Reason != "a person took its links off" {
		t.Errorf("explanation %+v, %v", x, err)
	}
	w.Fake.Move(h, provider.RoleArchive)
	drained(t, w)
	correct(t, w, emailint.Correction{Email: id, Link: []linker.Record{ada}})
	want(t, w, "m@x", "contact/ada by person")
	if es := w.CRM.Emails(emailinttest.Org); len(es) != 1 || es[0].ID != id || es[0].Message.Text == "" {
		t.Errorf("the CRM has %+v, want the same email with content", es)
	}
}

// A mail that the CRM doesn't have is linked by its Message-ID, and keeps that through later decisions.
func TestCorrectMailThatIsNotInTheCRM(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := customers(t, p)
		w.Deliver(raw("stranger@else.example", "m@x", ""))
		w.Deliver(raw("other@else.example", "reply@x", "In-Reply-To: <m@x>\n"))
		drained(t, w)
		correct(t, w, emailint.Correction{MessageID: "<m@x>", Link: []linker.Record{bert}})
		want(t, w, "m@x", "contact/bert by person")
		want(t, w, "reply@x", "contact/bert by thread")
		correct(t, w, emailint.Correction{Email: emailID(t, w, "m@x"), Forget: []linker.Record{bert}})
		want(t, w, "m@x", "")
		want(t, w, "reply@x", "")
	})
}

func TestDrop(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := customers(t, p)
		w.Deliver(raw("bert@customer.example", "m@x", ""))
		w.Deliver(raw("nobody@else.example", "reply@x", "In-Reply-To: <m@x>\n"))
		drained(t, w)
		id := emailID(t, w, "m@x")
		correct(t, w, emailint.Correction{Email: id, Drop: true})
		if n := len(w.CRM.Emails(emailinttest.Org)); n != 0 {
			t.Errorf("%d emails in the CRM, want none", n)
		}
		x, err := w.Engine.Explain(t.Context(), emailinttest.Org, "m@x")
		if err != nil || x.Copies[0].Fate != state.FateExcluded || !strings.HasPrefix(x.Copies[0].Reason, "dropped") || !x.Emails[0].Dropped {
			t.Errorf("explanation %+v, %v", x, err)
		}
		correct(t, w, emailint.Correction{Email: id, Restore: true})
		want(t, w, "m@x", "contact/bert by address")
		want(t, w, "reply@x", "contact/bert by thread")
	})
}

// A word on a thread holds for what is there, above and beside the mail it was said on, and for what comes, also when the top comes last.
func TestCorrectThread(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := customers(t, p)
		w.Deliver(raw("bert@customer.example", "b@x", "In-Reply-To: <a@x>\n"))
		w.Deliver(raw("bert@customer.example", "c@x", "In-Reply-To: <b@x>\n"))
		w.Deliver(raw("bert@customer.example", "side@x", "In-Reply-To: <a@x>\n"))
		w.Deliver(raw("bert@customer.example", "other@x", ""))
		drained(t, w)
		correct(t, w, emailint.Correction{Email: emailID(t, w, "c@x"), Thread: true, Unlink: []linker.Record{bert}, Link: []linker.Record{acme}})
		for _, m := range []string{"b@x", "c@x", "side@x"} {
			want(t, w, m, "account/acme by person")
		}
		want(t, w, "other@x", "contact/bert by address")
		w.Deliver(raw("bert@customer.example", "a@x", "In-Reply-To: <top@x>\n"))
		w.Deliver(raw("bert@customer.example", "late@x", "In-Reply-To: <top@x>\n"))
		drained(t, w)
		for _, m := range []string{"a@x", "b@x", "c@x", "side@x", "late@x"} {
			want(t, w, m, "account/acme by person")
		}
		correct(t, w, emailint.Correction{Email: emailID(t, w, "side@x"), Link: []linker.Record{bert}}) // the mail's own word is stronger
		want(t, w, "side@x", "account/acme by person, contact/bert by person")
		correct(t, w, emailint.Correction{MessageID: "b@x", Thread: true, Drop: true})
		for _, m := range []string{"a@x", "b@x", "c@x", "side@x", "late@x"} {
			want(t, w, m, "")
		}
		correct(t, w, emailint.Correction{Email: emailID(t, w, "side@x"), Restore: true})
		want(t, w, "side@x", "account/acme by person, contact/bert by person")
		correct(t, w, emailint.Correction{MessageID: "b@x", Thread: true, Restore: true, Forget: []linker.Record{acme, bert}})
		for _, m := range []string{"a@x", "b@x", "c@x", "late@x"} {
			want(t, w, m, "contact/bert by address")
		}
	})
}

// "Never this sender" holds for all mail of his, and other people's links stay.
func TestNeverThisSender(t *testing.T) {
	w := customers(t, providertest.Gmail)
	w.Deliver(raw("bert@customer.example", "m@x", ""))
	w.Deliver(raw("bert@customer.example", "n@x", "Cc: ada@customer.example\n"))
	drained(t, w)
	for range 2 {
		correct(t, w, emailint.Correction{Email: emailID(t, w, "m@x"), NeverSender: true})
		want(t, w, "m@x", "")
		want(t, w, "n@x", "account/acme by related, contact/ada by address")
		w.Deliver(raw("Bert <BERT+x@customer.example>", "o@x", ""))
		drained(t, w)
		want(t, w, "o@x", "")
		s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
		if err != nil || len(s.Rules.ExcludedAddresses) != 1 {
			t.Fatalf("settings %+v, %v", s.Rules.ExcludedAddresses, err)
		}
		s.Rules.ExcludedAddresses = nil // and back
		if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
			t.Fatal(err)
		}
		drained(t, w)
		want(t, w, "m@x", "contact/bert by address")
	}
}

func TestCorrectNamesWhatIsWrong(t *testing.T) {
	w := customers(t, providertest.IMAP)
	w.Deliver(raw("bert@customer.example", "m@x", ""))
	drained(t, w)
	id := emailID(t, w, "m@x")
	gone := linker.Record{Kind: linker.Contact, ID: "gone"}
	for _, c := range []struct {
		name string
		c    emailint.Correction
		text string
	}{
		{"no mail", emailint.Correction{Drop: true}, "names the mail"},
		{"two mails", emailint.Correction{Email: id, MessageID: "m@x", Drop: true}, "names the mail"},
		{"nothing said", emailint.Correction{Email: id}, "says nothing"},
		{"both", emailint.Correction{Email: id, Drop: true, Restore: true}, "only one"},
		{"twice", emailint.Correction{Email: id, Link: []linker.Record{ada}, Unlink: []linker.Record{ada}}, "unlink[0]: link[0] speaks of the same"},
		{"empty", emailint.Correction{Email: id, Link: []linker.Record{{}}}, "link[0]: kind and id"},
		{"no such email", emailint.Correction{Email: "4711", Drop: true}, "email 4711"},
		{"no id", emailint.Correction{Email: "abc", Drop: true}, "no id of ours"},
		{"never seen", emailint.Correction{MessageID: "unseen@x", Drop: true}, "no mailbox has shown"},
		{"no such record", emailint.Correction{Email: id, Link: []linker.Record{gone}}, `no contact "gone"`},
		{"never whom", emailint.Correction{MessageID: "m@x", NeverSender: true}, "never sender"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := w.Engine.Correct(t.Context(), emailinttest.Org, c.c)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q", err, c.text)
			}
			if err := w.Engine.Correct(t.Context(), "another", emailint.Correction{Email: id, Drop: true}); !errors.Is(err, state.ErrNotFound) {
				t.Errorf("another organisation's email: %v", err)
			}
		})
	}
	drained(t, w)
	want(t, w, "m@x", "contact/bert by address")
}

// A record that is merged between the question and the commit is asked for again.
func TestCorrectFollowsAMergeUnderWay(t *testing.T) {
	w := customers(t, providertest.IMAP)
	w.Deliver(raw("stranger@else.example", "m@x", ""))
	drained(t, w)
	correct(t, w, emailint.Correction{MessageID: "m@x", Link: []linker.Record{acme}})
	w.CRM.Merge(emailinttest.Org, bert, ada) // told only later
	correct(t, w, emailint.Correction{Email: emailID(t, w, "m@x"), Link: []linker.Record{bert}})
	want(t, w, "m@x", "account/acme by person, contact/ada by person")
	if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: emailint.RecordMerged, Record: bert, Into: ada}); err != nil {
		t.Fatal(err)
	}
	drained(t, w)
	want(t, w, "m@x", "account/acme by person, contact/ada by person")
	w.CRM.Delete(emailinttest.Org, ada)
	if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: emailint.RecordDeleted, Record: ada}); err != nil {
		t.Fatal(err)
	}
	drained(t, w)
	want(t, w, "m@x", "account/acme by person")
}

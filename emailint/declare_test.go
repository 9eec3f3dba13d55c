package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// stranger writes mail that no rule links.
const stranger = "From: nobody@elsewhere.example"

func (o *office) declare(ds ...emailint.DeclaredEmail) emailint.Declaration {
	o.Helper()
	for _, d := range ds {
		o.crm.Had(emailinttest.Org, d.ID)
	}
	got, err := o.engine.Declare(o.Context(), emailinttest.Org, ds...)
	o.ok(err)
	return got
}

// met checks how many are declared and met, and how many emails the CRM has.
func (o *office) met(declared, met, emails int) {
	o.Helper()
	n, err := o.engine.Declared(o.Context(), emailinttest.Org)
	o.ok(err)
	if n != (emailint.DeclaredCounts{Declared: declared, Met: met}) || o.crm.Count(emailinttest.Org) != emails {
		o.Errorf("declared and met: %+v, and the CRM has %d emails; want %d, %d and %d", n, o.crm.Count(emailinttest.Org), declared, met, emails)
	}
}

func (o *office) hostID(id string) (out []string) {
	for _, e := range o.crm.Emails(emailinttest.Org) {
		if e.Message.MessageID == id {
			out = append(out, e.HostID)
		}
	}
	return out
}

// Declared before connecting or after: either way there is one email, with its link, and whoever decides it again changes nothing.
func TestDeclaredEmails(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprint("declared first: ", first), func(t *testing.T) {
			o := newOffice(t, false, "ann", "bob")
			declare := func() {
				got := o.declare(emailint.DeclaredEmail{ID: "crm-1", MessageID: "<old@x>", Records: []linker.Record{pat}},
					emailint.DeclaredEmail{ID: "crm-2", MessageID: "hers@x", From: "Ada@Customer.example", Records: []linker.Record{pat}},
					emailint.DeclaredEmail{ID: "crm-3", MessageID: "never@x", Records: []linker.Record{pat}})
				if got.Added != 3 || len(got.Doubles) != 0 {
					t.Errorf("declared: %+v", got)
				}
			}
			if first {
				declare()
			}
			for _, u := range []string{"ann", "bob"} {
				o.arrives(u, provider.RoleInbox, "old@x", stranger, "To: ann@own.example, bob@own.example")
			}
			o.arrives("ann", provider.RoleInbox, "hers@x", "From: ada@customer.example", "To: ann@own.example")
			o.arrives("ann", provider.RoleInbox, "answer@x", "From: robot@elsewhere.example", "To: ann@own.example", "In-Reply-To: <old@x>")
			o.connect("ann", "bob")
			o.rest()
			if !first {
				o.has("old@x")
				o.has("hers@x", "ada by address; ann; whole")
				declare()
				o.rest()
			}
			check := func() {
				t.Helper()
				o.has("old@x", "pat by host; ann, bob; whole")
				o.has("hers@x", "ada by address, pat by host; ann; whole")
				o.has("answer@x", "pat by thread; ann; whole")
				o.met(3, 2, 4) // and the one that nobody has
				if got := fmt.Sprint(o.hostID("old@x"), o.hostID("hers@x"), o.hostID("answer@x")); got != "[crm-1] [crm-2] []" {
					t.Errorf("the CRM's own ids are %s", got)
				}
			}
			check()
			if got := o.declare(emailint.DeclaredEmail{ID: "crm-1", MessageID: "old@x", Records: []linker.Record{pat}}); got.Added != 0 || len(got.Doubles) != 0 {
				t.Errorf("declared twice: %+v", got)
			}
			o.crm = o.host.MemCRM
			s, version, err := o.engine.Settings(t.Context(), emailinttest.Org)
			o.ok(err)
			s.Rules.ExcludedDomains = append(s.Rules.ExcludedDomains, linker.Exclusion{Domain: "elsewhere.example", Reach: linker.ReachEverything})
			_, err = o.engine.SetSettings(t.Context(), emailinttest.Org, s, version)
			o.ok(err)
			o.rest()
			o.has("old@x", "pat by host; ann, bob; whole")
			x, err := o.engine.Explain(t.Context(), emailinttest.Org, "old@x")
			if err != nil || len(x.Copies) != 2 || x.Copies[0].Fate != state.FateLinked || x.Copies[0].Reason != "by host declared as crm-1" {
				t.Errorf("it is explained as %+v, %v", x, err)
			}
			// A merge is followed, and a person outweighs it.
			o.crm.Merge(emailinttest.Org, pat, ada)
			o.ok(o.engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: emailint.RecordMerged, Record: pat, Into: ada}))
			o.rest()
			o.has("old@x", "ada by host; ann, bob; whole")
			o.ok(o.engine.Correct(t.Context(), emailinttest.Org, emailint.Correction{MessageID: "old@x", Unlink: []linker.Record{ada}}))
			o.rest()
			o.has("old@x")
		})
	}
}

// What is deleted in the mailbox stays in the CRM, which had it in its own right; an erased mailbox takes it along, and it is known again afterwards.
func TestDeclaredEmailsAndTheEndOfAMailbox(t *testing.T) {
	o := newOffice(t, false, "ann")
	o.declare(emailint.DeclaredEmail{ID: "crm-1", MessageID: "old@x", Records: []linker.Record{pat}})
	o.arrives("ann", provider.RoleInbox, "old@x", stranger, "To: ann@own.example")
	o.connect("ann")
	o.rest()
	_, err := o.engine.Disconnect(t.Context(), emailinttest.Org, o.conns["ann"])
	o.ok(err)
	o.met(1, 1, 1)
	o.connect("ann")
	o.rest()
	o.has("old@x", "pat by host; ann; whole")
	r, err := o.engine.Erase(t.Context(), emailinttest.Org, o.conns["ann"])
	o.ok(err)
	if r.Removed != 1 {
		t.Errorf("the receipt is %+v", r)
	}
	o.met(1, 0, 0)
	o.connect("ann")
	o.rest()
	o.has("old@x", "pat by host; ann; whole")
	o.met(1, 1, 1)
}

// Whoever knows the Message-ID and sends a mail with it gets hold of nothing: not where it comes second, not with another author, and not where the
// receiving server found it forged; nor in another organisation.
func TestForgedCopiesOfDeclaredEmails(t *testing.T) {
	const forger = "From: eve@evil.example"
	d := emailint.DeclaredEmail{ID: "crm-1", MessageID: "old@x", Records: []linker.Record{pat}}
	by := d
	by.From = "nobody@elsewhere.example"
	for name, c := range map[string]struct {
		declared emailint.DeclaredEmail
		mails    [][]string // one after the other
		want     []string
	}{
		"second":         {d, [][]string{{stranger}, {forger}}, []string{"pat by host; ann; whole"}},
		"another author": {by, [][]string{{forger}, {stranger}}, []string{"pat by host; ann; whole"}},
		"two authors":    {by, [][]string{{stranger + ", eve@evil.example"}}, nil},
		"never the real": {by, [][]string{{forger}}, nil},
		"first":          {d, [][]string{{forger}, {stranger}}, []string{"pat by host; ann; whole"}}, // and this is why From is there
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, false, "ann")
			o.connect("ann")
			o.declare(c.declared)
			for _, m := range c.mails {
				o.arrives("ann", provider.RoleInbox, "old@x", append(m, "To: ann@own.example")...)
				o.rest()
			}
			o.has("old@x", c.want...)
			if len(c.want) == 0 {
				o.met(1, 0, 1)
				return
			}
			o.met(1, 1, 1)
			from := o.crm.Emails(emailinttest.Org)[0].Message.From[0].Addr
			if want := name == "first"; want != strings.Contains(from, "eve") {
				t.Errorf("it is of %s", from)
			}
		})
	}
	t.Run("found to be forged", func(t *testing.T) {
		o := newOffice(t, false, "ann")
		o.boxes["ann"].TrustAuth("mx.own.example")
		o.connect("ann")
		o.declare(by)
		const verdict = "Authentication-Results: mx.own.example; dmarc=%s header.from=elsewhere.example"
		o.arrives("ann", provider.RoleInbox, "old@x", stranger, "To: ann@own.example", fmt.Sprintf(verdict, "fail"))
		o.rest()
		o.has("old@x")
		o.met(1, 0, 1)
	})
	t.Run("another organisation", func(t *testing.T) {
		o := newOffice(t, false, "ann")
		o.connect("ann")
		_, err := o.engine.Declare(t.Context(), "other", d)
		o.ok(err)
		o.arrives("ann", provider.RoleInbox, "old@x", stranger, "To: ann@own.example")
		o.rest()
		o.has("old@x")
	})
}

// The CRM has an email twice: one of them is the mail, the other is named.
func TestDoubles(t *testing.T) {
	o := newOffice(t, false, "ann")
	got := o.declare(emailint.DeclaredEmail{ID: "crm-1", MessageID: "old@x", Records: []linker.Record{pat}},
		emailint.DeclaredEmail{ID: "crm-2", MessageID: "<old@x>", Records: []linker.Record{ada}})
	if got.Added != 1 || len(got.Doubles) != 1 || got.Doubles[0] != (emailint.DoubleEmail{ID: "crm-2", Of: "crm-1"}) {
		t.Errorf("the receipt is %+v", got)
	}
	o.arrives("ann", provider.RoleInbox, "old@x", stranger, "To: ann@own.example")
	o.connect("ann")
	o.rest()
	o.has("old@x", "pat by host; ann; whole")
	o.met(1, 1, 2)
	// The host makes them one, and says whose links it has.
	o.declare(emailint.DeclaredEmail{ID: "crm-1", MessageID: "old@x", Records: []linker.Record{pat, ada}})
	o.rest()
	o.has("old@x", "ada by host, pat by host; ann; whole")
	// Without records it is known, and no more.
	o.declare(emailint.DeclaredEmail{ID: "crm-1", MessageID: "old@x"})
	o.rest()
	o.has("old@x")
}

// When the mailbox is erased whose mail was the declared one, another mail with the Message-ID may be it, and is looked at.
func TestADeclarationThatIsGivenBack(t *testing.T) {
	o := newOffice(t, false, "ann", "bob")
	o.declare(emailint.DeclaredEmail{ID: "crm-1", MessageID: "old@x", Records: []linker.Record{pat}})
	o.arrives("ann", provider.RoleInbox, "old@x", "From: eve@evil.example", "To: ann@own.example")
	o.connect("ann")
	o.rest()
	o.arrives("bob", provider.RoleInbox, "old@x", stranger, "To: bob@own.example")
	o.connect("bob")
	o.rest()
	o.has("old@x", "pat by host; ann; whole")
	_, err := o.engine.Erase(t.Context(), emailinttest.Org, o.conns["ann"])
	o.ok(err)
	delete(o.conns, "ann")
	o.rest()
	o.has("old@x", "pat by host; bob; whole")
	o.met(1, 1, 1)
}

// What a mail is it stays, with the links of that: also where the CRM has a second email of the same Message-ID and names its author.
func TestDeclaredAsAnotherLater(t *testing.T) {
	o := newOffice(t, false, "ann")
	o.arrives("ann", provider.RoleInbox, "old@x", stranger, "To: ann@own.example")
	o.connect("ann")
	o.declare(emailint.DeclaredEmail{ID: "crm-1", MessageID: "old@x", Records: []linker.Record{pat}})
	o.rest()
	o.has("old@x", "pat by host; ann; whole")
	o.declare(emailint.DeclaredEmail{ID: "crm-2", MessageID: "old@x", From: "nobody@elsewhere.example", Records: []linker.Record{ada}})
	o.rest()
	o.has("old@x", "pat by host; ann; whole")
	o.met(2, 1, 2)
	if got := fmt.Sprint(o.hostID("old@x")); got != "[crm-1]" {
		t.Errorf("the CRM's own ids are %s", got)
	}
}

// Of a mail that we sent only the colleague's copy is shown: the outbox's row of it comes to the same as that copy.
func TestDeclaredAndSentWithoutACopy(t *testing.T) {
	o := newOffice(t, false, "ann", "bob")
	o.boxes["ann"].NoSentCopy(true)
	s, version, err := o.engine.Settings(t.Context(), emailinttest.Org)
	o.ok(err)
	s.FileSent = false
	_, err = o.engine.SetSettings(t.Context(), emailinttest.Org, s, version)
	o.ok(err)
	o.connect("ann", "bob")
	o.declare(emailint.DeclaredEmail{ID: "crm-1", MessageID: "sent@x", Records: []linker.Record{pat}})
	header := []string{"From: ann@own.example", "To: nobody@elsewhere.example, bob@own.example"}
	_, err = o.engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: o.conns["ann"], Key: "k", From: "ann@own.example",
		Recipients: []string{"nobody@elsewhere.example", "bob@own.example"}, Raw: []byte(strings.Join(header, "\r\n") +
			"\r\nSubject: sent@x\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <sent@x>\r\n\r\nThe text of sent@x.\r\n")})
	o.ok(err)
	o.rest()
	o.has("sent@x")
	o.met(1, 0, 1) // nobody has shown it
	o.arrives("bob", provider.RoleInbox, "sent@x", header...)
	for range 3 {
		o.ok(o.engine.Sync(t.Context(), emailinttest.Org, o.conns["bob"]))
		o.ok(o.engine.Sync(t.Context(), emailinttest.Org, o.conns["ann"]))
		o.has("sent@x", "pat by host; ann, bob; whole")
	}
	o.met(1, 1, 1)
}

func TestWhatCannotBeDeclared(t *testing.T) {
	w := emailinttest.New(t)
	_, err := w.Engine.Declare(t.Context(), emailinttest.Org, emailint.DeclaredEmail{}, emailint.DeclaredEmail{ID: "a\x00", MessageID: "<>", From: "nobody", Records: []linker.Record{{Kind: linker.Contact}}})
	for _, want := range []string{"emails[0].MessageID", "emails[0].ID", "emails[1].MessageID", "emails[1].ID", "emails[1].From", "emails[1].Records[0]"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named: %v", want, err)
		}
	}
	for _, id := range []string{"", "a\x00", "\xff", strings.Repeat("x", 201)} {
		for _, r := range []linker.Record{{Kind: linker.Contact, ID: id}, {Kind: linker.Kind(id), ID: "1"}} {
			_, err := w.Engine.Declare(t.Context(), emailinttest.Org, emailint.DeclaredEmail{ID: "own-1", MessageID: "<m>", Records: []linker.Record{r}})
			if err == nil || !strings.Contains(err.Error(), "emails[0].Records[0]") {
				t.Errorf("the record %q: %v", r, err)
			}
		}
	}
	if _, err := w.Engine.Declare(t.Context(), "", emailint.DeclaredEmail{ID: "a", MessageID: "b"}); err == nil {
		t.Error("no organisation")
	}
	if _, err := w.Engine.Declare(t.Context(), emailinttest.Org, make([]emailint.DeclaredEmail, 1001)...); err == nil {
		t.Error("too many")
	}
	if got, err := w.Engine.Declare(t.Context(), emailinttest.Org); err != nil || got.Added != 0 {
		t.Errorf("nothing: %+v, %v", got, err)
	}
}

// Two processes work while the host declares page after page, and its saves fail now and then: there is one email a mail in the end.
func TestTwoEnginesWhileTheHostDeclares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emailinttest.New(t, emailinttest.WithClock(time.Now))
		w.CRM.Add(emailinttest.Org, pat, "Pat")
		other, err := emailint.New(emailint.Options{State: w.State, CRM: w.CRM, Providers: []provider.Provider{w.Fake.Provider()}, Worker: "other",
			Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, e := range []*emailint.Engine{w.Engine, other} {
			wg.Go(func() { e.Run(ctx) }) //nolint:errcheck // it is told to stop
		}
		const n = 20
		var added atomic.Int64
		for i := range n {
			id := fmt.Sprintf("%d@x", i)
			w.CRM.Had(emailinttest.Org, "crm-"+id)
			say := func() {
				got, err := other.Declare(ctx, emailinttest.Org, emailint.DeclaredEmail{ID: "crm-" + id, MessageID: id, Records: []linker.Record{pat}})
				if err != nil {
					t.Error(err)
				}
				added.Add(int64(got.Added))
			}
			if i%2 == 0 {
				say()
			}
			if i%5 == 0 {
				w.Fail(errors.New("not today"))
			}
			w.Deliver(raw("nobody@elsewhere.example", id, ""))
			if err := w.Engine.Wake(ctx, emailinttest.Org, w.Connection.ID); err != nil {
				t.Error(err)
			}
			if i%4 == 1 {
				<-time.After(2 * time.Second)
			}
			say()
		}
		<-time.After(30 * time.Minute)
		cancel()
		wg.Wait()
		es := w.CRM.Emails(emailinttest.Org)
		if len(es) != n || w.CRM.Count(emailinttest.Org) != n || added.Load() != n {
			t.Errorf("the CRM has %d emails of ours and %d in all, %d were declared; want %d of each", len(es), w.CRM.Count(emailinttest.Org), added.Load(), n)
		}
		for _, e := range es {
			if e.HostID != "crm-"+e.Message.MessageID || len(e.Links) != 1 {
				t.Errorf("%s is %q with %v", e.Message.MessageID, e.HostID, e.Links)
			}
		}
		if c, err := w.Engine.Declared(t.Context(), emailinttest.Org); err != nil || c.Met != n {
			t.Errorf("met: %+v, %v", c, err)
		}
	})
}

package emailint_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// office is an engine over several mailboxes, of which a credential names one.
type office struct {
	*testing.T
	engine *emailint.Engine
	state  *sqlite.Store
	path   string
	crm    *emailinttest.MemCRM
	host   *capricious
	boxes  map[string]*providertest.Fake
	conns  map[string]int64
	now    time.Time
}

// capricious is a MemCRM whose next calls fail, and that may do something in the middle of one.
type capricious struct {
	*emailinttest.MemCRM
	fails  int
	saving func() // called before emails are saved
}

var errMood = errors.New("not today")

func (m *capricious) fail() error {
	if m.fails > 0 {
		m.fails--
		return errMood
	}
	return nil
}

func (m *capricious) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	if err := m.fail(); err != nil {
		return linker.Directory{}, err
	}
	return m.MemCRM.Find(ctx, org, q)
}

func (m *capricious) SaveEmails(ctx context.Context, org string, es []crm.Email) error {
	if m.saving != nil {
		m.saving()
	}
	return m.MemCRM.SaveEmails(ctx, org, es)
}

func (m *capricious) UpdateEmails(ctx context.Context, org string, es []crm.EmailState) error {
	if err := m.fail(); err != nil {
		return err
	}
	return m.MemCRM.UpdateEmails(ctx, org, es)
}

func (m *capricious) RemoveEmails(ctx context.Context, org string, es []crm.EmailState) error {
	if err := m.fail(); err != nil {
		return err
	}
	return m.MemCRM.RemoveEmails(ctx, org, es)
}

func (o *office) Name() string { return "office" }

// Open makes an office a provider.
func (o *office) Open(ctx context.Context, credential []byte) (provider.Mailbox, error) {
	return o.boxes[string(credential)].Provider().Open(ctx, nil)
}

// newOffice connects nobody yet. keeps says that the CRM can't remove emails.
func newOffice(t *testing.T, keeps bool, users ...string) *office {
	t.Helper()
	o := &office{T: t, path: filepath.Join(t.TempDir(), "state.db"), crm: emailinttest.NewMemCRM(), boxes: map[string]*providertest.Fake{}, conns: map[string]int64{},
		now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	var err error
	if o.state, err = sqlite.Open(t.Context(), o.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.state.Close(); err != nil {
			t.Error(err)
		}
	})
	clock := func() time.Time { return o.now }
	for _, u := range users {
		o.boxes[u] = providertest.NewFake(providertest.IMAP, provider.Profile{Address: u + "@own.example", Subject: u}, clock)
	}
	o.host = &capricious{MemCRM: o.crm}
	var host crm.Store = o.host
	if keeps {
		host = struct{ crm.Store }{o.host}
	}
	o.engine, err = emailint.New(emailint.Options{State: o.state, CRM: host, Now: clock, Providers: []provider.Provider{o},
		Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32),
		Sender: func(_ context.Context, c emailint.Connection) (provider.Sender, error) { return o.boxes[c.User], nil }})
	if err != nil {
		t.Fatal(err)
	}
	o.crm.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	o.crm.Add(emailinttest.Org, pat, "Pat", "pat@partner.example")
	return o
}

var pat = linker.Record{Kind: linker.Contact, ID: "pat"}

func (o *office) ok(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

func (o *office) connect(users ...string) {
	o.Helper()
	for _, u := range users {
		c, err := o.engine.Connect(o.Context(), emailinttest.Org, emailint.NewConnection{User: u, Provider: "office", Credential: []byte(u)})
		o.ok(err)
		o.conns[u] = c.ID
	}
}

// arrives puts a mail where its owner finds it.
func (o *office) arrives(user string, role provider.Role, id string, header ...string) {
	o.now = o.now.Add(time.Minute)
	raw := strings.Join(header, "\r\n") + "\r\nSubject: " + id + "\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <" + id + ">\r\n\r\nThe text of " + id + ".\r\n"
	o.boxes[user].Deliver([]byte(raw), o.now, role)
}

// rest relinks and syncs everybody until nothing is left to do.
func (o *office) rest() {
	o.Helper()
	for range 30 {
		o.ok(o.engine.Relink(o.Context()))
		open := 0
		for _, conn := range o.conns {
			o.ok(o.engine.Sync(o.Context(), emailinttest.Org, conn))
			st, err := o.engine.Status(o.Context(), emailinttest.Org, conn)
			o.ok(err)
			if st.Completeness() < 1 || st.Connection.Wake > st.Connection.Served {
				open++
			}
		}
		if open == 0 {
			return
		}
		o.now = o.now.Add(11 * time.Minute)
	}
	o.Fatal("it never rests")
}

// told is what the CRM has of a mail, a line an email: its links, holders and whether its text is there.
func (o *office) told(id string) (out []string) {
	names := map[string]string{}
	for u, c := range o.conns {
		names[strconv.FormatInt(c, 10)] = u
	}
	for _, e := range o.crm.Emails(emailinttest.Org) {
		if e.Message.MessageID != id {
			continue
		}
		var links, holders []string
		for _, l := range e.Links {
			links = append(links, l.ID+" by "+string(l.By))
		}
		for _, h := range e.Holders {
			holders = append(holders, names[h])
		}
		slices.Sort(holders)
		line := strings.Join(links, ", ") + "; " + strings.Join(holders, ", ")
		if strings.Contains(e.Message.Text, "The text of "+id) {
			line += "; whole"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func (o *office) has(id string, lines ...string) {
	o.Helper()
	if got := o.told(id); !slices.Equal(got, lines) {
		o.Errorf("of %s the CRM has %q, want %q", id, got, lines)
	}
}

// fill is the mail of the tests: one that both have, one that only ann has, one that links to nothing, and bob's reply in a thread that leads
// through a mail that only ann has.
func (o *office) fill() {
	o.Helper()
	o.connect("ann", "bob")
	const from, to = "From: ada@customer.example", "To: ann@own.example, bob@own.example"
	o.arrives("ann", provider.RoleInbox, "both@x", from, to)
	o.arrives("bob", provider.RoleInbox, "both@x", from, to)
	o.arrives("ann", provider.RoleInbox, "hers@x", from, "To: ann@own.example")
	o.arrives("ann", provider.RoleInbox, "nothing@x", "From: nobody@elsewhere.example", "To: ann@own.example")
	o.arrives("bob", provider.RoleInbox, "top@x", from, "To: bob@own.example")
	o.arrives("ann", provider.RoleInbox, "middle@x", "From: robot@elsewhere.example", "To: ann@own.example", "In-Reply-To: <top@x>")
	o.arrives("bob", provider.RoleInbox, "below@x", "From: robot@elsewhere.example", "To: bob@own.example", "In-Reply-To: <middle@x>")
	o.rest()
	es := o.crm.Emails(emailinttest.Org)
	both := es[slices.IndexFunc(es, func(e crm.Email) bool { return e.Message.MessageID == "both@x" })]
	o.ok(o.engine.Correct(o.Context(), emailinttest.Org, emailint.Correction{Email: both.ID, Link: []linker.Record{pat}}))
	o.rest()
	o.has("both@x", "ada by address, pat by person; ann, bob; whole")
	o.has("hers@x", "ada by address; ann; whole")
	o.has("below@x", "ada by thread; bob; whole")
}

// after is what the CRM has when ann's mailbox is erased.
func (o *office) after(keeps bool) {
	o.Helper()
	delete(o.conns, "ann")
	o.rest()
	o.has("both@x", "ada by address, pat by person; bob; whole")
	o.has("top@x", "ada by address; bob; whole")
	if keeps {
		o.has("hers@x", "; ; whole")
		o.has("middle@x", "; ; whole")
		o.has("below@x", "; ; whole")
	} else {
		o.has("hers@x")
		o.has("middle@x")
		o.has("below@x") // whose thread can't be followed any more
	}
}

func TestEraseTellsAReceipt(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		t.Run(fmt.Sprintf("keeps %v", keeps), func(t *testing.T) {
			o := newOffice(t, keeps, "ann", "bob")
			o.fill()
			ann := o.conns["ann"]
			if _, err := o.engine.Erasure(t.Context(), emailinttest.Org, ann); !errors.Is(err, state.ErrNotFound) {
				t.Errorf("the receipt of no erasure: %v", err)
			}
			r, err := o.engine.Erase(t.Context(), emailinttest.Org, ann)
			o.ok(err)
			want := emailint.Erasure{Connection: ann, Begun: o.now, Done: o.now, Items: 4, Released: 1, Removed: 2, Kept: keeps}
			if r != want {
				t.Errorf("the receipt is\n%+v, want\n%+v", r, want)
			}
			o.after(keeps)
			if kept, err := o.engine.Erasure(t.Context(), emailinttest.Org, ann); err != nil || kept != want {
				t.Errorf("later the receipt is %+v, %v", kept, err)
			}
			if again, err := o.engine.Erase(t.Context(), emailinttest.Org, ann); err != nil || again != want {
				t.Errorf("a second time: %+v, %v", again, err)
			}
			for name, err := range map[string]error{
				"status": second(o.engine.Status(t.Context(), emailinttest.Org, ann)),
				"sync":   o.engine.Sync(t.Context(), emailinttest.Org, ann),
				"wake":   o.engine.Wake(t.Context(), emailinttest.Org, ann),
				"erase":  second(o.engine.Erase(t.Context(), emailinttest.Org, 99)),
				"send":   second(o.engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: ann, Key: "k", Raw: outgoing, Recipients: []string{"x@y.example"}})),
			} {
				if !errors.Is(err, state.ErrNotFound) {
					t.Errorf("%s of what is erased: %v", name, err)
				}
			}
			x, err := o.engine.Explain(t.Context(), emailinttest.Org, "hers@x")
			if err != nil || len(x.Copies)+len(x.Emails) > 0 {
				t.Errorf("a mail of hers is still known: %+v, %v", x, err)
			}
		})
	}
}

func second[A any](_ A, err error) error { return err }

// Nothing by which the mailbox, or mail that only it had, could be recognised stays in any table.
func TestEraseLeavesNothingInTheState(t *testing.T) {
	o := newOffice(t, false, "ann", "bob")
	o.fill()
	c, err := o.state.Connection(t.Context(), emailinttest.Org, o.conns["ann"])
	o.ok(err)
	h, err := ident.New(make([]byte, 32), emailinttest.Org)
	o.ok(err)
	rows, es, err := o.state.Lookup(t.Context(), emailinttest.Org, state.Hash(h.MessageID("hers@x")))
	o.ok(err)
	secrets := map[string][]byte{"credential": c.Credential, "address": []byte("ann@own.example"), "Message-ID": h.MessageID("hers@x"),
		"Message-ID of unlinked mail": h.MessageID("nothing@x"), "participant": h.Key(message.Key("nobody@elsewhere.example")), "fingerprint": []byte(es[0].Fingerprint),
		"envelope": es[0].Envelope, "item": []byte(rows[0].Item)}
	found := func() map[string]string {
		out := map[string]string{}
		for table, values := range dumped(t, o.path) {
			for name, secret := range secrets {
				if len(secret) == 0 {
					t.Fatalf("no %s to look for", name)
				}
				for _, v := range values {
					if (name != "item" || string(v) == string(secret)) && bytes.Contains(v, secret) {
						out[name] = table
					}
				}
			}
		}
		return out
	}
	for name := range secrets {
		if found()[name] == "" {
			t.Errorf("%s is nowhere even before: the test proves nothing", name)
		}
	}
	delete(secrets, "item") // bob's are called alike
	o.ok(second(o.engine.Erase(t.Context(), emailinttest.Org, o.conns["ann"])))
	for name, table := range found() {
		t.Errorf("the %s is still in table %s", name, table)
	}
	delete(o.conns, "ann")
	o.rest()
	for name, table := range found() {
		t.Errorf("later the %s is in table %s", name, table)
	}
}

// dumped returns all values of all tables of a SQLite file.
func dumped(t *testing.T, path string) map[string][][]byte {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	out := map[string][][]byte{}
	names, err := db.Query(`SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	for names.Next() {
		var table string
		if err := names.Scan(&table); err != nil {
			t.Fatal(err)
		}
		rows, err := db.Query(`SELECT * FROM "` + table + `"`)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, dest := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
			for i := range values {
				dest[i] = &values[i]
			}
			if err := rows.Scan(dest...); err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				out[table] = append(out[table], bytes.Clone(v))
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// A CRM that is down keeps only the last part of it waiting, and whoever goes on ends it.
func TestEraseWhileTheCRMIsDown(t *testing.T) {
	for _, by := range []string{"erase", "relink"} {
		t.Run(by, func(t *testing.T) {
			o := newOffice(t, false, "ann", "bob")
			o.fill()
			o.host.fails = 1000
			r, err := o.engine.Erase(t.Context(), emailinttest.Org, o.conns["ann"])
			if err == nil || r.Items != 4 || r.Removed != 0 || r.Outstanding != 2 || !r.Done.IsZero() {
				t.Errorf("with the CRM down: %+v, %v", r, err)
			}
			if _, err := o.engine.Status(t.Context(), emailinttest.Org, r.Connection); !errors.Is(err, state.ErrNotFound) {
				t.Errorf("the mailbox is still there: %v", err)
			}
			o.host.fails = 0
			o.now = o.now.Add(30 * time.Minute)
			if by == "erase" {
				_, err = o.engine.Erase(t.Context(), emailinttest.Org, r.Connection)
			} else {
				err = o.engine.Relink(t.Context())
			}
			o.ok(err)
			r, err = o.engine.Erasure(t.Context(), emailinttest.Org, r.Connection)
			if err != nil || r.Removed != 2 || r.Outstanding != 0 || !r.Done.Equal(o.now) {
				t.Errorf("afterwards: %+v, %v", r, err)
			}
			o.after(false)
		})
	}
}

// The same mailbox connected anew is imported like any other, and no mail is in the CRM twice.
func TestEraseAndConnectAnew(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		t.Run(fmt.Sprintf("keeps %v", keeps), func(t *testing.T) {
			o := newOffice(t, keeps, "ann", "bob")
			o.fill()
			was := o.conns["ann"]
			o.ok(second(o.engine.Erase(t.Context(), emailinttest.Org, was)))
			o.connect("ann")
			if o.conns["ann"] == was {
				t.Fatal("it has its former id")
			}
			o.rest()
			linked := map[string]int{}
			for _, e := range o.crm.Emails(emailinttest.Org) {
				if len(e.Links) > 0 {
					linked[e.Message.MessageID]++
				}
			}
			for _, id := range []string{"both@x", "hers@x", "top@x", "middle@x", "below@x"} {
				if linked[id] != 1 {
					t.Errorf("%s is linked in %d emails", id, linked[id])
				}
			}
			o.has("both@x", "ada by address, pat by person; ann, bob; whole")
			if !keeps {
				o.has("hers@x", "ada by address; ann; whole")
			}
		})
	}
}

// What the erased mailbox alone knew of a mail that others hold goes: their copies decide.
func TestEraseLeavesTheirOwnCopyToOthers(t *testing.T) {
	o := newOffice(t, false, "ann", "bob")
	o.connect("ann", "bob")
	const from, to = "From: ann@own.example", "To: bob@own.example, ada@customer.example"
	o.arrives("bob", provider.RoleInbox, "memo@x", from, to)
	o.arrives("ann", provider.RoleSent, "memo@x", from, to, "Bcc: pat@partner.example")
	o.rest()
	o.has("memo@x", "ada by address, pat by address; ann, bob; whole")
	o.ok(second(o.engine.Erase(t.Context(), emailinttest.Org, o.conns["ann"])))
	delete(o.conns, "ann")
	o.rest()
	// ann@own.example is no own address any more, and nobody's contact.
	o.has("memo@x", "ada by address; bob; whole")
	e := o.crm.Emails(emailinttest.Org)[0]
	if e.Outbound || len(e.Message.Bcc) > 0 {
		t.Errorf("it is told as ann had it: outbound %v, bcc %v", e.Outbound, e.Message.Bcc)
	}
}

// A worker that is in the middle of a pass when its mailbox is erased brings nothing back.
func TestEraseInTheMiddleOfAPass(t *testing.T) {
	o := newOffice(t, false, "ann", "bob")
	o.connect("ann", "bob")
	o.arrives("ann", provider.RoleInbox, "hers@x", "From: ada@customer.example", "To: ann@own.example")
	erased := 0
	o.host.saving = func() {
		if erased++; erased == 1 {
			if _, err := o.engine.Erase(t.Context(), emailinttest.Org, o.conns["ann"]); err != nil {
				t.Error(err)
			}
		}
	}
	if err := o.engine.Sync(t.Context(), emailinttest.Org, o.conns["ann"]); !errors.Is(err, state.ErrStale) {
		t.Errorf("the pass ended with %v", err)
	}
	if erased == 0 {
		t.Fatal("it was not erased")
	}
	delete(o.conns, "ann")
	o.rest()
	o.has("hers@x")
}

// What is queued when the mailbox is erased is never sent.
func TestEraseSendsNothingMore(t *testing.T) {
	o := newOffice(t, false, "ann")
	o.connect("ann")
	o.boxes["ann"].FailNext(1, &provider.RateLimitError{RetryAfter: time.Minute})
	out, err := o.engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: o.conns["ann"], Key: "k", From: "ann@own.example",
		Recipients: []string{"ada@customer.example"}, Raw: outgoing})
	if err != nil || out.State != state.OutQueued {
		t.Fatalf("%+v, %v", out, err)
	}
	r, err := o.engine.Erase(t.Context(), emailinttest.Org, o.conns["ann"])
	if err != nil || r.Removed+r.Outstanding != 0 {
		t.Errorf("the receipt is %+v, %v", r, err)
	}
	o.now = o.now.Add(time.Hour)
	o.ok(o.engine.Outbox(t.Context()))
	if n := len(o.boxes["ann"].Sent()); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
}

// The addresses of a mailbox that is connected are own people's from then on, in the mail of others too, and no longer when it is erased.
func TestOwnAddressesChange(t *testing.T) {
	o := newOffice(t, false, "ann", "bob")
	o.connect("bob")
	o.crm.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ann"}, "Ann", "ann@own.example")
	o.arrives("bob", provider.RoleInbox, "hello@x", "From: Ann <ann+news@own.example>", "To: bob@own.example")
	o.arrives("bob", provider.RoleInbox, "memo@x", "From: Ann <Ann@own.example>", "To: bob@own.example", "Cc: ada@customer.example")
	o.rest()
	o.has("hello@x", "ann by address; bob; whole")
	o.has("memo@x", "ada by address, ann by address; bob; whole")
	o.connect("ann")
	o.rest()
	o.has("hello@x")
	o.has("memo@x", "ada by address; bob; whole")
	x, err := o.engine.Explain(t.Context(), emailinttest.Org, "hello@x")
	if err != nil || len(x.Copies) != 1 || x.Copies[0].Fate != state.FateInternal {
		t.Errorf("a mail among colleagues is %+v, %v", x, err)
	}
	// From the first page on, though the rest of the mailbox may be erased later.
	for i := range 3 {
		o.arrives("ann", provider.RoleInbox, fmt.Sprintf("%d@x", i), "From: ada@customer.example", "To: ann@own.example")
	}
	o.rest()
	h, err := ident.New(make([]byte, 32), emailinttest.Org)
	o.ok(err)
	r, err := o.state.Erase(t.Context(), emailinttest.Org, o.conns["ann"], o.now, state.Change{Participants: []state.Hash{state.Hash(h.Key("ann@own.example"))}}, 1)
	if err != nil || r.Erased {
		t.Fatalf("%+v, %v", r, err)
	}
	ann := o.conns["ann"]
	delete(o.conns, "ann")
	for range 3 {
		o.ok(o.engine.Sync(t.Context(), emailinttest.Org, o.conns["bob"]))
	}
	o.has("hello@x", "ann by address; bob; whole")
	o.ok(second(o.engine.Erase(t.Context(), emailinttest.Org, ann)))
	o.rest()
	o.has("hello@x", "ann by address; bob; whole")
	o.has("memo@x", "ada by address, ann by address; bob; whole")
}

// A mail that only waits for its owner to sign in again is not saved without its text meanwhile.
func TestAMailboxThatWaitsForItsUserKeepsItsMailWhole(t *testing.T) {
	o := newOffice(t, false, "ann", "bob")
	o.connect("ann", "bob")
	o.arrives("ann", provider.RoleInbox, "hers@x", "From: ada@customer.example", "To: ann@own.example")
	o.host.saving = func() {
		o.ok(o.state.SetState(t.Context(), emailinttest.Org, o.conns["ann"], state.NeedsUser, "sign in again"))
		panic("the CRM has a bad day") // an answer that is no answer
	}
	if err := o.engine.Sync(t.Context(), emailinttest.Org, o.conns["ann"]); err == nil {
		t.Fatal("it went well")
	}
	o.host.saving = nil
	o.now = o.now.Add(time.Hour)
	o.ok(o.engine.Sync(t.Context(), emailinttest.Org, o.conns["bob"]))
	o.has("hers@x")
	o.connect("ann")
	o.rest()
	o.has("hers@x", "ada by address; ann; whole")
}

// An email that lost its links and got them back is decided like any other when something changes again.
func TestUnlinkedLinkedAndChanged(t *testing.T) {
	o := newOffice(t, false, "ann", "bob")
	o.connect("ann", "bob")
	const from, to = "From: ada@customer.example", "To: ann@own.example, bob@own.example"
	o.arrives("ann", provider.RoleInbox, "both@x", from, to)
	o.arrives("bob", provider.RoleInbox, "both@x", from, to)
	set := func(contacts, accounts bool) {
		s, v, err := o.engine.Settings(t.Context(), emailinttest.Org)
		o.ok(err)
		s.Rules.Contacts, s.Rules.Accounts = contacts, accounts
		o.ok(second(o.engine.SetSettings(t.Context(), emailinttest.Org, s, v)))
		o.rest()
	}
	o.crm.Add(emailinttest.Org, linker.Record{Kind: linker.Account, ID: "customer"}, "Customer", "customer.example")
	for range 2 {
		set(true, false)
		o.has("both@x", "ada by address; ann, bob; whole")
		set(false, false)
		o.has("both@x")
		set(true, true)
		o.has("both@x", "customer by domain, ada by address; ann, bob; whole")
	}
}

package emailint_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"go/parser"
	"go/token"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
	"github.com/intellicon/email-integration/signature"
	"github.com/intellicon/email-integration/smtp"
)

// The rows of the settings page that no other file has, each driven by the patch that its form sends and seen on mail. docs/settings.md says where each row
// has its test.

// patched saves what a form of the page sends.
func patched(t *testing.T, e *emailint.Engine, patch string) {
	t.Helper()
	root := e.As(emailint.Actor{Org: emailinttest.Org, User: "root", Admin: true})
	_, version, err := root.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := root.PatchSettings(t.Context(), []byte(patch), version); err != nil {
		t.Fatal(err)
	}
}

// The index of the rows names tests that there are.
func TestEveryRowHasItsTest(t *testing.T) {
	text, err := os.ReadFile("../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, pattern := range []string{"*_test.go", "../smtp/*_test.go", "../signature/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for name := range f.Scope.Objects { //nolint:staticcheck // names are all that is asked
				there[name] = true
			}
		}
	}
	rows := 0
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| row ") {
			continue
		}
		names := regexp.MustCompile(`\bTest\w+`).FindAllString(line[strings.LastIndex(strings.TrimSuffix(line, "|"), "|"):], -1)
		if len(names) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, n := range names {
			if !there[n] {
				t.Errorf("there is no %s", n)
			}
		}
		rows++
	}
	if rows < 20 {
		t.Errorf("%d rows", rows)
	}
}

// The organisation's own app, entered on the page, is the one by which its people's mail comes.
func TestTheOrganisationsOwnApp(t *testing.T) {
	for kind, tenant := range map[emailinttest.AuthKind]string{emailinttest.AuthGoogle: "", emailinttest.AuthMicrosoft: "organizations"} {
		h := signingIn(t, kind)
		h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
		h.opts.Apps = nil
		h.again()
		redirect := h.Engine.RedirectURI(h.name)
		h.auth.Register(emailinttest.AuthClient{ID: "their-own", Secret: "their-secret", Redirects: []string{redirect}})
		patched(t, h.Engine, fmt.Sprintf(`{"apps":{%q:{"client_id":"their-own","client_secret":"their-secret","tenant":%q,"redirect_uri":%q}}}`, h.name, tenant, redirect))
		consent, err := h.Engine.Consent(t.Context(), emailint.ConsentRequest{Session: emailint.Session{ID: "ann-1", Org: emailinttest.Org, User: "ann"}, Provider: h.name})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(consent)
		if err != nil {
			t.Fatal(err)
		}
		if q := u.Query(); q.Get("client_id") != "their-own" || q.Get("redirect_uri") != redirect || !strings.Contains(u.Path, tenant) {
			t.Errorf("%s: the browser is sent to %s", kind, consent)
		}
		c := h.connection(h.connect("ann-1", "").Get("connected"))
		h.fake.Deliver([]byte(mail("ada@customer.example", emailinttest.Owner, "1")), h.Now(), provider.RoleInbox)
		if err := h.sync(c); err != nil || len(h.CRM.Emails(emailinttest.Org)) != 1 {
			t.Errorf("%s: the CRM has %d emails, %v", kind, len(h.CRM.Emails(emailinttest.Org)), err)
		}
	}
}

// The mail server and the sender of the page, tested and used, with the signature of the page in the mail, once and above the quote.
func TestMailServerAndSignatureOfThePage(t *testing.T) {
	world, err := mailworld.Serve("office@own.example", "right", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close() //nolint:errcheck // the test is over
	var e *emailint.Engine
	w := emailinttest.New(t, emailinttest.WithCRM(valued{emailinttest.NewMemCRM()}), emailinttest.WithOptions(func(o *emailint.Options) {
		o.SMTP = func(s emailint.SMTP) (emailint.SMTPServer, error) {
			return smtp.New(smtp.Config{Host: s.Host, Port: s.Port, Encryption: smtp.Encryption(s.Encryption), Username: s.Username,
				Password: smtp.Secret(s.Password), FromAddress: s.FromAddress, FromName: s.FromName, TLSConfig: &tls.Config{RootCAs: world.Roots}})
		}
		o.Sender = nil
	}))
	e = w.Engine
	at := world.SMTP.(*net.TCPAddr)
	form := emailint.SMTP{Host: at.IP.String(), Port: at.Port, Encryption: emailint.SSL, Username: "office@own.example", Password: "wrong", FromAddress: "office@own.example", FromName: "The Office"}
	if err := e.TestSMTP(t.Context(), emailinttest.Org, form); err == nil {
		t.Error("a wrong password passes")
	}
	form.Password = "right"
	if err := e.TestSMTP(t.Context(), emailinttest.Org, form); err != nil {
		t.Error(err)
	}
	patched(t, e, fmt.Sprintf(`{"smtp":{"host":%q,"port":%d,"encryption":"ssl","username":"office@own.example","password":"right","from_address":"office@own.example","from_name":"The Office"},
		"signature":{"html":"<p>{{user_name}} of {{company_name}}</p>"}}`, form.Host, form.Port))
	form.Password = emailint.SecretSet
	if err := e.TestSMTP(t.Context(), emailinttest.Org, form); err != nil {
		t.Errorf("by what is saved: %v", err)
	}
	s, _, err := e.Settings(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := e.Signature(t.Context(), emailinttest.Org, "user")
	if err != nil {
		t.Fatal(err)
	}
	raw, id, err := smtp.Compose(smtp.Outgoing{From: message.Address{Name: s.SMTP.FromName, Addr: s.SMTP.FromAddress}, To: []message.Address{{Addr: "ada@customer.example"}},
		Subject: "offer", Text: signature.AppendText("Here it is.", sig.Text)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "1", From: s.SMTP.FromAddress, Recipients: []string{"ada@customer.example"}, Raw: raw})
	if err != nil || got.Error != "" {
		t.Fatalf("Send = %+v, %v", got, err)
	}
	sent := world.Sent()
	if len(sent) != 1 || !bytes.Contains(sent[0], []byte("From: \"The Office\" <office@own.example>")) || !bytes.Contains(sent[0], []byte(id)) ||
		bytes.Count(sent[0], []byte("Nora <user> of Northwind")) != 1 {
		t.Errorf("the server has %d mails: %s", len(sent), bytes.Join(sent, nil))
	}
}

// What is linked, and what is not: each switch alone, off and on, on mail that is there and on mail that comes.
func TestLinkingRowsOfThePage(t *testing.T) {
	ada := linker.Record{Kind: linker.Contact, ID: "ada"}
	firm := linker.Record{Kind: linker.Account, ID: "firm"}
	lead := linker.Record{Kind: linker.Lead, ID: "lee"}
	deal := linker.Record{Kind: linker.Opportunity, ID: "deal"}
	off := `"contacts":false,"accounts":false,"leads":false,"opportunities":false,"create_contacts":false`
	for _, c := range []struct{ row, from, on, without, with string }{
		{"contacts", "ada@customer.example", `"contacts":true`, "", "contact/ada"},
		{"accounts", "somebody@customer.example", `"accounts":true`, "", "account/firm"},
		{"leads", "lee@lead.example", `"leads":true`, "", "lead/lee"},
		{"opportunities", "ada@customer.example", `"contacts":true,"opportunities":true`, "", "contact/ada opportunity/deal"},
		{"create contact if not found", "new@unknown.example", `"contacts":true,"create_contacts":true`, "", "contact/new:new@unknown.example"},
	} {
		t.Run(c.row, func(t *testing.T) {
			w := emailinttest.New(t)
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			w.CRM.Add(emailinttest.Org, firm, "Firm", "customer.example")
			w.CRM.Add(emailinttest.Org, lead, "Lee", "lee@lead.example")
			w.CRM.Relate(emailinttest.Org, ada, linker.Related{Record: deal, Opened: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)})
			is := func(id, want string) {
				t.Helper()
				var got []string
				for _, e := range w.CRM.Emails(emailinttest.Org) {
					for _, l := range e.Links {
						if e.Message.MessageID == id {
							got = append(got, string(l.Kind)+"/"+l.ID)
						}
					}
				}
				if strings.Join(got, " ") != want {
					t.Errorf("%s is linked to %v, want %q", id, got, want)
				}
			}
			patched(t, w.Engine, `{"rules":{`+off+`}}`)
			w.Deliver(raw(c.from, "before@x", ""))
			drained(t, w)
			is("before@x", c.without)
			patched(t, w.Engine, `{"rules":{`+c.on+`}}`)
			w.Deliver(raw(c.from, "after@x", ""))
			drained(t, w)
			is("after@x", c.with)
			is("before@x", c.with) // what came before follows
			patched(t, w.Engine, `{"rules":{`+off+`}}`)
			drained(t, w)
			is("before@x", c.without)
		})
	}
}

// A personal domain and one of the organisation's own, entered on the page, keep mail out.
func TestExcludedDomainsOfThePage(t *testing.T) {
	w := emailinttest.New(t)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@gmail.com", "ada@own.example")
	for _, from := range []string{"ada@gmail.com", "ada@own.example"} {
		w.Deliver(raw(from, from, ""))
	}
	drained(t, w)
	want := func(n int) {
		t.Helper()
		if got := len(w.CRM.Emails(emailinttest.Org)); got != n {
			t.Errorf("the CRM has %d emails, want %d", got, n)
		}
	}
	want(2)
	patched(t, w.Engine, `{"rules":{"excluded_domains":[{"domain":"gmail.com","reach":"everything"}]}}`)
	drained(t, w)
	want(1)
	patched(t, w.Engine, `{"rules":{"own_domains":["own.example"]}}`)
	drained(t, w)
	want(0)
	for id, fate := range map[string]string{"ada@gmail.com": "excluded domain gmail.com", "ada@own.example": "among own people"} {
		if x, err := w.Engine.Explain(t.Context(), emailinttest.Org, id); err != nil || len(x.Copies) != 1 || x.Copies[0].Reason != fate {
			t.Errorf("%s is explained as %+v, %v", id, x.Copies, err)
		}
	}
	patched(t, w.Engine, `{"rules":{"excluded_domains":[],"own_domains":[]}}`)
	drained(t, w)
	want(2)
}

// Archive after linking, label, ignore automated: each is seen in the mailbox, or in the CRM, from the moment it is switched on.
func TestInboxRowsOfThePage(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := emailinttest.New(t, emailinttest.WithPersonality(p))
		w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		arrive := func(id, extra string, in, label, crm bool) {
			t.Helper()
			w.Advance(time.Minute)
			w.Deliver(raw("ada@customer.example", id+"@x", extra))
			drained(t, w)
			drained(t, w)
			there := false
			for _, e := range w.CRM.Emails(emailinttest.Org) {
				there = there || e.Message.MessageID == id+"@x"
			}
			if inInbox(w, id) != in || labelled(w, id) != label || there != crm {
				t.Errorf("%s: in the inbox %v, labelled %v, in the CRM %v", id, inInbox(w, id), labelled(w, id), there)
			}
			// A category has the very name; a keyword and a label have an id of it (facts 1.5, 3.3).
			if s := w.Fake.Look(id + "@x"); label && p == providertest.Graph && s[0].Labels[0] != "In the CRM" {
				t.Errorf("%s has the categories %q", id, s[0].Labels)
			}
		}
		arrive("plain", "", true, false, true)
		patched(t, w.Engine, `{"inbox":[{"id":"label","on":true,"do":"label","label":"In the CRM"}]}`)
		arrive("labelled", "", true, true, true)
		patched(t, w.Engine, `{"inbox":[{"id":"label","on":true,"do":"label","label":"In the CRM"},{"id":"archive","on":true,"do":"archive"}]}`)
		arrive("archived", "", false, true, true)
		arrive("robot", "Auto-Submitted: auto-generated\n", false, true, true)
		patched(t, w.Engine, `{"rules":{"ignore_automated":true}}`)
		arrive("ignored", "Auto-Submitted: auto-generated\n", true, false, false)
		patched(t, w.Engine, `{"inbox":[]}`)
		arrive("off", "", true, false, true)
	})
}

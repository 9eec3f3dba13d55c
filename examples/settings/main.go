// Command settings walks an organisation through its settings page, row by row, on embedded servers, and prints what each setting does: OAuth app,
// consent, mail server, signature, pace, import, emails of an earlier integration, linking, exclusions, rules of the inbox, who may do what, trouble and
// another try, pause, disconnection.
//
//	settings
//
// The authorization server and the mailbox are emailinttest's and providertest's: strict, in memory, on loopback ports. What a host writes is what this
// program writes between them.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/examples/internal/program"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
	"github.com/intellicon/email-integration/signature"
	"github.com/intellicon/email-integration/smtp"
)

const (
	org   = "northwind"
	owner = mailworld.Owner
)

func main() {
	program.Main("settings", func(ctx context.Context, _ []string, out io.Writer) error { return run(ctx, out) })
}

// crm is the host's CRM: it also knows what stands in a signature.
type crm struct{ *emailinttest.MemCRM }

func (crm) SignatureValues(_ context.Context, _, user string) (signature.Values, error) {
	return signature.Values{UserName: map[string]string{"nora": "Nora Lind"}[user], UserTitle: "Sales", CompanyName: "Northwind Tools"}, nil
}

// clock is the time of this walk, which can be moved on.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// walk is the engine in its host, and what is around it.
type walk struct {
	out   io.Writer
	eng   *emailint.Engine
	admin *emailint.Acting
	crm   *emailinttest.MemCRM
	box   *providertest.Fake
	auth  *emailinttest.AuthServer
	base  string
	clock *clock
	mails int
	step  int
	// advised is what was advised already.
	advised map[emailint.Advice]bool
}

func run(ctx context.Context, out io.Writer) (err error) {
	w := &walk{out: out, crm: emailinttest.NewMemCRM(), advised: map[emailint.Advice]bool{}, clock: &clock{now: time.Now()}}
	if err := w.crm.Load(org, []byte(mailworld.CRM)); err != nil {
		return err
	}
	st, err := sqlite.Open(ctx, ":memory:")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	world, err := mailworld.Serve(owner, mailworld.Password, nil)
	if err != nil {
		return err
	}
	defer world.Close() //nolint:errcheck // the walk is over
	w.box = providertest.NewFake(providertest.Gmail, provider.Profile{Address: owner}, w.clock.Now)
	w.auth = emailinttest.NewAuthServer(emailinttest.AuthGoogle, &emailinttest.AuthOptions{Now: w.clock.Now})
	w.auth.SignIn(emailinttest.AuthUser{Subject: "nora-at-google", Address: owner})
	defer w.auth.Listen().Close()

	// The host's web server: the engine's Handler below /email, and everything else is the host's own pages.
	mux := http.NewServeMux()
	mux.HandleFunc("/settings", func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, r.URL.RawQuery) //nolint:errcheck // to a browser of ours
	})
	site := httptest.NewServer(mux)
	defer site.Close()
	w.base = site.URL + "/email"
	keys := []emailint.Key{{ID: "2026", Secret: make([]byte, 32)}}
	index := make([]byte, 32)
	rand.Read(keys[0].Secret) //nolint:errcheck // it never fails
	rand.Read(index)          //nolint:errcheck // it never fails
	w.eng, err = emailint.New(emailint.Options{
		State: st, CRM: crm{w.crm}, Keys: keys, IndexKey: index, Now: w.clock.Now, BaseURL: w.base,
		Providers: []provider.Provider{w.auth.Provider("gmail", w.box)},
		// Whose request it is the host knows by its own session.
		Session: func(r *http.Request) (emailint.Session, error) {
			c, err := r.Cookie("session")
			if err != nil {
				return emailint.Session{}, err
			}
			return emailint.Session{ID: c.Value, Org: org, User: "nora"}, nil
		},
		SMTP: func(s emailint.SMTP) (emailint.SMTPServer, error) {
			return smtp.New(smtp.Config{Host: s.Host, Port: s.Port, Encryption: smtp.Encryption(s.Encryption), Username: s.Username,
				Password: smtp.Secret(s.Password), FromAddress: s.FromAddress, FromName: s.FromName, TLSConfig: &tls.Config{RootCAs: world.Roots}})
		},
	})
	if err != nil {
		return err
	}
	mux.Handle("/email/", w.eng.Handler())
	w.admin = w.eng.As(emailint.Actor{Org: org, User: "grace", Admin: true})
	for _, step := range []func(context.Context) error{w.app, func(ctx context.Context) error { return w.server(ctx, world.SMTP) }, w.signature, w.window, w.connect, w.declared,
		w.linking, w.exclusion, w.inbox, w.pace, w.access, w.retry, w.pause, w.disconnect} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) title(text string) {
	w.step++
	fmt.Fprintf(w.out, "\n%d. %s\n", w.step, text)
}

func (w *walk) say(format string, args ...any) { fmt.Fprintf(w.out, "   "+format+"\n", args...) }

// set changes settings as the page does: by a merge patch of what its form holds.
func (w *walk) set(ctx context.Context, patch string) error {
	_, version, err := w.admin.Settings(ctx)
	if err != nil {
		return err
	}
	s, _, err := w.admin.PatchSettings(ctx, []byte(patch), version)
	if err != nil {
		return err
	}
	advice, err := w.eng.Advice(ctx, org, s)
	for _, a := range advice {
		if w.advised[a] { // a page shows it all the time
			continue
		}
		w.advised[a] = true
		w.say("advice on %s: %s", a.Field, a.Text)
	}
	return err
}

// refused is set where an error is what is to be shown.
func (w *walk) refused(ctx context.Context, patch string) error {
	err := w.set(ctx, patch)
	if err == nil {
		return fmt.Errorf("%s was taken", patch)
	}
	for _, line := range strings.Split(strings.TrimPrefix(err.Error(), "emailint: settings: "), "\n") {
		w.say("refused: %s", line)
	}
	return nil
}

func (w *walk) app(ctx context.Context) error {
	w.title("The organisation's OAuth app")
	if err := w.refused(ctx, `{"apps": {"gmail": {"client_id": "two words", "client_secret": "s3cret", "redirect_uri": "https://elsewhere.example/callback"}}}`); err != nil {
		return err
	}
	redirect := w.eng.RedirectURI("gmail")
	w.auth.Register(emailinttest.AuthClient{ID: "northwind-crm", Secret: "s3cret", Redirects: []string{redirect}})
	if err := w.set(ctx, fmt.Sprintf(`{"apps": {"gmail": {"client_id": "northwind-crm", "client_secret": "s3cret", "redirect_uri": %q}},
		"rules": {"own_domains": ["northwind-tools.example"]}}`, redirect)); err != nil {
		return err
	}
	s, _, err := w.admin.Settings(ctx)
	w.say("stored: client %s, secret %s", s.Apps["gmail"].ClientID, s.Apps["gmail"].ClientSecret)
	return err
}

func (w *walk) server(ctx context.Context, at net.Addr) error {
	w.title("Mail server: Test Connection, then save")
	tcp := at.(*net.TCPAddr)
	form := emailint.SMTP{Host: tcp.IP.String(), Port: tcp.Port, Encryption: emailint.SSL, Username: owner, Password: "wrong", FromAddress: owner, FromName: "Northwind"}
	err := w.admin.TestSMTP(ctx, form)
	if err == nil {
		return errors.New("a wrong password passes the test")
	}
	var failed *smtp.TestError
	if errors.As(err, &failed) {
		w.say("the test fails at the step %q: %s", failed.Step, failed.Hint)
	}
	form.Password = mailworld.Password
	if err := w.admin.TestSMTP(ctx, form); err != nil {
		return err
	}
	w.say("with the right one it passes")
	if err := w.set(ctx, fmt.Sprintf(`{"smtp": {"host": %q, "port": %d, "encryption": "ssl", "username": %q, "password": %q, "from_address": %q}}`, form.Host, form.Port, owner, mailworld.Password, owner)); err != nil {
		return err
	}
	// The form comes back with a blank password, and another name.
	if err := w.set(ctx, `{"smtp": {"password": "", "from_name": "Northwind Tools"}}`); err != nil {
		return err
	}
	if err := w.refused(ctx, `{"smtp": {"host": "smtp.elsewhere.example", "password": ""}}`); err != nil {
		return err
	}
	form.Password = emailint.SecretSet
	return w.admin.TestSMTP(ctx, form)
}

func (w *walk) signature(ctx context.Context) error {
	w.title("Signature: the organisation's, a user's own, and back")
	if err := w.refused(ctx, `{"signature": {"html": "<p>{{user_nmae}}</p>"}}`); err != nil {
		return err
	}
	if err := w.set(ctx, `{"signature": {"html": "<p>{{user_name}}, {{company_name}}<br>Phone: {{user_phone}}</p>"}}`); err != nil {
		return err
	}
	show := func(who string) error {
		s, err := w.eng.Signature(ctx, org, "nora")
		w.say("%s: %q", who, s.Text)
		return err
	}
	nora := w.eng.As(emailint.Actor{Org: org, User: "nora"})
	if err := show("the organisation's"); err != nil {
		return err
	}
	if _, err := nora.SetUserSettings(ctx, emailint.UserSettings{Signature: "<p>{{user_name}}, who answers</p>"}, 0); err != nil {
		return err
	}
	if err := show("her own"); err != nil {
		return err
	}
	if err := w.set(ctx, `{"signature": {"allow_override": false}}`); err != nil {
		return err
	}
	return show("one for all")
}

// deliver puts a mail into the mailbox, as old as it says, and returns its Message-ID.
func (w *walk) deliver(from, subject string, age time.Duration, extra string) string {
	w.mails++
	id := fmt.Sprintf("mail-%d@example", w.mails)
	at := w.clock.Now().Add(-age)
	w.box.Deliver(fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s>\r\nDate: %s\r\n%s\r\nHello\r\n", from, owner, subject, id, at.Format(time.RFC1123Z), extra), at, provider.RoleInbox)
	return id
}

// sync has a pass, and says what became of a mail.
func (w *walk) sync(ctx context.Context) error {
	w.clock.advance(time.Minute)
	ms, err := w.admin.Mailboxes(ctx)
	for _, m := range ms {
		err = errors.Join(err, w.eng.Sync(ctx, org, m.ID))
	}
	return err
}

func (w *walk) tell(ctx context.Context, what, id string) error {
	x, err := w.eng.Explain(ctx, org, id)
	if err != nil {
		return err
	}
	if len(x.Copies) == 0 {
		w.say("%s: not listed", what)
		return nil
	}
	var links []string
	for _, e := range x.Emails {
		for _, l := range e.Links {
			links = append(links, fmt.Sprintf("%s %s", l.Kind, w.crm.Name(org, l.Record)))
		}
	}
	reason := x.Copies[0].Reason
	if len(links) > 0 {
		reason = strings.Join(links, ", ")
	}
	w.say("%s: %s (%s)", what, x.Copies[0].Fate, reason)
	return nil
}

const day = 24 * time.Hour

func (w *walk) window(ctx context.Context) error {
	w.title("Import: the last 30 days")
	w.deliver("maria.keller@acme-pumps.example", "29 days and 23 hours", 30*day-time.Hour, "")
	w.deliver("maria.keller@acme-pumps.example", "30 days and 1 hour", 30*day+time.Hour, "")
	return w.set(ctx, `{"sync": {"import_days": 30}}`)
}

func (w *walk) connect(ctx context.Context) error {
	w.title("Nora connects her mailbox: consent, import")
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	u, err := url.Parse(w.base)
	if err != nil {
		return err
	}
	jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: "her-session", Path: "/"}})
	browser := &http.Client{Jar: jar}
	visit := func() error {
		res, err := browser.Get(w.base + "/oauth/gmail/start?return=/settings")
		if err != nil {
			return err
		}
		defer res.Body.Close() //nolint:errcheck // it was read
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		told, err := url.ParseQuery(string(text))
		for _, k := range slices.Sorted(maps.Keys(told)) {
			w.say("the settings page is told %s: %s", k, told.Get(k))
		}
		return err
	}
	w.say("she says no:")
	w.auth.Refuse("access_denied", "")
	if err := visit(); err != nil {
		return err
	}
	w.say("she says yes:")
	w.auth.SignIn(emailinttest.AuthUser{Subject: "nora-at-google", Address: owner})
	if err := visit(); err != nil {
		return err
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	if err := w.tell(ctx, "29 days and 23 hours old", "mail-1@example"); err != nil {
		return err
	}
	if err := w.tell(ctx, "30 days and 1 hour old", "mail-2@example"); err != nil {
		return err
	}
	if err := w.set(ctx, `{"sync": {"import_days": 60}}`); err != nil {
		return err
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	return w.tell(ctx, "the same, with 60 days", "mail-2@example")
}

func (w *walk) declared(ctx context.Context) error {
	w.title("An email that another integration left in the CRM")
	w.crm.Had(org, "crm-1")
	file := linker.Record{Kind: linker.Contact, ID: "former"}
	w.crm.Add(org, file, "a former customer")
	id := w.deliver("somebody@nowhere.example", "what no rule links", 0, "")
	if _, err := w.eng.Declare(ctx, org, emailint.DeclaredEmail{ID: "crm-1", MessageID: id, Records: []linker.Record{file}}); err != nil {
		return err
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	n, err := w.eng.Declared(ctx, org)
	if err != nil {
		return err
	}
	w.say("declared %d, met %d; the CRM has %d emails, %d of which no mailbox has shown", n.Declared, n.Met, w.crm.Count(org), w.crm.Count(org)-len(w.crm.Emails(org)))
	return w.tell(ctx, "it", id)
}

func (w *walk) linking(ctx context.Context) error {
	w.title("What is linked, and contacts of unknown senders")
	id := w.deliver("maria.keller@acme-pumps.example", "the contract", 0, "")
	if err := w.sync(ctx); err != nil {
		return err
	}
	if err := w.tell(ctx, "contacts and accounts", id); err != nil {
		return err
	}
	if err := w.set(ctx, `{"rules": {"leads": true, "opportunities": true, "accounts": true, "contacts": false}}`); err != nil {
		return err
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	if err := w.tell(ctx, "contacts off, opportunities on", id); err != nil {
		return err
	}
	if err := w.set(ctx, `{"rules": {"contacts": true, "create_contacts": true}}`); err != nil {
		return err
	}
	id = w.deliver("Ines Roth <ines@roth-optik.example>", "a question", 0, "")
	if err := w.sync(ctx); err != nil {
		return err
	}
	return w.tell(ctx, "somebody unknown", id)
}

func (w *walk) exclusion(ctx context.Context) error {
	w.title("Excluded domains")
	id := w.deliver("somebody@gmail.com", "private", 0, "")
	if err := w.set(ctx, `{"rules": {"excluded_domains": [{"domain": "gmail.com", "reach": "everything"}]}}`); err != nil {
		return err
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	return w.tell(ctx, "from gmail.com", id)
}

func (w *walk) inbox(ctx context.Context) error {
	w.title("Rules of the inbox: label what is linked, archive it, ignore what machines send")
	if err := w.set(ctx, `{"inbox": [{"id": "label", "on": true, "do": "label", "label": "CRM"}, {"id": "archive", "on": true, "do": "archive"}], "rules": {"ignore_automated": true}}`); err != nil {
		return err
	}
	w.clock.advance(time.Minute)
	id := w.deliver("tom@birch.example", "the retrofit", 0, "")
	robot := w.deliver("tom@birch.example", "out of office", 0, "Auto-Submitted: auto-replied\r\n")
	if err := w.sync(ctx); err != nil {
		return err
	}
	if err := w.tell(ctx, "Tom's mail", id); err != nil {
		return err
	}
	for _, s := range w.box.Look(id) {
		w.say("it is in the inbox: %v; labels it has: %d", slices.ContainsFunc(s.Folders, func(f provider.Folder) bool { return f.Role == provider.RoleInbox }), len(s.Labels))
	}
	return w.tell(ctx, "his machine's", robot)
}

func (w *walk) pace(ctx context.Context) error {
	w.title("Pace: inbound hourly, outbound every five minutes")
	if err := w.set(ctx, `{"sync": {"inbound_minutes": 60, "outbound_minutes": 5}}`); err != nil {
		return err
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	ms, err := w.eng.Status(ctx, org, 1)
	if err != nil {
		return err
	}
	now := w.clock.Now()
	w.say("next for what she sends in about %.0f minutes, for everything in about %.0f", ms.Connection.NextSent.Sub(now).Round(5*time.Minute).Minutes(), ms.Connection.NextDue.Sub(now).Round(10*time.Minute).Minutes())
	return nil
}

func (w *walk) access(ctx context.Context) error {
	w.title("Who may do what")
	ms, err := w.admin.Mailboxes(ctx)
	if err != nil {
		return err
	}
	for _, m := range ms {
		w.say("the administrator sees: %s of %s is %s, %d mails", m.Address, m.User, m.State, m.Counts.Total)
	}
	if _, err := w.admin.Disconnect(ctx, ms[0].ID); err == nil {
		return errors.New("an administrator may disconnect another's mailbox")
	} else {
		w.say("and is told: %v", err)
	}
	x, err := w.admin.Explain(ctx, "mail-1@example")
	w.say("of a mail in it the administrator is told nothing: %d copies, %d emails", len(x.Copies), len(x.Emails))
	return err
}

func (w *walk) retry(ctx context.Context) error {
	w.title("The service wants an administrator's leave, and another try")
	ms, err := w.admin.Mailboxes(ctx)
	if err != nil {
		return err
	}
	w.clock.advance(2 * time.Hour) // the access token is over
	w.auth.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Code: "admin_policy_enforced"})
	if err := w.sync(ctx); err == nil {
		return errors.New("it works without leave")
	}
	show := func() error {
		now, err := w.admin.Mailboxes(ctx)
		if err == nil {
			w.say("%s is %q %s", now[0].Address, now[0].State, now[0].Reason)
		}
		return err
	}
	if err := show(); err != nil {
		return err
	}
	if err := w.admin.Retry(ctx, ms[0].ID); err != nil { // it was given
		return err
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	return show()
}

func (w *walk) pause(ctx context.Context) error {
	w.title("Pause, of the administrator and of the operator")
	if err := w.admin.Pause(ctx, "", "the CRM moves"); err != nil {
		return err
	}
	if err := w.eng.Pause(ctx, emailint.Pause{Provider: "gmail", By: "the operator", Reason: "a bad release"}); err != nil {
		return err
	}
	for _, resume := range []func() error{
		func() error { return w.eng.Resume(ctx, "", "gmail", "the operator") },
		func() error { return w.admin.Resume(ctx, "") },
	} {
		err := w.sync(ctx)
		if !errors.Is(err, emailint.ErrPaused) {
			return fmt.Errorf("while paused a pass ends with: %w", err)
		}
		w.say("%v", err)
		if err := resume(); err != nil {
			return err
		}
	}
	return w.sync(ctx)
}

func (w *walk) disconnect(ctx context.Context) error {
	w.title("Nora disconnects")
	nora := w.eng.As(emailint.Actor{Org: org, User: "nora"})
	ms, err := nora.Mailboxes(ctx)
	if err != nil {
		return err
	}
	receipt, err := nora.Disconnect(ctx, ms[0].ID)
	if err != nil {
		return err
	}
	w.say("the service confirmed that the access ends: %v; the CRM keeps its %d emails", receipt.Revoked, len(w.crm.Emails(org)))
	return nil
}

// Command gmail connects a Gmail mailbox to a small CRM: consent, what an import would cost, people of the CRM first, and, in the Gmail that it brings, mail
// that is told of by push, rules that label and archive, and an answer. It prints each step, and what of Google's quota was used.
//
//	gmail [-state FILE] [-crm FILE.json] [-since 30d|all] [-json] [-api URL [-token TOKEN | -auth-url URL -token-url URL]] [-listen HOST:PORT]
//
// Without arguments it needs nothing: the Gmail is gmailtest's, on a port of this machine. With GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET it is Google's,
// where it only reads; docs/setup-google.md says how to get these. -api points it at any server that speaks the Gmail API.
//
// What a host writes is in main.go (the engine and an import), connect.go (its web server and the sign-in) and live.go (news and an answer).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/examples/internal/inputs"
	"github.com/intellicon/email-integration/examples/internal/memory"
	"github.com/intellicon/email-integration/examples/internal/program"
	"github.com/intellicon/email-integration/examples/internal/walk"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
)

const organisation = "demo"

func main() {
	program.Main("gmail", func(ctx context.Context, args []string, out io.Writer) error { return run(ctx, args, os.Getenv, out) })
}

var names = inputs.Names{Program: "gmail", Speaks: "the Gmail API", Brought: "the Gmail that comes with this program", Owner: "Google", Env: "GOOGLE",
	Guide: "docs/setup-google.md", CRM: "mail with them is read, the rest is listed; none: all is read, and nothing links"}

// demo is one run.
type demo struct {
	inputs.Service
	walk.Steps
	world *world // nil: the mailbox is somebody's
	gmail *gmail.Provider
	mem   *memory.Memory // the CRM
	eng   *emailint.Engine
	conn  emailint.Connection
	saved walk.Saved
	used  int64 // units that were reported
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) (err error) {
	in, err := inputs.ParseService(names, args, env, out)
	if err != nil {
		return err
	}
	defer func() {
		// What a server lacks is all there is to say.
		if missing := (*gmail.MissingError)(nil); errors.As(err, &missing) {
			err = missing
		}
	}()
	d := &demo{Service: in, Steps: walk.Steps{Out: out}, saved: walk.NewSaved()}
	if d.JSON {
		d.Out = io.Discard
	}

	// The CRM: what a host has already, behind the four methods of emailint.CRMStore (examples/sqlstore is one to copy).
	crm, err := memory.CRM(organisation, d.CRM, d.Own())
	if err != nil {
		return err
	}
	if d.mem, err = memory.Open(ctx, d.State, organisation, crm); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.mem.Close()) }()

	// The engine's own rows, in SQLite here; state/postgres for many machines.
	st, err := sqlite.Open(ctx, d.mem.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()

	// The host's web server is reached at this address; the engine's pages are below /email.
	l, err := net.Listen("tcp", d.Listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	defer l.Close() //nolint:errcheck // the server may have closed it
	base := "http://" + l.Addr().String() + "/email"

	// The provider. For Google's Gmail the zero options do; the Topic of Pub/Sub and who may push make mail arrive at once (world.options has them).
	conf := gmail.Options{BaseURL: d.API, AuthURL: d.AuthURL, TokenURL: d.TokenURL}
	app := emailint.App{ClientID: d.ClientID, ClientSecret: emailint.Secret(d.ClientSecret), RedirectURI: base + "/oauth/gmail/callback"}
	if d.Own() {
		d.world = newWorld(base)
		defer d.world.end()
		conf = d.world.options(base)
		app.ClientID, app.ClientSecret = d.world.app.ID, emailint.Secret(d.world.app.Secret)
		d.Brought("Gmail", d.world.srv.URL())
	}
	d.gmail = gmail.New(&conf)
	options := emailint.Options{
		State: st, CRM: d.mem, BaseURL: base, Worker: "gmail",
		Providers: []provider.Provider{d.gmail},
		Apps:      map[string]emailint.App{"gmail": app},
		// A demo keeps its keys with its code; a host takes them from its secret store.
		Keys: []emailint.Key{{ID: "demo", Secret: []byte("gmail example key, 32 bytes long")}}, IndexKey: []byte("gmail example index key, 32 byte"),
		// One person at one machine; a host knows by its cookie whose request it is.
		Session: func(*http.Request) (emailint.Session, error) {
			return emailint.Session{ID: "this run", Org: organisation, User: "demo"}, nil
		},
		Saved: d.saved.Put,
	}
	if d.Token != "" {
		options.Providers, options.Apps = []provider.Provider{walk.ByToken("gmail", d.gmail.OpenToken)}, nil
	}
	if d.eng, err = emailint.New(options); err != nil {
		return err
	}
	page := walk.NewPage()
	defer walk.Serve(l, d.site(page))()

	start := time.Now()
	settings, err := d.settings(ctx)
	if err != nil {
		return err
	}
	if err := d.eng.TakeOver(ctx); err != nil { // a run that was killed left its lease behind
		return err
	}
	if err := d.connect(ctx, base, page); err != nil {
		return err
	}
	plan, err := d.eng.PlanImport(ctx, organisation, d.conn.ID, settings.Sync.ImportDays)
	if err != nil {
		return err
	}
	d.sayPlan(plan, settings.Sync.PeopleFirst)

	d.Title("Importing")
	// A host calls Engine.Run once, which does this for all mailboxes; live.go does.
	if err := d.Patiently(ctx, func() error { return d.eng.Sync(ctx, organisation, d.conn.ID) }); err != nil {
		return err
	}
	// "Synced" is not what the ledger says of itself: the mailbox is listed and compared.
	proof, err := d.eng.Reconcile(ctx, organisation, d.conn.ID, provider.Window{})
	if err != nil {
		return err
	}
	status, err := d.eng.Status(ctx, organisation, d.conn.ID)
	if err != nil {
		return err
	}
	imported := walk.NewImport(status, proof, crm.Emails(organisation), time.Since(start))
	if d.JSON {
		return walk.WriteJSON(out, report{imported, planned(plan), d.gmail.Spent(d.conn.Address)})
	}
	d.Report(imported)
	d.units("importing and comparing")
	if d.world == nil {
		return nil
	}
	return d.live(ctx)
}

// settings are the organisation's: what its administrator would choose on a settings page.
func (d *demo) settings(ctx context.Context) (emailint.Settings, error) {
	_, version, err := d.eng.Settings(ctx, organisation)
	if err != nil {
		return emailint.Settings{}, err
	}
	s := emailint.DefaultSettings()
	s.Sync.ImportDays = d.Days
	s.Sync.InboundMinutes = 0 // real time, as this is to be watched
	// Mail with people of the CRM is searched for, as each message costs quota. Without people nothing would be read.
	s.Sync.PeopleFirst = d.Own() || d.CRM != ""
	if d.Own() {
		s.Rules.Leads, s.Rules.Opportunities = true, true
		s.Rules.OwnDomains = append(s.Rules.OwnDomains, "northwind-tools.example")
		s.Inbox = []emailint.InboxRule{{ID: "label", On: true, Do: emailint.LabelMail, Label: "CRM/Customers"}, {ID: "archive", On: true, Do: emailint.ArchiveMail}}
	}
	_, err = d.eng.SetSettings(ctx, organisation, s, version)
	return s, err
}

// Command outlook connects a mailbox of Microsoft 365 or Outlook.com to a small CRM: consent, an import, and, in the Graph that it brings, mail that is told of by
// notifications, rules that categorise and archive, and an answer. It prints each step, and how many requests were made.
//
//	outlook [-state FILE] [-crm FILE.json] [-since 30d|all] [-json] [-api URL [-token TOKEN | -auth-url URL -token-url URL]] [-listen HOST:PORT]
//
// Without arguments it needs nothing: the Graph is graphtest's, on a port of this machine. With AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (and AZURE_TENANT) it is
// Microsoft's, where it only reads; docs/setup-microsoft.md says how to get these. -api points it at any server that speaks Graph. The first build takes minutes: it compiles
// Microsoft's SDK.
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
	"github.com/intellicon/email-integration/provider/outlook"
)

const organisation = "demo"

func main() {
	program.Main("outlook", func(ctx context.Context, args []string, out io.Writer) error { return run(ctx, args, os.Getenv, out) })
}

var names = inputs.Names{Program: "outlook", Speaks: "Graph, up to the version", Brought: "the Graph that comes with this program", Owner: "Microsoft", Env: "AZURE",
	Guide: "docs/setup-microsoft.md", CRM: "mail with them is linked; none: nothing links"}

// demo is one run.
type demo struct {
	inputs.Service
	walk.Steps
	world   *world // nil: the mailbox is somebody's
	outlook *outlook.Provider
	mem     *memory.Memory // the CRM
	eng     *emailint.Engine
	conn    emailint.Connection
	saved   walk.Saved
	made    requests
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) (err error) {
	in, err := inputs.ParseService(names, args, env, out)
	if err != nil {
		return err
	}
	defer func() {
		// What a server lacks is all there is to say.
		if missing := (*outlook.MissingError)(nil); errors.As(err, &missing) {
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

	// The provider. For Microsoft's Graph the zero options do; NotifyURL and PushKey make mail arrive at once (world.options has them).
	conf := outlook.Options{BaseURL: d.API, AuthURL: d.AuthURL, TokenURL: d.TokenURL}
	app := emailint.App{ClientID: d.ClientID, ClientSecret: emailint.Secret(d.ClientSecret), Tenant: env("AZURE_TENANT"), RedirectURI: base + "/oauth/outlook/callback"}
	if d.Own() {
		d.world = newWorld(base)
		defer d.world.end()
		conf = d.world.options(base)
		app.ClientID, app.ClientSecret = d.world.app.ID, emailint.Secret(d.world.app.Secret)
		d.Brought("Graph", d.world.srv.URL())
	}
	conf.HTTPClient = &http.Client{Transport: &d.made, Timeout: time.Minute} // to count what is asked; a host leaves it out
	d.outlook = outlook.New(&conf)
	options := emailint.Options{
		State: st, CRM: d.mem, BaseURL: base, Worker: "outlook",
		Providers: []provider.Provider{d.outlook},
		Apps:      map[string]emailint.App{"outlook": app},
		// A demo keeps its keys with its code; a host takes them from its secret store.
		Keys: []emailint.Key{{ID: "demo", Secret: []byte("outlook example, 32 bytes of key")}}, IndexKey: []byte("outlook example, index key 32 by"),
		// One person at one machine; a host knows by its cookie whose request it is.
		Session: func(*http.Request) (emailint.Session, error) {
			return emailint.Session{ID: "this run", Org: organisation, User: "demo"}, nil
		},
		Saved: d.saved.Put,
	}
	if d.Token != "" {
		options.Providers, options.Apps = []provider.Provider{walk.ByToken("outlook", d.outlook.OpenToken)}, nil
	}
	if d.eng, err = emailint.New(options); err != nil {
		return err
	}
	page := walk.NewPage()
	defer walk.Serve(l, d.site(page))()

	start := time.Now()
	if err := d.settings(ctx); err != nil {
		return err
	}
	if err := d.eng.TakeOver(ctx); err != nil { // a run that was killed left its lease behind
		return err
	}
	if err := d.connect(ctx, base, page); err != nil {
		return err
	}
	d.made.say(d.Steps, "connecting")

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
		return walk.WriteJSON(out, report{imported, d.made.n.Load()})
	}
	d.Report(imported)
	d.made.say(d.Steps, "importing and comparing")
	if d.world == nil {
		return nil
	}
	return d.live(ctx)
}

// settings are the organisation's: what its administrator would choose on a settings page.
func (d *demo) settings(ctx context.Context) error {
	_, version, err := d.eng.Settings(ctx, organisation)
	if err != nil {
		return err
	}
	s := emailint.DefaultSettings()
	s.Sync.ImportDays = d.Days
	s.Sync.InboundMinutes = 0 // real time, as this is to be watched
	if d.Own() {
		s.Rules.Leads, s.Rules.Opportunities = true, true
		s.Rules.OwnDomains = append(s.Rules.OwnDomains, "northwind-tools.example")
		s.Inbox = []emailint.InboxRule{{ID: "label", On: true, Do: emailint.LabelMail, Label: "CRM/Customers"}, {ID: "archive", On: true, Do: emailint.ArchiveMail}}
	}
	_, err = d.eng.SetSettings(ctx, organisation, s, version)
	return err
}

// Command outlook connects a mailbox of Microsoft 365 or Outlook.com to a small CRM: consent, an import, and, in the Graph that it brings, mail that is told of by
// notifications, rules that categorise and archive, and an answer. It prints each step, and how many requests were made.
//
//	outlook [-state FILE] [-crm FILE.json] [-since 30d|all] [-json] [-api URL [-token TOKEN | -auth-url URL -token-url URL]] [-listen HOST:PORT]
//
// Without arguments it needs nothing: the Graph is graphtest's, on a port of this machine. With AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (and AZURE_TENANT) it is
// Microsoft's, where it only reads; docs/setup-microsoft.md says how to get these. -api points it at any server that speaks Graph. The first build takes minutes: it compiles
// Microsoft's SDK.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/examples/internal/inputs"
	"github.com/intellicon/email-integration/examples/internal/memory"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
)

const organisation = "demo"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "outlook:", line(err))
		os.Exit(1)
	}
}

// line is an error in one line. What a server lacks is all there is to say.
func line(err error) string {
	var missing *outlook.MissingError
	if errors.As(err, &missing) {
		err = missing
	}
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "outlook: "), "\n", "; ")
}

type options struct {
	api, authURL, tokenURL, token, crm, state, since, listen string
	json                                                     bool
	clientID, clientSecret, tenant                           string
}

// parse reads flags and environment.
func parse(args []string, env func(string) string, out io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("outlook", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.api, "api", "", "base URL of a server that speaks Graph, up to the version; Microsoft's with AZURE_CLIENT_ID, else one that comes with this program")
	fs.StringVar(&o.authURL, "auth-url", "", "with -api: the consent page of its authorization server")
	fs.StringVar(&o.tokenURL, "token-url", "", "with -api: its token endpoint")
	fs.StringVar(&o.token, "token", "", "a ready access token: nobody signs in")
	fs.StringVar(&o.crm, "crm", "", "JSON file with the CRM's records; none: nothing links")
	fs.StringVar(&o.state, "state", "", "file that holds everything between runs; without it nothing is kept")
	fs.StringVar(&o.since, "since", "", "how far back: 30d, or all; 30d for a server, all for the one that comes along")
	fs.StringVar(&o.listen, "listen", "", "where the browser comes back to; 127.0.0.1:8085 with Microsoft, where it must be registered")
	fs.BoolVar(&o.json, "json", false, "import only, and print one JSON object")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(out)
			fs.PrintDefaults()
		}
		return o, err
	}
	o.clientID, o.clientSecret, o.tenant = env("AZURE_CLIENT_ID"), env("AZURE_CLIENT_SECRET"), env("AZURE_TENANT")
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("%q is no flag; see -help", fs.Arg(0))
	case (o.clientID == "") != (o.clientSecret == ""):
		return o, errors.New("set AZURE_CLIENT_ID and AZURE_CLIENT_SECRET both, or none of them (docs/setup-microsoft.md says where they are from)")
	case o.api == "" && (o.authURL != "" || o.tokenURL != ""):
		return o, errors.New("-auth-url and -token-url are for the server of -api: name it")
	case o.api != "" && o.token == "" && (o.authURL == "" || o.tokenURL == ""):
		return o, errors.New("-api needs a way in: give -token, or -auth-url and -token-url of its authorization server")
	case o.api != "" && o.token == "" && o.clientID == "":
		return o, errors.New("signing in at -auth-url needs an app: set AZURE_CLIENT_ID and AZURE_CLIENT_SECRET to what that server knows it by, or give -token")
	case o.own() && o.state != "":
		return o, errors.New("-state is for a mailbox that lasts: the Graph that comes with this program is gone when it ends")
	}
	if o.since == "" {
		o.since = map[bool]string{true: "all", false: "30d"}[o.own()]
	}
	if o.listen == "" {
		o.listen = map[bool]string{true: "127.0.0.1:0", false: "127.0.0.1:8085"}[o.own()]
	}
	return o, nil
}

// own reports whether the Graph is the one that comes along.
func (o options) own() bool { return o.api == "" && o.token == "" && o.clientID == "" }

// demo is one run.
type demo struct {
	options
	out   io.Writer // of the steps
	world *world    // nil: the mailbox is somebody's
	prov  *outlook.Provider
	mem   *memory.Memory
	eng   *emailint.Engine
	conn  emailint.Connection
	base  string // of the host's web server
	back  chan string
	saved chan emailint.Email
	made  counter
	used  int64 // requests that were reported
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) (err error) {
	o, err := parse(args, env, out)
	if err != nil {
		return err
	}
	d := &demo{options: o, out: out, back: make(chan string, 1), saved: make(chan emailint.Email, 1024)}
	if o.json {
		d.out = io.Discard
	}
	settings := emailint.DefaultSettings()
	if settings.Sync.ImportDays, err = inputs.Since(o.since); err != nil {
		return err
	}
	settings.Sync.InboundMinutes = 0 // real time, as this is to be watched
	crm := emailinttest.NewMemCRM()
	switch {
	case o.crm != "":
		err = crm.LoadFile(organisation, o.crm)
	case o.own():
		err = crm.Load(organisation, []byte(mailworld.CRM))
	}
	if err != nil {
		return err
	}
	if o.own() {
		settings.Rules.Leads, settings.Rules.Opportunities = true, true
		settings.Rules.OwnDomains = append(settings.Rules.OwnDomains, "northwind-tools.example")
		settings.Inbox = []emailint.InboxRule{{ID: "label", On: true, Do: emailint.LabelMail, Label: "CRM/Customers"}, {ID: "archive", On: true, Do: emailint.ArchiveMail}}
	}

	// The host's web server: the engine's Handler below /email, and one page of its own.
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	defer l.Close() //nolint:errcheck // the server has closed it
	d.base = "http://" + l.Addr().String() + "/email"
	conf := outlook.Options{BaseURL: o.api, AuthURL: o.authURL, TokenURL: o.tokenURL}
	if o.own() {
		d.world = newWorld(d.base)
		defer d.world.end()
		conf = d.world.options(d.base)
	}
	conf.HTTPClient = &http.Client{Transport: &d.made, Timeout: time.Minute}
	d.prov = outlook.New(&conf)
	if o.state == "" {
		dir, err := os.MkdirTemp("", "outlook")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.state = filepath.Join(dir, "state.db")
	}
	if d.mem, err = memory.Open(ctx, o.state, organisation, crm); err != nil {
		return err
	}
	defer d.mem.DB.Close() //nolint:errcheck // every write was committed
	st, err := sqlite.Open(ctx, o.state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	d.eng, err = emailint.New(emailint.Options{
		State: st, CRM: d.mem, Worker: "outlook", BaseURL: d.base,
		// A demo keeps its keys with its code; a host takes them from its secret store.
		Keys: []emailint.Key{{ID: "demo", Secret: []byte("outlook example, 32 bytes of key")}}, IndexKey: []byte("outlook example, index key 32 by"),
		Providers: []provider.Provider{d.provider()},
		Apps:      d.apps(),
		// One person at one machine; a host knows by its cookie whose request it is.
		Session: func(*http.Request) (emailint.Session, error) {
			return emailint.Session{ID: "this run", Org: organisation, User: "demo"}, nil
		},
		Sender: func(_ context.Context, c emailint.Connection) (provider.Sender, error) {
			return d.eng.MailboxSender(c), nil
		},
		Saved: func(_ string, e emailint.Email) {
			select {
			case d.saved <- e:
			default:
			}
		},
	})
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: d.site(), ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(l)   //nolint:errcheck // it ends with Close
	defer srv.Close() //nolint:errcheck // nobody is served any more
	return d.run(ctx, settings, out)
}

// provider is Microsoft's sign-in, or with -token what has a token already.
func (d *demo) provider() provider.Provider {
	if d.token != "" {
		return ready{d.prov}
	}
	return d.prov
}

// apps are what the service knows this program by.
func (d *demo) apps() map[string]emailint.App {
	switch {
	case d.token != "":
		return nil
	case d.world != nil:
		d.clientID, d.clientSecret = d.world.app.ID, d.world.app.Secret
	}
	return map[string]emailint.App{"outlook": {ClientID: d.clientID, ClientSecret: emailint.Secret(d.clientSecret), Tenant: d.tenant, RedirectURI: d.base + "/oauth/outlook/callback"}}
}

// run connects, imports and reports.
func (d *demo) run(ctx context.Context, settings emailint.Settings, out io.Writer) error {
	start := time.Now()
	_, version, err := d.eng.Settings(ctx, organisation)
	if err != nil {
		return err
	}
	if _, err := d.eng.SetSettings(ctx, organisation, settings, version); err != nil {
		return err
	}
	if err := d.eng.TakeOver(ctx); err != nil { // a run that was killed left its lease behind
		return err
	}
	if err := d.connect(ctx); err != nil {
		return err
	}
	d.requests("connecting")
	d.title("Importing")
	if err := d.sync(ctx); err != nil {
		return err
	}
	r, err := d.report(ctx, start)
	if err != nil {
		return err
	}
	if d.json {
		return r.writeJSON(out)
	}
	r.write(d.out)
	d.requests("importing and comparing")
	if d.world == nil {
		return nil
	}
	return d.live(ctx)
}

// sync imports. Where what may be asked is used up it waits, as Run does.
func (d *demo) sync(ctx context.Context) error {
	for {
		err := d.eng.Sync(ctx, organisation, d.conn.ID)
		var limit *provider.RateLimitError
		if !errors.As(err, &limit) {
			return err
		}
		wait := max(limit.RetryAfter, time.Second)
		fmt.Fprintf(d.out, "   what may be asked in ten minutes is used up: going on in %s\n", wait.Round(time.Second))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "   "+format+"\n", args...) }

func (d *demo) title(text string) { fmt.Fprintf(d.out, "\n%s\n", text) }

// requests says how many were made since it was said last.
func (d *demo) requests(what string) {
	n := d.made.n.Load()
	d.say("Requests for %s: %d (ten minutes have 10000)", what, n-d.used)
	d.used = n
}

// counter counts requests.
type counter struct{ n atomic.Int64 }

// RoundTrip implements http.RoundTripper.
func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return http.DefaultTransport.RoundTrip(r)
}

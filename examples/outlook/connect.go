package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/examples/internal/walk"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
)

// serve runs the host's web server: the engine's pages, and the host's own, to which the browser returns in the end.
func (d *demo) serve(l net.Listener) (page walk.Page, end func()) {
	page = walk.NewPage()
	mux := http.NewServeMux()
	mux.Handle("/email/", d.eng.Handler())
	mux.Handle("GET /settings", page)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(l)                     //nolint:errcheck // it ends with Close
	return page, func() { srv.Close() } //nolint:errcheck // nobody is served any more
}

// connect signs in, or uses the token that is there.
func (d *demo) connect(ctx context.Context, base string, page walk.Page) (err error) {
	d.Title("Connecting")
	if d.Token != "" {
		d.conn, err = d.eng.Connect(ctx, organisation, emailint.NewConnection{User: "demo", Provider: "outlook", Credential: []byte(d.Token)})
		if err == nil {
			d.Say("%s, by a token that was there", d.conn.Address)
		}
		return err
	}
	// A host puts this link behind its button "Connect Outlook". The engine sends the browser on to Microsoft, takes the answer, stores the connection, and sends
	// the browser to /settings?connected={its id}.
	begin := base + "/oauth/outlook/start?return=/settings"
	if d.world != nil {
		if err := walk.Browse(ctx, begin); err != nil {
			return err
		}
	} else {
		d.Say("Register the redirect URI %s,", d.eng.RedirectURI("outlook"))
		d.Say("and open %s", begin)
		if d.JSON {
			// The object alone goes to standard output.
			fmt.Fprintln(os.Stderr, "outlook: open", begin)
		}
	}
	id, err := page.Wait(ctx)
	if err != nil {
		return err
	}
	status, err := d.eng.Status(ctx, organisation, id)
	if err != nil {
		return err
	}
	d.conn = status.Connection
	d.Say("%s signed in and allowed it; connection %d", d.conn.Address, d.conn.ID)
	return nil
}

// ready opens a mailbox by an access token that somebody got elsewhere (-token): nobody signs in, and it ends when the token does. A host has no use for it.
type ready struct{ outlook *outlook.Provider }

// Name implements provider.Provider.
func (ready) Name() string { return "outlook" }

// Open implements provider.Provider.
func (p ready) Open(ctx context.Context, credential []byte) (provider.Mailbox, error) {
	return p.outlook.OpenToken(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: string(credential)}))
}

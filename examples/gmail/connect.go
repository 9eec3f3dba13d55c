package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/examples/internal/walk"
)

// site is the host's web server: the engine's pages, and the host's own, to which the browser returns in the end.
func (d *demo) site(page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/email/", d.eng.Handler())
	mux.Handle("GET /settings", page)
	return mux
}

// connect signs in, or uses the token that is there.
func (d *demo) connect(ctx context.Context, base string, page walk.Page) (err error) {
	d.Title("Connecting")
	if d.Token != "" {
		d.conn, err = d.eng.Connect(ctx, organisation, emailint.NewConnection{User: "demo", Provider: "gmail", Credential: []byte(d.Token)})
		if err == nil {
			d.Say("%s, by a token that was there", d.conn.Address)
		}
		return err
	}
	// A host puts this link behind its button "Connect Gmail". The engine sends the browser on to Google, takes the answer, stores the connection, and sends
	// the browser to /settings?connected={its id}.
	begin := base + "/oauth/gmail/start?return=/settings"
	if d.world != nil {
		if err := walk.Browse(ctx, begin); err != nil {
			return err
		}
	} else {
		d.Say("Register the redirect URI %s,", d.eng.RedirectURI("gmail"))
		d.Say("and open %s", begin)
		if d.JSON {
			// The object alone goes to standard output.
			fmt.Fprintln(os.Stderr, "gmail: open", begin)
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

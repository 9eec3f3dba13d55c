package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
)

// ready opens a mailbox by an access token that somebody got elsewhere: nobody signs in, and it ends when the token does.
type ready struct{ outlook *outlook.Provider }

// Name implements provider.Provider.
func (ready) Name() string { return "outlook" }

// Open implements provider.Provider.
func (p ready) Open(ctx context.Context, credential []byte) (provider.Mailbox, error) {
	return p.outlook.OpenToken(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: string(credential)}))
}

// site is the host's web server: the engine's pages, and the page to which the browser returns in the end.
func (d *demo) site() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/email/", d.eng.Handler())
	mux.HandleFunc("GET /settings", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		answer := q.Get("problem")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if q.Get("connected") != "" {
			fmt.Fprintln(w, "Connected. You can close this page.") //nolint:errcheck // to a browser
		} else {
			fmt.Fprintln(w, answer) //nolint:errcheck // to a browser
		}
		select {
		case d.back <- answer:
		default:
		}
	})
	return mux
}

// connect signs in, or uses the token that is there.
func (d *demo) connect(ctx context.Context) (err error) {
	d.title("Connecting")
	if d.token != "" {
		d.conn, err = d.eng.Connect(ctx, organisation, emailint.NewConnection{User: "demo", Provider: "outlook", Credential: []byte(d.token)})
		if err == nil {
			d.say("%s, by a token that was there", d.conn.Address)
		}
		return err
	}
	begin := d.base + "/oauth/outlook/start?return=/settings"
	if d.world != nil {
		// A browser, whose owner allows everything.
		resp, err := http.Get(begin) //nolint:noctx // of this machine
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(d.out, "   Register the redirect URI %s,\n   and open %s\n", d.eng.RedirectURI("outlook"), begin)
		if d.json {
			// The object alone goes to standard output.
			fmt.Fprintln(os.Stderr, "outlook: open", begin)
		}
	}
	select {
	case problem := <-d.back:
		if problem != "" {
			return errors.New(problem)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return d.connected(ctx)
}

// connected finds the connection that the callback stored.
func (d *demo) connected(ctx context.Context) error {
	boxes, err := d.eng.As(emailint.Actor{Org: organisation, User: "demo"}).Mailboxes(ctx)
	if err != nil {
		return err
	}
	for _, b := range boxes {
		if b.Provider == "outlook" && b.ID > d.conn.ID {
			st, err := d.eng.Status(ctx, organisation, b.ID)
			if err != nil {
				return err
			}
			d.conn = st.Connection
		}
	}
	if d.conn.ID == 0 {
		return errors.New("nothing was connected")
	}
	d.say("%s signed in and allowed it; connection %d", d.conn.Address, d.conn.ID)
	return nil
}

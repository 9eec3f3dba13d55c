// Command imap reads a mailbox with provider/imap alone, without engine and CRM: whose it is, its newest mails with their
// folders and attachments, and what changed since. It changes nothing. Without arguments it brings its own server.
//
//	imap [imaps://user@host:port] [-since 30d|all] [-n N]
//
// imap:// is STARTTLS. The password comes from EMAILINT_IMAP_PASSWORD.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/intellicon/email-integration/examples/internal/inputs"
	"github.com/intellicon/email-integration/examples/internal/program"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
)

func main() { program.Main("imap", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("imap", flag.ContinueOnError)
	since := fs.String("since", "30d", "how far back: 30d, or all")
	n := fs.Int("n", 10, "how many of the newest mails to print")
	server, err := program.Parse(fs, "imap [imaps://user@host:port] [-since 30d|all] [-n N]", args, out)
	if err != nil {
		return err
	}
	if *n < 1 {
		return fmt.Errorf("-n: %d is no number of mails", *n)
	}
	days, err := inputs.Since(*since)
	if err != nil {
		return err
	}
	var window provider.Window
	if days >= 0 {
		window.From = time.Now().AddDate(0, 0, -days)
	}

	c := imap.Config{Password: os.Getenv("EMAILINT_IMAP_PASSWORD")}
	if server != "" {
		s, err := inputs.URL("server", server, "imap")
		if err != nil {
			return err
		}
		if s.User == "" {
			return errors.New("server: the user is missing: write it as imaps://user@host:port")
		}
		if c.Password == "" {
			return errors.New("the password is missing: set EMAILINT_IMAP_PASSWORD")
		}
		c.Host, c.Port, c.Username, c.Security = s.Host, s.Port, s.User, imap.StartTLS
		if s.Implicit {
			c.Security = imap.TLS
		}
	} else {
		world, err := mailworld.Serve(mailworld.Owner, mailworld.Password, mailworld.Mails(time.Now(), 1))
		if err != nil {
			return err
		}
		defer world.Close()
		fmt.Fprintf(out, "A mail server of this program's own, at %s\n", world.IMAP)
		at := world.IMAP.(*net.TCPAddr)
		c = imap.Config{Host: at.IP.String(), Port: at.Port, Username: mailworld.Owner, Password: mailworld.Password,
			TLSConfig: &tls.Config{RootCAs: world.Roots}}
	}
	// A page of History is no larger than what is printed.
	c.PageSize = min(*n, 500)

	box, err := imap.Dial(ctx, c)
	if err != nil {
		return err
	}
	defer box.Close()
	return show(ctx, out, box, window, *n)
}

func show(ctx context.Context, out io.Writer, box *imap.Mailbox, window provider.Window, n int) error {
	who, err := box.Profile(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Mailbox of %s", who.Address)
	if len(who.Aliases) > 0 {
		fmt.Fprintf(out, ", also %s", strings.Join(who.Aliases, ", "))
	}
	fmt.Fprintln(out)

	// The cursor comes before the history: what arrives meanwhile is in Changes.
	cursor, err := box.Start(ctx)
	if err != nil {
		return err
	}
	printed := 0
	for next := provider.Cursor(nil); printed < n; {
		page, err := box.History(ctx, window, next)
		if err != nil {
			return err
		}
		if next == nil {
			fmt.Fprintf(out, "About %d mails in the folders that are watched, the newest:\n", page.Estimated)
		}
		for _, it := range page.Items {
			if printed == n {
				break
			}
			printed++
			if err := line(ctx, out, box, it); err != nil {
				return err
			}
		}
		if next = page.Next; !page.More {
			break
		}
	}
	if printed == 0 {
		fmt.Fprintln(out, "  none")
	}

	arrived := 0
	for more := true; more; {
		page, err := box.Changes(ctx, cursor)
		if err != nil {
			return err
		}
		for _, it := range page.Items {
			arrived++
			if err := line(ctx, out, box, it); err != nil {
				return err
			}
		}
		cursor, more = page.Next, page.More
	}
	fmt.Fprintf(out, "Changes since the start: %d mails. Go on from cursor %#q\n", arrived, cursor)
	return nil
}

func line(ctx context.Context, out io.Writer, box *imap.Mailbox, it provider.Item) error {
	var names []string
	for _, f := range it.Folders {
		names = append(names, f.Name)
	}
	folder := strings.Join(names, ", ")
	if it.Err != nil {
		fmt.Fprintf(out, "  %-8s could not be read: %v\n", folder, it.Err)
		return nil
	}
	e := it.Envelope
	fmt.Fprintf(out, "  %s  %-8s %s: %q\n", e.When().Local().Format("2006-01-02 15:04"), folder, from(e), e.Subject)
	m, err := box.Content(ctx, it.ID)
	if errors.Is(err, provider.ErrGone) {
		return nil // moved or deleted since it was listed
	}
	if err != nil {
		return err
	}
	for _, a := range m.Attachments {
		fmt.Fprintf(out, "%*s%q, %s, %d bytes\n", 29, "", a.Name, a.Type, a.Size)
	}
	return nil
}

// from is who wrote it. Quoted: anybody may have written control characters there.
func from(e message.Envelope) string {
	if len(e.From) == 0 {
		return "nobody"
	}
	return strings.Trim(fmt.Sprintf("%q", e.From[0].String()), `"`)
}

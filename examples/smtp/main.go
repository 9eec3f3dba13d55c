// Command smtp tests a mail server for sending and sends a signed mail by it, with package smtp alone. Without arguments it
// brings its own server.
//
//	smtp [smtp://user@host:587 -to addr [-from addr] [-test]]
//
// smtp:// is STARTTLS, smtps:// TLS from the first byte. The password comes from EMAILINT_SMTP_PASSWORD. With -test nothing is
// sent, and -to is not needed.
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

	"github.com/intellicon/email-integration/examples/internal/inputs"
	"github.com/intellicon/email-integration/examples/internal/program"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/signature"
	"github.com/intellicon/email-integration/smtp"
)

const template = `<p><b>{{user_name}}</b><br>{{user_title}}, {{company_name}}<br>Phone: {{user_phone}}<br>{{user_email}}</p>`

func main() { program.Main("smtp", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("smtp", flag.ContinueOnError)
	to := fs.String("to", "", "address to send to")
	sender := fs.String("from", "", "address to send from; the user of the URL, where that is one")
	test := fs.Bool("test", false, "only test the server, send nothing")
	server, err := program.Parse(fs, "smtp [smtp://user@host:587 -to addr [-from addr] [-test]]", args, out)
	if err != nil {
		return err
	}

	me, name := *sender, ""
	var c smtp.Config
	if server != "" {
		s, err := inputs.URL("server", server, "smtp")
		if err != nil {
			return err
		}
		c = smtp.Config{Host: s.Host, Port: s.Port, Encryption: smtp.TLS, Username: s.User, Password: smtp.Secret(os.Getenv("EMAILINT_SMTP_PASSWORD"))}
		if s.Implicit {
			c.Encryption = smtp.SSL
		}
		if s.User != "" && c.Password == "" {
			return errors.New("the password is missing: set EMAILINT_SMTP_PASSWORD")
		}
		if me == "" {
			me = s.User
		}
		if message.AddressKey(me) == "" {
			return fmt.Errorf("%q is not an email address: name the sender with -from", me)
		}
		if *to == "" && !*test {
			return errors.New("-to is missing: name who gets the mail, or use -test")
		}
	} else {
		world, err := mailworld.Serve(mailworld.Owner, mailworld.Password, nil)
		if err != nil {
			return err
		}
		defer world.Close()
		fmt.Fprintf(out, "A mail server of this program's own, at %s: nothing leaves this machine\n", world.SMTP)
		at := world.SMTP.(*net.TCPAddr)
		me, name = mailworld.Owner, "Nora Lind"
		c = smtp.Config{Host: at.IP.String(), Port: at.Port, Encryption: smtp.SSL, Username: me, Password: mailworld.Password,
			TLSConfig: &tls.Config{RootCAs: world.Roots}}
		if *to == "" {
			*to = "maria.keller@acme-pumps.example"
		}
	}
	if *to != "" && message.AddressKey(*to) == "" {
		return fmt.Errorf("-to: %q is not an email address", *to)
	}
	c.FromAddress, c.FromName = me, name
	s, err := smtp.New(c)
	if err != nil {
		return err
	}
	if err := s.Test(ctx); err != nil {
		var failed *smtp.TestError
		if errors.As(err, &failed) {
			return fmt.Errorf("the test failed at the step %q: %s", failed.Step, failed.Hint)
		}
		return err
	}
	fmt.Fprintln(out, "The server takes mail: connection, encryption, login and sender are fine.")
	if *test {
		return nil
	}
	return send(ctx, out, s, message.NewAddress(name, me), message.NewAddress("", *to))
}

func send(ctx context.Context, out io.Writer, s *smtp.Sender, from, to message.Address) error {
	tmpl, err := signature.Parse(template)
	if err != nil {
		return err
	}
	// What is empty takes its label and its line with it: no phone here.
	values := signature.Values{UserName: from.Name, UserTitle: "Sales", UserEmail: from.Addr, CompanyName: "Northwind Tools"}
	if values.UserName == "" {
		values.UserName = from.Addr
	}
	html, text := tmpl.Render(values)
	raw, id, err := smtp.Compose(smtp.Outgoing{
		From: from, To: []message.Address{to}, Subject: "A signed mail",
		Text: signature.AppendText("Hello,\n\nthis mail was sent by an example.\n", text),
		HTML: signature.AppendHTML("<p>Hello,</p><p>this mail was sent by an example.</p>", html),
	})
	if err != nil {
		return err
	}
	staged, err := s.Stage(ctx, raw, provider.SendOptions{From: from.Addr, Recipients: []string{to.Addr}, MessageID: id})
	if err != nil {
		return err
	}
	// A host stores staged here: after a lost answer it must know what may have been sent.
	sent, err := s.Release(ctx, staged)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Sent <%s> to %s. The server said: %q\n\n%s\n", sent.MessageID, to.Addr, sent.Response, message.Parse(raw).Text)
	return nil
}

// Command quickstart imports a mailbox into a small CRM, links every mail and says why, keeps it in step while a mail
// arrives, and answers with a signature. Without arguments it brings its own mail server, mailbox and CRM.
//
//	quickstart [-state FILE] [-imap imaps://user@host -smtp smtp://user@host] [-mbox FILE] [-crm FILE.json] [-rules FILE.json]
//	           [-own addr,…] [-since 30d|all] [-write] [-json] [-dump FILE]
//
// Passwords come from EMAILINT_IMAP_PASSWORD and EMAILINT_SMTP_PASSWORD. With -imap or -mbox it only reads, unless -write.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/examples/internal/inputs"
	"github.com/intellicon/email-integration/examples/internal/memory"
	"github.com/intellicon/email-integration/examples/internal/program"
	"github.com/intellicon/email-integration/examples/internal/walk"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/smtp"
)

func main() {
	program.Main("quickstart", func(ctx context.Context, args []string, _ io.Writer) error { return run(ctx, args) })
}

const organisation = "demo"

type options struct {
	state, imap, smtp, own, mbox, crm, rules, since, dump string
	json, write                                           bool
}

// demo is everything one run needs.
type demo struct {
	options
	mem    *memory.Memory
	server *mailworld.Server // nil with -imap
	box    imap.Config
	out    *smtp.Config // nil: no sending
	owner  message.Address
}

func run(ctx context.Context, args []string) (err error) {
	var o options
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.StringVar(&o.state, "state", "", "file that holds everything between runs; without it nothing is kept")
	fs.StringVar(&o.imap, "imap", "", "your server: imaps://user@host:port, or imap:// for STARTTLS")
	fs.StringVar(&o.smtp, "smtp", "", "your server for sending: smtp://user@host:port (STARTTLS) or smtps://")
	fs.StringVar(&o.own, "own", "", "own addresses, separated by commas")
	fs.StringVar(&o.mbox, "mbox", "", "mbox file to serve from the embedded server")
	fs.StringVar(&o.crm, "crm", "", "JSON file with the CRM's records")
	fs.StringVar(&o.rules, "rules", "", "JSON file of linker.Rules")
	fs.StringVar(&o.since, "since", "", "how far back: 30d, or all; 30d for a server, all for the rest")
	fs.BoolVar(&o.json, "json", false, "print one JSON object")
	fs.StringVar(&o.dump, "dump", "", "after the import write every ledger row and every email to this file, one JSON object a line, sorted")
	fs.BoolVar(&o.write, "write", false, "with -imap (and -smtp) or -mbox: send a signed note to yourself")
	if extra, err := program.Parse(fs, "quickstart [flags]", args, os.Stdout); err != nil {
		return err
	} else if extra != "" {
		return fmt.Errorf("%q is no flag; see -help", extra)
	}
	if o.imap != "" && o.mbox != "" {
		return errors.New("-imap and -mbox name two mailboxes: give one")
	}

	if o.write && o.imap != "" && o.smtp == "" {
		return errors.New("-write with -imap needs -smtp: name the server to send by")
	}

	// All input is read before anything is written.
	settings := emailint.DefaultSettings()
	if settings.Rules, err = inputs.Rules(o.rules); err != nil {
		return err
	}
	if o.since == "" {
		o.since = map[bool]string{true: "30d", false: "all"}[o.imap != ""]
	}
	if settings.Sync.ImportDays, err = inputs.Since(o.since); err != nil {
		return err
	}
	settings.Sync.InboundMinutes = 0 // real time, as this is to be watched
	own, err := inputs.Own(o.own)
	if err != nil {
		return err
	}
	embedded := o.imap == "" && o.mbox == ""
	crm, err := memory.CRM(organisation, o.crm, embedded)
	if err != nil {
		return err
	}
	if embedded && o.crm == "" {
		settings.Rules.Leads, settings.Rules.Opportunities = true, true
		settings.Rules.OwnDomains = append(settings.Rules.OwnDomains, "northwind-tools.example")
	}
	var mails []mailworld.Mail
	if o.mbox != "" {
		if mails, err = mailworld.FromMbox(o.mbox); err != nil {
			return err
		}
	}
	d := &demo{options: o}
	if err := d.servers(own); err != nil {
		return err
	}

	if o.imap != "" {
		// A wrong password or an unreachable server is met before anything is written.
		box, err := imap.Dial(ctx, d.box)
		if err != nil {
			return err
		}
		if err := box.Close(); err != nil {
			return err
		}
	}

	if d.mem, err = memory.Open(ctx, o.state, organisation, crm); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.mem.Close()) }()
	if d.imap == "" {
		if err := d.embed(ctx, mails); err != nil {
			return err
		}
		defer d.server.Close()
		if embedded && o.crm == "" && !o.json {
			steps.Brought("mail server", d.server.IMAP.String())
		}
	}
	return d.run(ctx, settings)
}

// servers reads what -imap and -smtp say.
func (d *demo) servers(own []message.Key) error {
	var aliases []string
	for _, k := range own {
		aliases = append(aliases, string(k))
	}
	d.box.Aliases = aliases
	d.owner = message.NewAddress("Nora Lind", mailworld.Owner)
	if d.imap == "" && len(own) > 0 {
		d.owner = message.NewAddress("", aliases[0])
	}
	if d.imap != "" {
		s, err := inputs.URL("-imap", d.imap, "imap")
		if err != nil {
			return err
		}
		d.box = imap.Config{Host: s.Host, Port: s.Port, Username: s.User, Password: os.Getenv("EMAILINT_IMAP_PASSWORD"), Security: imap.StartTLS, Aliases: aliases}
		if s.Implicit {
			d.box.Security = imap.TLS
		}
		if d.box.Password == "" {
			return errors.New("the password of -imap is missing: set EMAILINT_IMAP_PASSWORD")
		}
		d.owner = message.NewAddress("", s.User)
		if d.owner.Key == "" {
			if len(own) == 0 {
				return fmt.Errorf("%q is not an address: name the mailbox's address with -own", s.User)
			}
			d.owner = message.NewAddress("", aliases[0])
		}
		d.box.Address = d.owner.Addr
	}
	if d.smtp != "" {
		s, err := inputs.URL("-smtp", d.smtp, "smtp")
		if err != nil {
			return err
		}
		d.out = &smtp.Config{Host: s.Host, Port: s.Port, Username: s.User, Password: smtp.Secret(os.Getenv("EMAILINT_SMTP_PASSWORD")),
			Encryption: smtp.TLS, FromAddress: d.owner.Addr}
		if s.Implicit {
			d.out.Encryption = smtp.SSL
		}
		if err := d.out.Validate(); err != nil {
			return fmt.Errorf("-smtp: %w", err)
		}
	}
	return nil
}

// embed starts the embedded server with what it held in the last run.
func (d *demo) embed(ctx context.Context, mails []mailworld.Mail) error {
	first, err := d.mem.Value(ctx, "started", strconv.FormatInt(time.Now().Unix(), 10))
	if err != nil {
		return err
	}
	sec, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return err
	}
	if d.mbox == "" {
		mails = mailworld.Mails(time.Unix(sec, 0), 1)
	}
	later, err := d.mem.Mails(ctx)
	if err != nil {
		return err
	}
	if d.server, err = mailworld.Serve(d.owner.Addr, mailworld.Password, append(mails, later...)); err != nil {
		return err
	}
	d.server.Kept = d.mem.Keep
	conf := &tls.Config{RootCAs: d.server.Roots}
	host, port := split(d.server.IMAP)
	d.box = imap.Config{Host: host, Port: port, Username: d.owner.Addr, Password: mailworld.Password, TLSConfig: conf, Aliases: d.box.Aliases}
	if d.mbox == "" || d.write {
		host, port = split(d.server.SMTP)
		d.out = &smtp.Config{Host: host, Port: port, Username: d.owner.Addr, Password: mailworld.Password, Encryption: smtp.SSL,
			FromAddress: d.owner.Addr, FromName: d.owner.Name, TLSConfig: conf}
	}
	return nil
}

func split(a net.Addr) (string, int) {
	t := a.(*net.TCPAddr)
	return t.IP.String(), t.Port
}

// run imports, reports, and where it may, shows a mail arriving and a reply.
func (d *demo) run(ctx context.Context, settings emailint.Settings) error {
	start := time.Now()
	st, err := sqlite.Open(ctx, d.mem.Path)
	if err != nil {
		return err
	}
	defer st.Close()
	saved := walk.NewSaved()
	bar := newBar(!d.json)
	var eng *emailint.Engine
	eng, err = emailint.New(emailint.Options{
		State: st, CRM: d.mem, Worker: "quickstart",
		// A demo keeps its keys with its code; a host takes them from its secret store.
		Keys: []emailint.Key{{ID: "demo", Secret: []byte("quickstart key, 32 bytes long...")}}, IndexKey: []byte("quickstart index key, 32 bytes.."),
		Providers: []provider.Provider{imap.New(&imap.Options{TLSConfig: d.box.TLSConfig})},
		Sender:    d.sender,
		Saved:     saved.Put,
		Progress: func(org string, id int64) {
			if s, err := eng.Status(ctx, org, id); err == nil {
				bar.show(s)
			}
		},
	})
	if err != nil {
		return err
	}
	before, version, err := eng.Settings(ctx, organisation)
	if err != nil {
		return err
	}
	cred, err := json.Marshal(d.box)
	if err != nil {
		return err
	}
	conn, err := eng.Connect(ctx, organisation, emailint.NewConnection{User: "demo", Provider: "imap", Credential: cred})
	if err != nil {
		return err
	}
	changed, err := differ(before, settings)
	if err != nil {
		return err
	}
	// A run that goes on under the rules of the last one decides nothing again.
	if version == 0 || d.rules != "" && changed {
		if _, err := eng.SetSettings(ctx, organisation, settings, version); err != nil {
			return err
		}
	}
	// A run that was killed left its lease behind.
	if err := eng.TakeOver(ctx); err != nil {
		return err
	}
	if err := eng.Sync(ctx, organisation, conn.ID); err != nil {
		return err
	}
	bar.end()
	seconds := time.Since(start).Seconds()
	// "Synced" is not what the ledger says of itself: the mailbox is listed and compared.
	proof, err := eng.Reconcile(ctx, organisation, conn.ID, provider.Window{})
	if err != nil {
		return err
	}
	status, err := eng.Status(ctx, organisation, conn.ID)
	if err != nil {
		return err
	}
	r := newReport(status, proof, d.mem.CRM, seconds)
	if d.dump != "" {
		if err := dump(ctx, d.dump, st, conn.ID, d.mem.CRM.Emails(organisation)); err != nil {
			return err
		}
	}
	if d.json {
		return walk.WriteJSON(os.Stdout, r)
	}
	r.write(os.Stdout)
	timeline(os.Stdout, d.mem.CRM)
	if d.server == nil || d.mbox != "" {
		if d.write {
			return d.note(ctx, eng, conn)
		}
		return nil
	}
	saved.Drain()
	return d.live(ctx, eng, conn, saved)
}

func differ(a, b emailint.Settings) (bool, error) {
	x, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	y, err := json.Marshal(b)
	return !bytes.Equal(x, y), err
}

func (d *demo) sender(context.Context, emailint.Connection) (provider.Sender, error) {
	if d.out == nil {
		return nil, errors.New("no server to send by")
	}
	return smtp.New(*d.out)
}

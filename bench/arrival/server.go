package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/internal/mailworld"
)

// server is the mail server that is read, embedded or Dovecot.
type server struct {
	name           string
	host           string
	port           int
	user, password string
	tls            *tls.Config
	embedded       *mailworld.Server // nil with Dovecot
}

// openServer returns a server whose mailbox holds the mails.
func openServer(dovecot bool, mails []mailworld.Mail) (*server, error) {
	if !dovecot {
		emb, err := mailworld.Serve(mailworld.Owner, mailworld.Password, mails)
		if err != nil {
			return nil, err
		}
		at := emb.IMAP.(*net.TCPAddr)
		return &server{name: "embedded (go-imap's memory server, TLS on loopback)", host: at.IP.String(), port: at.Port, user: mailworld.Owner,
			password: mailworld.Password, tls: &tls.Config{RootCAs: emb.Roots}, embedded: emb}, nil
	}
	addr := os.Getenv("EMAILINT_DOVECOT_TLS")
	pem, err := os.ReadFile(os.Getenv("EMAILINT_DOVECOT_CA"))
	if addr == "" || err != nil {
		return nil, errors.New("the EMAILINT_DOVECOT variables are not set: eval \"$(.ci/dovecot/start)\"")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	s := &server{name: "Dovecot (Maildir, TLS on loopback)", host: host, user: os.Getenv("EMAILINT_DOVECOT_USER"),
		password: os.Getenv("EMAILINT_DOVECOT_PASSWORD"), tls: &tls.Config{RootCAs: roots}}
	if s.port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	return s, s.fill(mails)
}

func (s *server) close() {
	if s.embedded != nil {
		s.embedded.Close() //nolint:errcheck // the process ends
	}
}

// fill files the mails in INBOX, which must be empty.
func (s *server) fill(mails []mailworld.Mail) error {
	c, err := s.dial(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, m := range mails {
		m.Folder = "INBOX"
		if err := mailworld.Append(c, m); err != nil {
			return err
		}
	}
	sel, err := c.Select("INBOX", nil).Wait()
	if err == nil && int(sel.NumMessages) != len(mails) {
		err = fmt.Errorf("INBOX holds %d messages after %d were filed: start a fresh Dovecot", sel.NumMessages, len(mails))
	}
	return err
}

// dial connects and signs in; exists is told of every EXISTS while idling.
func (s *server) dial(exists func(n uint32)) (*imapclient.Client, error) {
	opts := &imapclient.Options{TLSConfig: s.tls.Clone()}
	if exists != nil {
		opts.UnilateralDataHandler = &imapclient.UnilateralDataHandler{Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				exists(*d.NumMessages)
			}
		}}
	}
	c, err := imapclient.DialTLS(net.JoinHostPort(s.host, strconv.Itoa(s.port)), opts)
	if err != nil {
		return nil, err
	}
	if err := c.Login(s.user, s.password).Wait(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// folders are those that the engine watches too.
var folders = []string{"INBOX", "Sent", "Archive"}

// readAll is the plain client: one FETCH a folder for headers and bodies of everything, thrown away as it comes. The time includes
// connecting, as the engine's does.
func (s *server) readAll() (messages int, bytes int64, took time.Duration, err error) {
	start := time.Now()
	c, err := s.dial(nil)
	if err != nil {
		return 0, 0, 0, err
	}
	defer c.Close()
	for _, name := range folders {
		if s.embedded == nil && name != "INBOX" {
			continue // everything was filed there
		}
		sel, err := c.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			return 0, 0, 0, err
		}
		if sel.NumMessages == 0 {
			continue
		}
		cmd := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true,
			BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
		for m := cmd.Next(); m != nil; m = cmd.Next() {
			messages++
			for item := m.Next(); item != nil; item = m.Next() {
				if b, ok := item.(imapclient.FetchItemDataBodySection); ok && b.Literal != nil {
					n, err := io.Copy(io.Discard, b.Literal)
					if err != nil {
						return 0, 0, 0, err
					}
					bytes += n
				}
			}
		}
		if err := cmd.Close(); err != nil {
			return 0, 0, 0, err
		}
	}
	return messages, bytes, time.Since(start), nil
}

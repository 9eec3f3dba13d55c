package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const plainName = "go-imap, fetch and discard"

func (s *server) tls() (*tls.Config, error) {
	pem, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", s.CA)
	}
	return &tls.Config{RootCAs: roots}, nil
}

// plain is the floor: one FETCH a folder for everything, thrown away as it comes.
func plain(_ context.Context, j job) (result, error) {
	conf, err := j.Server.tls()
	if err != nil {
		return result{}, err
	}
	mails := 0
	r, err := timed(func() error {
		c, err := imapclient.DialTLS(net.JoinHostPort(j.Server.Host, strconv.Itoa(j.Server.Port)), &imapclient.Options{TLSConfig: conf})
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Login(j.Server.User, j.Server.Password).Wait(); err != nil {
			return err
		}
		for _, folder := range []string{"INBOX", sentFolder} {
			sel, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait()
			if err != nil {
				return err
			}
			if sel.NumMessages == 0 {
				continue
			}
			n, err := fetchAll(c)
			if mails += n; err != nil {
				return err
			}
		}
		return nil
	})
	r.Mails = mails
	return r, err
}

func fetchAll(c *imapclient.Client) (mails int, err error) {
	cmd := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		for item := m.Next(); item != nil; item = m.Next() {
			if b, ok := item.(imapclient.FetchItemDataBodySection); ok && b.Literal != nil {
				if _, err := io.Copy(io.Discard, b.Literal); err != nil {
					return mails, err
				}
				mails++
			}
		}
	}
	return mails, cmd.Close()
}

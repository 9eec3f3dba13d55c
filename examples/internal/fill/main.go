// Command fill files an mbox in the INBOX of a Dovecot that .ci/dovecot/start has started, each mail with its Date as INTERNALDATE.
// The server is named by the variables that the script prints.
//
//	fill FILE.mbox
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/internal/mailworld"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("name one mbox file")
	}
	mails, err := mailworld.FromMbox(args[0])
	if err != nil {
		return err
	}
	addr := os.Getenv("EMAILINT_DOVECOT_TLS")
	pem, err := os.ReadFile(os.Getenv("EMAILINT_DOVECOT_CA"))
	if addr == "" || err != nil {
		return errors.New("the EMAILINT_DOVECOT variables are not set: eval \"$(.ci/dovecot/start)\"")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c, err := imapclient.DialTLS(addr, &imapclient.Options{TLSConfig: &tls.Config{RootCAs: roots}})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Login(os.Getenv("EMAILINT_DOVECOT_USER"), os.Getenv("EMAILINT_DOVECOT_PASSWORD")).Wait(); err != nil {
		return err
	}
	for i, m := range mails {
		if err := mailworld.Append(c, m); err != nil {
			return fmt.Errorf("mail %d: %w", i+1, err)
		}
	}
	sel, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		return err
	}
	if int(sel.NumMessages) != len(mails) {
		return fmt.Errorf("INBOX holds %d messages after %d were filed: it was not empty", sel.NumMessages, len(mails))
	}
	fmt.Fprintf(os.Stderr, "%d mails filed\n", len(mails))
	return nil
}

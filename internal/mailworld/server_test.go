package mailworld_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/internal/mailworld"
)

func TestServeHoldsEveryMail(t *testing.T) {
	mails := mailworld.Mails(time.Now(), 1)
	if len(mails) < 500 {
		t.Fatalf("%d mails, want at least 500", len(mails))
	}
	s, err := mailworld.Serve(mailworld.Owner, mailworld.Password, mails)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := imapclient.DialTLS(s.IMAP.String(), &imapclient.Options{TLSConfig: &tls.Config{RootCAs: s.Roots}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(mailworld.Owner, mailworld.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint32{}
	for _, m := range mails {
		want[m.Folder]++
	}
	for folder, n := range want {
		sel, err := c.Select(folder, nil).Wait()
		if err != nil || sel.NumMessages != n {
			t.Errorf("%s: %+v, %v, want %d messages", folder, sel, err, n)
		}
	}
}

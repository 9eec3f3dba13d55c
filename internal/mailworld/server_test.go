package mailworld_test

import (
	"crypto/tls"
	"runtime"
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

// A server may be closed before what it does has begun.
func TestCloseAtOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // nobody else runs until Close waits
	for range 20 {
		s, err := mailworld.Serve(mailworld.Owner, mailworld.Password, nil)
		if err != nil {
			t.Fatal(err)
		}
		// Where it serves all the same, the test hangs here until go test's time is up.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A mail that comes between SELECT and IDLE is told of when IDLE begins; one that comes later, when it comes.
func TestIdleTellsOfEveryMail(t *testing.T) {
	s, err := mailworld.Serve(mailworld.Owner, mailworld.Password, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	told := make(chan uint32, 10)
	c, err := imapclient.DialTLS(s.IMAP.String(), &imapclient.Options{TLSConfig: &tls.Config{RootCAs: s.Roots},
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				told <- *d.NumMessages
			}
		}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(mailworld.Owner, mailworld.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	mail := mailworld.Mail{Folder: "INBOX", At: time.Now(), Raw: []byte("Subject: x\r\n\r\nx\r\n")}
	if err := s.Deliver(mail); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	for want := uint32(1); want < 4; want++ {
		// Where it is not told, the test hangs here until go test's time is up.
		if n := <-told; n != want {
			t.Fatalf("told of %d messages, want %d", n, want)
		}
		if err := s.Deliver(mail); err != nil {
			t.Fatal(err)
		}
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Fatal(err)
	}
}

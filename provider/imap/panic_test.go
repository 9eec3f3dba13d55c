package imap_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
)

// A panic in the middle of an answer costs the connection and holds up nobody, though go-imap's reader waits for whoever read: the mailbox goes on by a new one.
func TestPanicCostsTheConnection(t *testing.T) {
	s := imaptest.Start(t, nil)
	for i := range 5 {
		s.Deliver([]byte(mail(fmt.Sprint("m", i))), noon.Add(time.Duration(i)*time.Minute), provider.RoleInbox)
	}
	box := dial(t, s, nil)
	if v, err := box.Panic(t.Context()); v != "a bug" {
		t.Fatalf("the panic was %v, %v", v, err)
	}
	page, err := box.History(t.Context(), provider.Window{}, nil)
	if err != nil || len(page.Items) != 5 {
		t.Errorf("afterwards: %d of 5 items, %v", len(page.Items), err)
	}
}

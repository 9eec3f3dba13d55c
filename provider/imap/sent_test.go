package imap_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

func TestFileSentMindsTheLimit(t *testing.T) {
	for name, byStatus := range map[string]bool{"for all folders": false, "by STATUS": true} {
		caps := []goimap.Cap{}
		if byStatus {
			caps = append(caps, goimap.CapAppendLimit)
		}
		o := startOdd(t, &odd{namespace: true, limit: 1000, statusLimit: byStatus}, caps...)
		m := o.dial(t)
		if _, err := m.FileSent(t.Context(), []byte(mail("a")+strings.Repeat("x", 1000)), noon); !errors.Is(err, provider.ErrUnsupported) || o.appended != 0 {
			t.Errorf("%s: %v, and %d were sent to the server", name, err, o.appended)
		}
		if id, err := m.FileSent(t.Context(), []byte(mail("a")), noon); err != nil || id == "" || o.count("INBOX.Sent") != 1 {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
}

func TestFileSentEndsLinesAsMailDoes(t *testing.T) {
	srv := imaptest.Start(t, nil)
	m := open(t, srv.Config())
	raw := providertest.Mail("a", "a")
	id, err := m.FileSent(t.Context(), bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), noon)
	if err != nil {
		t.Fatal(err)
	}
	h := overSame(t, srv)
	if ss := h.Look(t, midA); len(ss) != 1 || !bytes.Equal(ss[0].Raw, raw) {
		t.Errorf("%s was filed as %q", id, ss)
	}
}

// Where the connection died on the way, what was sent is not sent again.
func TestFileSentIsNotRepeated(t *testing.T) {
	srv := imaptest.Start(t, nil)
	m := open(t, srv.Config())
	srv.LoseAnswer("APPEND")
	if _, err := m.FileSent(t.Context(), providertest.Mail("a", "a"), noon); err == nil {
		t.Error("the answer was lost, and there was one")
	}
	if id, err := m.FindSent(t.Context(), midA); err != nil || id == "" {
		t.Errorf("found %q, %v", id, err)
	}
	if n := len(overSame(t, srv).Look(t, midA)); n != 1 {
		t.Errorf("filed %d times", n)
	}
	// An idle connection that has ended is another thing: nothing was sent by it.
	srv.Cut()
	if id, err := m.FileSent(t.Context(), providertest.Mail("b", "b"), noon); err != nil || id == "" {
		t.Errorf("after a cut: %q, %v", id, err)
	}
	srv.DeleteFolder("Sent")
	if id, err := m.FileSent(t.Context(), providertest.Mail("c", "c"), noon); err != nil || id == "" {
		t.Errorf("without a folder: %q, %v", id, err)
	}
}

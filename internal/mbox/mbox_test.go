package mbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/intellicon/email-integration/internal/mbox"
)

func TestSplit(t *testing.T) {
	got := mbox.Split([]byte("From a@x Thu Aug 22 12:36:23 2002\nSubject: one\n\nFrom here on it is text.\n>From quoted\n\n" +
		"From b@x Thu Aug 22 12:36:24 2002\nSubject: two\n\nbody\n"))
	if len(got) != 2 {
		t.Fatalf("%d messages, want 2: %q", len(got), got)
	}
	if want := "Subject: one\n\nFrom here on it is text.\nFrom quoted\n"; string(got[0]) != want {
		t.Errorf("first = %q, want %q", got[0], want)
	}
}

func TestCorpus(t *testing.T) {
	dir := os.Getenv("EMAILINT_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	path := filepath.Join(dir, "threads/spamassassin-easy-ham-1/spamassassin-easy-ham-1.mbox")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no corpus: %v; set EMAILINT_CORPUS to its folder", err)
	}
	ms, err := mbox.ReadFile(path)
	if err != nil || len(ms) != 1876 {
		t.Fatalf("%d messages, %v; the manifest says 1876", len(ms), err)
	}
}

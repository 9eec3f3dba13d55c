package sqlite_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
)

// worked opens a store in a directory with a mailbox that is claimed.
func worked(t *testing.T, path string) (state.Store, state.Lease) {
	t.Helper()
	s := open(t, path)
	c, err := s.AddConnection(t.Context(), state.Connection{Org: "o", User: "u", Provider: "fake", Address: "secret-address@b.example"}, state.Change{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.ClaimConnection(t.Context(), "o", c.ID, "w", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

// What is erased is in no file any more, neither in free pages nor in the log: what is sent is stored in plain text until then.
func TestErasedIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	s, l := worked(t, filepath.Join(dir, "state.db"))
	for i := range 5 {
		if _, _, err := s.OutboxAdd(t.Context(), "o", state.Outgoing{Key: fmt.Sprint(i), Org: "o", Connection: l.Connection, Created: time.Now(),
			Raw:   append([]byte("Subject: secret-words\n"), make([]byte, 20000)...),
			Value: state.EmailValue{MessageID: state.Hash(fmt.Sprintf("secret-mid%02d", i))}}); err != nil {
			t.Fatal(err)
		}
	}
	found := func() (out []string) {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"secret-words", "secret-address", "secret-mid"} {
				if bytes.Contains(b, []byte(word)) {
					out = append(out, f.Name()+" has "+word)
				}
			}
		}
		return out
	}
	if len(found()) < 3 {
		t.Fatal("the test does not see what is stored")
	}
	var e state.Erasure
	for e.Done.IsZero() {
		var err error
		if e, err = s.Erase(t.Context(), "o", l.Connection, time.Now(), state.Change{}, 100); err != nil {
			t.Fatal(err)
		}
	}
	if got := found(); len(got) > 0 {
		t.Errorf("after the erasure: %v", got)
	}
}

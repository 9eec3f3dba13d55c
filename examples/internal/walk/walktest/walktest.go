// Package walktest is for tests of the examples that walk through a mailbox: what they share of a person at a terminal.
package walktest

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/intellicon/email-integration/examples/internal/walk"
)

// Browser reads what a program prints, and opens what it is told to. It may be written to and read from several goroutines at once.
type Browser struct {
	T *testing.T
	// Register is called with the redirect URI that the program asks to have registered.
	Register func(redirect string)

	mu   sync.Mutex // guards text
	text bytes.Buffer
}

var (
	opening     = regexp.MustCompile(`open (http://\S+)`)
	registering = regexp.MustCompile(`redirect URI (http://\S+),`)
)

// Write implements io.Writer.
func (b *Browser) Write(p []byte) (int, error) {
	if m := registering.FindSubmatch(p); m != nil {
		b.Register(string(m[1]))
	}
	if m := opening.FindSubmatch(p); m != nil {
		go func() { _ = walk.Browse(b.T.Context(), string(m[1])) }() // the program tells how it went
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that was printed.
func (b *Browser) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// File writes a file that goes with the test.
func File(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

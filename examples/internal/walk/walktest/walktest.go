// Package walktest is for tests of the examples that walk through a mailbox: what they share of a person at a terminal.
package walktest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/intellicon/email-integration/examples/internal/walk"
)

// Browser reads what a program prints, and opens what it is told to. It may be written to and read from several goroutines at once.
type Browser struct {
	T    *testing.T
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

var opening = regexp.MustCompile(`open (http://\S+)`)

// Write implements io.Writer.
func (b *Browser) Write(p []byte) (int, error) {
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

// Free is an address on the loopback at which nobody listened a moment ago. Its port is none of those that a system gives to whoever asks for any, so that
// none of the connections and servers of other tests has it a moment later; and tests of two processes are given different ones.
func Free(t *testing.T) string {
	t.Helper()
	const first, n = 20_000, 8_000
	for i := range n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+(os.Getpid()+i)%n))
		if err != nil {
			continue
		}
		defer l.Close() //nolint:errcheck // it was used for nothing
		return l.Addr().String()
	}
	t.Fatal("all ports are taken")
	return ""
}

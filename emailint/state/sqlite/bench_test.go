package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/statetest"
)

func BenchmarkStore(b *testing.B) {
	statetest.Benchmarks(b, func(b *testing.B) state.Store { return open(b, filepath.Join(b.TempDir(), "state.db")) })
}

// Two stores on one file are as two processes.
func TestSharedFile(t *testing.T) {
	statetest.RunShared(t, func(t *testing.T) (a, b state.Store) {
		path := filepath.Join(t.TempDir(), "state.db")
		return open(t, path), open(t, path)
	})
}

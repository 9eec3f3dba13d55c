package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// Processes that make a file at once wait for each other: SQLite itself does not where it is brought to have a log.
func TestOpenWaitsForWhoMakesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	synctest.Test(t, func(t *testing.T) {
		other, err := sql.Open("sqlite", path+"?_txlock=immediate")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		making, err := other.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		opened := make(chan error, 1)
		go func() {
			s, err := Open(t.Context(), path)
			if err == nil {
				err = s.Close()
			}
			opened <- err
		}()
		synctest.Wait() // it waits, or has been told that the file is locked
		if err := making.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := <-opened; err != nil {
			t.Error(err)
		}
	})
}

// A file that somebody else keeps locked is waited for as long as for any write, and then its host is told.
func TestOpenWaitsForALockedFileOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		other, err := sql.Open("sqlite", path+"?_txlock=immediate")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		writing, err := other.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer writing.Rollback() //nolint:errcheck // it wrote nothing
		begun := time.Now()
		if _, err := Open(t.Context(), path); err == nil {
			t.Error("a file was opened that is locked")
		}
		if took := time.Since(begun); took > 25*time.Second {
			t.Errorf("it was waited for %v", took)
		}
	})
}

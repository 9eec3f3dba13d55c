// Package killed is what tests and programs share that kill a process with SIGKILL and start it again: the killing, and a look at what it left to do. examples/internal/kill does
// it to an import over IMAP at random moments, emailint/internal/crash/overoutlook to an engine over graphtest at requests that it counts.
package killed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
)

// Run runs a command, and kills it when the moment has come. killed is false where it ended before; then err is how.
func Run[T any](cmd *exec.Cmd, moment <-chan T) (killed bool, err error) {
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-moment:
		_ = cmd.Process.Kill() // SIGKILL; it fails when the process has just ended
		err = <-ended
		if cmd.ProcessState.ExitCode() == -1 {
			return true, nil
		}
	}
	return false, err
}

// Life is a process that was killed, and what it left behind.
type Life struct {
	After       time.Duration // its age, where it was killed by that
	Rows        int           // in the ledger
	Undecided   int           // rows
	Undelivered int           // emails
	Reading     bool          // history was not read to its end
	Midway      int           // mails that are neither sent nor failed, and changes of the mailbox that were begun
}

func (l Life) String() string {
	switch {
	case l.Rows == 0:
		return "no row yet"
	case l.Midway > 0:
		return fmt.Sprintf("%d rows, %d undecided, %d emails undelivered, %d sends or changes midway", l.Rows, l.Undecided, l.Undelivered, l.Midway)
	case l.AtWork():
		return fmt.Sprintf("%d rows, %d undecided, %d emails undelivered", l.Rows, l.Undecided, l.Undelivered)
	}
	return "all was done"
}

// AtWork reports whether there was something left to do.
func (l Life) AtWork() bool { return l.Reading || l.Undecided > 0 || l.Undelivered > 0 || l.Midway > 0 }

// Look looks at the state that a process left.
func Look(ctx context.Context, st state.Store) (Life, error) {
	conns, err := st.Connections(ctx, "")
	if err != nil {
		return Life{}, err
	}
	l := Life{Reading: true}
	for _, c := range conns {
		counts, err := st.Counts(ctx, c.Org, c.ID)
		if err != nil {
			return l, err
		}
		l.Rows, l.Undecided, l.Undelivered = counts.Total, counts.Due, counts.Undelivered
		runs, err := st.Runs(ctx, c.Org, c.ID)
		if err != nil {
			return l, err
		}
		l.Reading = len(runs) == 0
		for _, r := range runs {
			l.Reading = l.Reading || !r.Done
		}
		begun := map[int64]bool{}
		events, err := st.IntentLog(ctx, c.Org, c.ID, 0, 100_000)
		if err != nil {
			return l, err
		}
		for _, e := range events {
			begun[e.Intent] = e.State == state.IntentAttempted
		}
		for _, b := range begun {
			if b {
				l.Midway++
			}
		}
	}
	out, err := st.OutboxDue(ctx, "", time.Now().AddDate(1, 0, 0), 1000)
	if err != nil {
		return l, err
	}
	for _, o := range out {
		if o.State != state.OutUnknown {
			l.Midway++
		}
	}
	return l, nil
}

// LookAtFile looks at a copy of an SQLite state, so that the next life finds the file and its journal as the kill left them.
func LookAtFile(ctx context.Context, file string) (Life, error) {
	tmp, err := os.MkdirTemp("", "killed")
	if err != nil {
		return Life{}, err
	}
	defer os.RemoveAll(tmp)
	at := filepath.Join(tmp, "state.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(file + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(at+suffix, b, 0o600)
		}
		if err != nil {
			return Life{}, err
		}
	}
	st, err := sqlite.Open(ctx, at)
	if err != nil {
		return Life{}, err
	}
	defer st.Close()
	return Look(ctx, st)
}

// Tally counts kills by what they left to do; one kill may leave several things.
type Tally struct{ Kills, NoRow, Undecided, Undelivered, Midway, Between, Working int }

// Add counts one.
func (t *Tally) Add(l Life) {
	t.Kills++
	if l.AtWork() {
		t.Working++
	}
	if l.Undecided > 0 {
		t.Undecided++
	}
	if l.Undelivered > 0 {
		t.Undelivered++
	}
	if l.Midway > 0 {
		t.Midway++
	}
	switch {
	case l.Rows == 0:
		t.NoRow++
	case l.Reading && l.Undecided == 0 && l.Undelivered == 0:
		t.Between++
	}
}

func (t *Tally) String() string {
	return fmt.Sprintf("%d kills: %d left rows undecided, %d emails undelivered, %d sends or changes midway, %d came between two pages, %d before the first row, %d with all done",
		t.Kills, t.Undecided, t.Undelivered, t.Midway, t.Between, t.NoRow, t.Kills-t.Working)
}

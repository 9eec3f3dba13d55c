package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/intellicon/email-integration/emailint/state/sqlite"
)

// life is a run of quickstart that was killed, and what it left behind.
type life struct {
	after       time.Duration
	rows        int  // in the ledger
	undecided   int  // rows
	undelivered int  // emails
	reading     bool // history was not read to its end
}

func (l life) String() string {
	switch {
	case l.rows == 0:
		return "no row yet"
	case l.atWork():
		return fmt.Sprintf("%d rows, %d undecided, %d emails undelivered", l.rows, l.undecided, l.undelivered)
	}
	return "all was done"
}

func (l life) atWork() bool { return l.reading || l.undecided > 0 || l.undelivered > 0 }

// examine looks at a copy of the state, so that the next life finds the file and its journal as the kill left them.
func examine(ctx context.Context, dir string) (life, error) {
	tmp, err := os.MkdirTemp("", "kill")
	if err != nil {
		return life{}, err
	}
	defer os.RemoveAll(tmp)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, stateFile+suffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(tmp, stateFile+suffix), b, 0o600)
		}
		if err != nil {
			return life{}, err
		}
	}
	st, err := sqlite.Open(ctx, filepath.Join(tmp, stateFile))
	if err != nil {
		return life{}, err
	}
	defer st.Close()
	conns, err := st.Connections(ctx, "")
	if err != nil {
		return life{}, err
	}
	l := life{reading: true}
	for _, c := range conns {
		counts, err := st.Counts(ctx, c.Org, c.ID)
		if err != nil {
			return l, err
		}
		l.rows, l.undecided, l.undelivered = counts.Total, counts.Due, counts.Undelivered
		runs, err := st.Runs(ctx, c.Org, c.ID)
		if err != nil {
			return l, err
		}
		l.reading = len(runs) == 0
		for _, r := range runs {
			l.reading = l.reading || !r.Done
		}
	}
	return l, nil
}

// tally counts kills by what they left to do; one kill may leave both rows and emails.
type tally struct{ kills, noRow, undecided, undelivered, between, atWork int }

func (t *tally) add(l life) {
	t.kills++
	if l.atWork() {
		t.atWork++
	}
	if l.undecided > 0 {
		t.undecided++
	}
	if l.undelivered > 0 {
		t.undelivered++
	}
	switch {
	case l.rows == 0:
		t.noRow++
	case l.reading && l.undecided == 0 && l.undelivered == 0:
		t.between++
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("%d kills: %d left rows undecided, %d emails undelivered, %d came between two pages, %d before the first row, %d with all done",
		t.kills, t.undecided, t.undelivered, t.between, t.noRow, t.kills-t.atWork)
}

package sqlstate

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// leave takes the item out of a folder, if the ledger still places it there, and reports whether it is in none now.
func (t *tx) leave(l state.Lease, r provider.Removal) (bool, error) {
	row, err := t.rowOf(l.Connection, r.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if r.Folder == "" {
		err = t.do(`DELETE FROM placement WHERE row_id = ?`, row.ID)
	} else {
		var n int
		n, err = t.exec(`DELETE FROM placement WHERE row_id = ? AND folder = ?`, row.ID, r.Folder)
		if err == nil && n == 0 {
			return false, nil
		}
	}
	if err != nil {
		return false, err
	}
	// An archive that had no answer is not repeated for mail that was seen outside the inbox (rule 17), also where ids survive.
	if err := t.do(`UPDATE intent SET item = '' WHERE conn = ?1 AND item = ?2 AND state = 'attempted' AND (state IN ('planned',
		'attempted', 'undoing') OR undo) AND (?3 = '' OR EXISTS (SELECT 1 FROM folder WHERE conn = ?1 AND id = ?3 AND role = 'inbox'))`,
		l.Connection, string(r.ID), r.Folder); err != nil {
		return false, err
	}
	return t.homeless(l, row.ID)
}

// homeless marks a row that lies in no folder as left, and reports whether it newly is.
func (t *tx) homeless(l state.Lease, row int64) (bool, error) {
	n, err := t.exec(`UPDATE ledger SET away = true, left_epoch = ?, check_at = 0, missed_at = 0 WHERE id = ? AND NOT away
		AND NOT EXISTS (SELECT 1 FROM placement WHERE row_id = id)`, l.Epoch, row)
	return n > 0, err
}

// held runs f in the write transaction if the lease still holds.
func (s *Store) held(ctx context.Context, l state.Lease, f func(t *tx) error) error {
	return s.write(ctx, l.Org, func(t *tx) error {
		if err := t.holds(l); err != nil {
			return err
		}
		return f(t)
	})
}

// Sweep implements state.Ledger.
func (s *Store) Sweep(ctx context.Context, l state.Lease, folder string) (left int, err error) {
	err = s.held(ctx, l, func(t *tx) error {
		left = 0
		rows, err := list(t, one[int64], `SELECT row_id FROM placement WHERE conn = ?1 AND folder = ?2
			AND generation < (SELECT generation FROM folder WHERE conn = ?1 AND id = ?2)`, l.Connection, folder)
		if err != nil {
			return err
		}
		for _, id := range rows {
			if err := t.do(`DELETE FROM placement WHERE row_id = ? AND folder = ?`, id, folder); err != nil {
				return err
			}
			newly, err := t.homeless(l, id)
			if err != nil {
				return err
			}
			if newly {
				left++
			}
		}
		return nil
	})
	return left, err
}

// Placed implements state.Ledger.
func (s *Store) Placed(ctx context.Context, l state.Lease, folder string, after int64, limit int) (rows []state.Row, err error) {
	err = s.read(ctx, func(t *tx) error {
		if err := t.holds(l); err != nil {
			return err
		}
		rows, err = list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE conn = ?1 AND id > ?2
			AND EXISTS (SELECT 1 FROM placement WHERE row_id = ledger.id AND folder = ?3) ORDER BY id LIMIT ?4`, l.Connection, after, folder, limit)
		return err
	})
	return rows, err
}

// Leave implements state.Ledger.
func (s *Store) Leave(ctx context.Context, l state.Lease, rs []provider.Removal) (left int, err error) {
	err = s.held(ctx, l, func(t *tx) error {
		left = 0
		for _, r := range rs {
			newly, err := t.leave(l, r)
			if err != nil {
				return err
			}
			if newly {
				left++
			}
		}
		return nil
	})
	return left, err
}

// Counted implements state.Ledger.
func (s *Store) Counted(ctx context.Context, l state.Lease, r state.Recount) error {
	return s.held(ctx, l, func(t *tx) error {
		err := t.do(`UPDATE folder SET counted = ? WHERE conn = ? AND id = ? AND counted < ?`, r.Number, l.Connection, r.Folder, r.Number)
		return err
	})
}

// Leavers implements state.Ledger.
func (s *Store) Leavers(ctx context.Context, l state.Lease, now time.Time, limit int) (rows []state.Row, err error) {
	err = s.read(ctx, func(t *tx) error {
		if err := t.holds(l); err != nil {
			return err
		}
		rows, err = list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE conn = ?1 AND away AND NOT gone AND email > 0
			AND left_epoch < ?2 AND check_at <= ?3 AND NOT EXISTS (SELECT 1 FROM ledger o WHERE o.email = ledger.email AND o.conn = ?1 AND NOT o.away)
			ORDER BY check_at, id LIMIT ?4`, l.Connection, l.Epoch, stamp(now), limit)
		return err
	})
	return rows, err
}

// Recheck implements state.Ledger.
func (s *Store) Recheck(ctx context.Context, l state.Lease, rows []int64, at, missed time.Time) error {
	return s.held(ctx, l, func(t *tx) error {
		for _, id := range rows {
			if err := t.do(`UPDATE ledger SET check_at = ?, missed_at = ? WHERE id = ? AND conn = ?`, stamp(at), stamp(missed), id, l.Connection); err != nil {
				return err
			}
		}
		return nil
	})
}

// Gone implements state.Ledger.
func (s *Store) Gone(ctx context.Context, l state.Lease, ids []provider.ItemID, release bool) error {
	return s.held(ctx, l, func(t *tx) error {
		for _, id := range ids {
			row, err := t.rowOf(l.Connection, id)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			} else if err != nil {
				return err
			}
			if err := t.do(`DELETE FROM placement WHERE row_id = ?`, row.ID); err != nil {
				return err
			}
			if err := t.do(`UPDATE ledger SET away = true, gone = true, settled = CASE WHEN email = 0 AND fate IN ('pending', 'unread', 'failed',
				'draft', 'spam', 'trash') THEN due ELSE settled END, fate = CASE WHEN email = 0 AND fate IN ('pending', 'unread',
				'failed', 'draft', 'spam', 'trash') THEN 'gone' ELSE fate END WHERE id = ?`, row.ID); err != nil {
				return err
			}
			if release && row.Email != 0 {
				if err := t.release(l.Connection, row.Email); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// release ends a mailbox's hold on an Email of which it has no row that may still be somewhere. A person's link keeps it.
func (t *tx) release(connection, id int64) error {
	var here int
	if err := t.row(`SELECT count(*) FROM ledger WHERE email = ? AND conn = ? AND NOT gone`, id, connection).Scan(&here); err != nil {
		return err
	}
	had, err := t.email(id)
	if err != nil {
		return err
	}
	if kept, err := t.kept(had); err != nil || here > 0 || kept {
		return err
	}
	e := had
	if err := t.unhold(&e, connection); err != nil {
		return err
	}
	if err := t.store(had, &e, false); err != nil {
		return err
	}
	return t.wakeHolders(id)
}

// unhold takes a mailbox off the holders of an Email; the caller stores it. Where the mailbox gave the envelope another copy decides from now
// on: the rows of the others are due, and read their own copies again.
func (t *tx) unhold(e *state.Email, connection int64) error {
	e.Holders = without(e.Holders, connection)
	n, err := t.exec(`UPDATE email SET rank = ?1 WHERE id = ?2 AND envelope_conn = ?3 AND envelope IS NOT NULL AND rank > ?1`, state.RankOrphan, e.ID, connection)
	if err != nil || n == 0 {
		return err
	}
	if err := t.do(`UPDATE ledger SET reread = true WHERE email = ?`, e.ID); err != nil {
		return err
	}
	_, err = t.markDue(e.Org, `SELECT id FROM ledger WHERE email = ? AND conn <> ?`, e.ID, connection)
	return err
}

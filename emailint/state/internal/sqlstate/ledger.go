package sqlstate

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

const rowColumns = `id, conn, item, fate, reason, history, sent, received, message_id, fingerprint, cites, participants, thread, size,
	email, due, settled, rules, reread, tries, next_try, away, gone, check_at, missed_at`

func scanRow(s scanner) (r state.Row, err error) {
	var received, nextTry, checkAt, missedAt int64
	var messageID, fingerprint, cites, participants []byte
	err = s.Scan(&r.ID, &r.Connection, &r.Item, &r.Fate, &r.Reason, &r.History, &r.Sent, &received, &messageID, &fingerprint, &cites,
		&participants, &r.Thread, &r.Size, &r.Email, &r.Due, &r.Settled, &r.RulesVersion, &r.Reread, &r.Tries, &nextTry, &r.Left, &r.Gone, &checkAt, &missedAt)
	r.Received, r.NextTry, r.CheckAt, r.MissedAt, r.MessageID = unstamp(received), unstamp(nextTry), unstamp(checkAt), unstamp(missedAt), state.Hash(messageID)
	r.Fingerprint = state.Hash(fingerprint)
	r.Cites, r.Participants = unpackHashes(cites), unpackHashes(participants)
	return r, err
}

func (t *tx) rowOf(connection int64, item provider.ItemID) (state.Row, error) {
	return scanRow(t.row(`SELECT `+rowColumns+` FROM ledger WHERE conn = ? AND item = ?`, connection, string(item)))
}

// folders fills in where the rows lie.
func (t *tx) folders(rows []state.Row) error {
	if len(rows) == 0 {
		return nil
	}
	ids := make([]int64, len(rows))
	at := map[int64]int{}
	for i, r := range rows {
		ids[i], at[r.ID], rows[i].Folders = r.ID, i, nil
	}
	_, err := listEach(t, func(s scanner) (f provider.Folder, err error) {
		var row int64
		if err = s.Scan(&row, &f.ID, &f.Name, &f.Role); err == nil {
			rows[at[row]].Folders = append(rows[at[row]].Folders, f)
		}
		return f, err
	}, `SELECT p.row_id, f.id, f.name, f.role FROM /*each*/ placement p JOIN folder f ON f.conn = p.conn AND f.id = p.folder
		WHERE p.row_id = ?1 AND p.folder <> '' ORDER BY p.row_id, f.id`, ids)
	return err
}

// numbers reads the organisation's change number and the settings version that decisions must have.
func (t *tx) numbers(org string) (change, rules, version int64, err error) {
	change = 1
	err = t.row(`SELECT change, rules, version FROM org WHERE id = ?`, org).Scan(&change, &rules, &version)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return change, rules, version, err
}

// Pending implements state.Ledger.
func (s *Store) Pending(ctx context.Context, l state.Lease, now time.Time, limit int, bytes int64) (b state.Batch, err error) {
	err = s.read(ctx, func(t *tx) error {
		if err := t.holds(l); err != nil {
			return err
		}
		var rules int64
		if b.Change, rules, b.Rules, err = t.numbers(l.Org); err != nil {
			return err
		}
		q := `SELECT ` + rowColumns + ` FROM ledger WHERE conn = ? AND due > settled AND next_try <= ? ORDER BY history, received DESC, id LIMIT ?`
		if l.SentOnly {
			q = `SELECT ` + rowColumns + ` FROM ledger WHERE conn = ? AND due > settled AND sent AND next_try <= ? ORDER BY history, received DESC, id LIMIT ?`
		}
		rows, err := list(t, scanRow, q, l.Connection, stamp(now), limit)
		if err != nil {
			return err
		}
		if len(rows) < limit && rules > 0 && !l.SentOnly {
			older, err := list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE conn = ? AND rules < ? AND due <= settled AND next_try <= ?
				AND fate IN ('linked', 'unmatched', 'excluded', 'internal', 'automated') ORDER BY received DESC, id LIMIT ?`,
				l.Connection, rules, stamp(now), limit-len(rows))
			if err != nil {
				return err
			}
			rows = append(rows, older...)
		}
		for i, r := range rows {
			if bytes -= r.Size; i > 0 && bytes < 0 {
				rows = rows[:i]
				break
			}
		}
		b.Rows = rows
		return t.folders(b.Rows)
	})
	return b, err
}

// Counts implements state.Ledger.
func (s *Store) Counts(ctx context.Context, org string, connection int64) (c state.Counts, err error) {
	err = s.read(ctx, func(t *tx) error {
		c = state.Counts{Fates: map[state.Fate]int{}}
		_, err := list(t, func(s scanner) (f state.Fate, err error) {
			var n, due, left, skipped int
			err = s.Scan(&f, &n, &due, &left, &skipped)
			c.Fates[f], c.Total, c.Due, c.Left, c.Skipped = n, c.Total+n, c.Due+due, c.Left+left, c.Skipped+skipped
			return f, err
		}, `SELECT fate, count(*), count(*) FILTER (WHERE due > settled OR (fate IN ('linked', 'unmatched', 'excluded', 'internal', 'automated')
			AND rules < coalesce((SELECT rules FROM org WHERE id = ?1), 0))), count(*) FILTER (WHERE away),
			count(*) FILTER (WHERE fate = 'unread' AND reason = ?3 AND NOT away)
			FROM ledger WHERE conn = ?2 AND org = ?1 GROUP BY fate`, org, connection, state.SkippedReason)
		if err != nil {
			return err
		}
		if err := t.row(`SELECT count(*) FROM email e WHERE org = ? AND revision > saved AND NOT held AND (attempted OR wanted)
			AND EXISTS (SELECT 1 FROM holder WHERE email = e.id AND conn = ?)`, org, connection).Scan(&c.Undelivered); err != nil {
			return err
		}
		return t.row(`SELECT count(*) FROM change WHERE org = ?`, org).Scan(&c.Unspread)
	})
	return c, err
}

// Lookup implements state.Ledger.
func (s *Store) Lookup(ctx context.Context, org string, messageID state.Hash) (rows []state.Row, es []state.Email, err error) {
	err = s.read(ctx, func(t *tx) error {
		if rows, err = list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE message_id = ? AND org = ? ORDER BY id`,
			[]byte(messageID), org); err != nil {
			return err
		}
		if err := t.folders(rows); err != nil {
			return err
		}
		ids, err := list(t, one[int64], `SELECT e.id FROM alias a JOIN email e ON e.id = a.email WHERE a.hash = ? AND e.org = ?
			ORDER BY e.id`, []byte(messageID), org)
		if err != nil {
			return err
		}
		es, err = t.emails(ids)
		return err
	})
	return rows, es, err
}

// Missing implements state.Ledger.
func (s *Store) Missing(ctx context.Context, org string, connection int64, ids []provider.ItemID) (out []provider.ItemID, err error) {
	err = s.read(ctx, func(t *tx) error {
		out = nil
		items := make([]string, len(ids))
		for i, id := range ids {
			items[i] = string(id)
		}
		there, err := listEach(t, one[string], `SELECT item FROM /*each*/ ledger WHERE conn = ?1 AND item = ?2 AND org = ?3 AND NOT away`, connection, items, org)
		if err != nil {
			return err
		}
		have := map[string]bool{}
		for _, item := range there {
			have[item] = true
		}
		for i, id := range ids {
			if !have[items[i]] {
				out = append(out, id)
			}
		}
		return nil
	})
	return out, err
}

// Items implements state.Ledger.
func (s *Store) Items(ctx context.Context, org string, connection int64, after int64, limit int) (rows []state.Row, err error) {
	err = s.read(ctx, func(t *tx) error {
		if rows, err = list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE conn = ? AND org = ? AND id > ? ORDER BY id LIMIT ?`,
			connection, org, after, limit); err != nil || len(rows) == 0 {
			return err
		}
		undelivered, err := list(t, one[int64], `SELECT l.id FROM email e JOIN ledger l ON l.email = e.id WHERE e.org = ?
			AND e.revision > e.saved AND NOT e.held AND (e.attempted OR e.wanted) AND l.conn = ? AND l.id BETWEEN ? AND ?`,
			org, connection, rows[0].ID, rows[len(rows)-1].ID)
		if err != nil {
			return err
		}
		for i := range rows {
			rows[i].Undelivered = slices.Contains(undelivered, rows[i].ID)
		}
		return t.folders(rows)
	})
	return rows, err
}

package sqlstate

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// Erase implements state.Erasures.
func (s *Store) Erase(ctx context.Context, org string, connection int64, at time.Time, own state.Change, limit int) (out state.Erasure, err error) {
	done := false
	err = s.write(ctx, org, func(t *tx) error {
		done = false
		if err := t.eraseBegin(org, connection, at, own); err != nil {
			return err
		}
		budget := max(limit, 1)
		n, err := t.eraseRows(org, connection, budget)
		if err == nil && n < budget {
			err = t.eraseRest(org, connection, budget)
		}
		if err != nil {
			return err
		}
		if out, err = t.erasure(org, connection); err != nil {
			return err
		}
		if out.Erased && out.Outstanding == 0 && out.Done.IsZero() {
			err = t.do(`UPDATE erasure SET done = ? WHERE conn = ?`, stamp(at), connection)
			out.Done = unstamp(stamp(at))
			done = true
		}
		return err
	})
	if err == nil && done {
		s.db.Erased(ctx)
	}
	return out, err
}

// eraseBegin takes the mailbox away from whoever works on it, once.
func (t *tx) eraseBegin(org string, connection int64, at time.Time, own state.Change) error {
	var begun bool
	if err := t.row(`SELECT EXISTS (SELECT 1 FROM erasure WHERE conn = ? AND org = ?)`, connection, org).Scan(&begun); err != nil || begun {
		return err
	}
	n, err := t.exec(`UPDATE connection SET state = 'erasing', reason = '', real_time = '', credential = NULL, watch = NULL, cursor = NULL, revision = revision + 1,
		worker = '', lease_until = 0, epoch = epoch + 1 WHERE id = ? AND org = ?`, connection, org)
	if err == nil && n == 0 {
		err = state.ErrNotFound
	}
	if err != nil {
		return err
	}
	if err := t.do(`INSERT INTO erasure (conn, org, begun) VALUES (?, ?, ?)`, connection, org, stamp(at)); err != nil {
		return err
	}
	if err := t.do(`UPDATE outbox SET state = 'failed', error = 'its mailbox was erased' WHERE conn = ? AND state IN ('queued', 'staged')`, connection); err != nil {
		return err
	}
	_, err = t.change(org, own)
	return err
}

// eraseRows erases a page of rows, and returns how many there were.
func (t *tx) eraseRows(org string, connection int64, limit int) (int, error) {
	rows, err := list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE conn = ? ORDER BY id LIMIT ?`, connection, limit)
	if err != nil {
		return 0, err
	}
	released := 0
	for _, r := range rows {
		if err := t.eraseRow(org, r); err != nil {
			return 0, err
		}
		let, err := t.letGo(org, connection, r.Email)
		if err != nil {
			return 0, err
		}
		released += let
	}
	err = t.do(`UPDATE erasure SET items = items + ?, released = released + ? WHERE conn = ?`, len(rows), released, connection)
	return len(rows), err
}

// eraseRow deletes a row, and tells those who reached others through it.
func (t *tx) eraseRow(org string, r state.Row) error {
	hashes, err := t.disconnect(org, r)
	if err != nil {
		return err
	}
	if err := t.index(r.ID, &r, state.Row{}); err != nil {
		return err
	}
	if err := t.do(`DELETE FROM placement WHERE row_id = ?`, r.ID); err != nil {
		return err
	}
	if err := t.do(`DELETE FROM ledger WHERE id = ?`, r.ID); err != nil {
		return err
	}
	return t.unmentioned(org, append(hashes, r.Cites...))
}

// disconnect is late the other way round: the mails below a row no longer reach what it cites. Words on its thread that lie above are repeated
// on its ids, which it returns.
func (t *tx) disconnect(org string, r state.Row) (hashes []state.Hash, err error) {
	if r.MessageID != "" {
		hashes = append(hashes, r.MessageID)
	}
	if r.Email != 0 {
		aliases, err := list(t, one[[]byte], `SELECT hash FROM alias WHERE email = ? ORDER BY hash`, r.Email)
		if err != nil {
			return nil, err
		}
		for _, a := range aliases {
			if !slices.Contains(hashes, state.Hash(a)) {
				hashes = append(hashes, state.Hash(a))
			}
		}
	}
	if len(hashes) == 0 || len(r.Cites) == 0 {
		return hashes, nil
	}
	// Another copy leads to the same.
	var known bool
	if err := t.row(`SELECT EXISTS (SELECT 1 FROM ledger WHERE message_id = ?1 AND org = ?2 AND id <> ?3 AND (email = ?4 OR ?4 = 0) AND cites = ?5)`, blob(r.MessageID), org, r.ID,
		r.Email, packHashes(r.Cites)).Scan(&known); err != nil || known {
		return hashes, err
	}
	links, ws, err := t.above(org, r.Cites)
	if err != nil {
		return nil, err
	}
	for _, w := range ws {
		for _, w.hash = range hashes {
			if err := t.repeat(org, w); err != nil {
				return nil, err
			}
		}
	}
	if !links && len(ws) == 0 {
		return hashes, nil
	}
	return hashes, t.markDescendants(org, hashes, 0, len(ws) == 0, nil)
}

// unmentioned erases words on ids that no mail mentions any more.
func (t *tx) unmentioned(org string, hashes []state.Hash) error {
	for _, h := range hashes {
		if h == "" {
			continue
		}
		var spoken, mentioned bool
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM word WHERE org = ? AND hash = ?)`, org, []byte(h)).Scan(&spoken); err != nil {
			return err
		}
		if !spoken {
			continue
		}
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM ledger WHERE message_id = ?1 AND org = ?2) OR EXISTS (SELECT 1 FROM cite c JOIN ledger l ON l.id = c.row_id
			WHERE c.hash = ?1 AND l.org = ?2)`, []byte(h), org).Scan(&mentioned); err != nil {
			return err
		}
		// A word on a mail goes with the last row that may be of it, one on a thread with the last that leads there.
		var err error
		if mentioned {
			err = t.ownerless(org, h)
		} else {
			err = t.do(`DELETE FROM word WHERE org = ? AND hash = ?`, org, []byte(h))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// letGo ends a mailbox's hold on an Email of which no row is left in it. It returns 1 where others hold it.
func (t *tx) letGo(org string, connection, email int64) (released int, err error) {
	if email == 0 {
		return 0, nil
	}
	var here bool
	if err := t.row(`SELECT EXISTS (SELECT 1 FROM ledger WHERE email = ? AND conn = ?)`, email, connection).Scan(&here); err != nil || here {
		return 0, err
	}
	had, err := t.email(email)
	if errors.Is(err, state.ErrNotFound) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	e := had
	if err := t.unhold(&e, connection); err != nil {
		return 0, err
	}
	if len(e.Holders) == 0 {
		var needed bool // another mailbox sends it as well, and whoever sends it learns of its links later
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM outbox WHERE email = ? AND conn <> ?)`, email, connection).Scan(&needed); err != nil {
			return 0, err
		}
		if !needed {
			return 0, t.efface(org, connection, had)
		}
	}
	if err := t.store(had, &e, false); err != nil {
		return 0, err
	}
	if slices.Contains(had.Holders, connection) && len(e.Holders) > 0 {
		released = 1
	}
	return released, t.wakeHolders(email)
}

// efface erases an Email that nobody holds any more. What the host may know of stays as id and revision (rule 3), and is told as empty.
func (t *tx) efface(org string, connection int64, had state.Email) error {
	if had.Spoken() {
		if err := t.outlive(org, connection, had); err != nil {
			return err
		}
	}
	var known bool
	if err := t.row(`SELECT known FROM email WHERE id = ?`, had.ID).Scan(&known); err != nil {
		return err
	}
	if had.HostID != "" {
		if err := t.giveBack(org, had); err != nil {
			return err
		}
	}
	e := had
	e.Links, e.Person, e.Holders, e.Aliases = nil, nil, nil, nil
	e.Dropped, e.Restored, e.ThreadDropped = false, false, false
	if err := t.store(had, &e, false); err != nil {
		return err
	}
	if err := t.do(`UPDATE ledger SET email = 0, reread = false WHERE email = ?`, had.ID); err != nil {
		return err
	}
	if err := t.do(`DELETE FROM outbox WHERE email = ? AND conn = ?`, had.ID, connection); err != nil {
		return err
	}
	var err error
	if had.Attempted {
		told := !known && had.Saved >= had.Revision // as empty, and nothing changed since
		err = t.do(`UPDATE email SET message_id = NULL, fingerprint = NULL, ours = false, held = false, wanted = false, envelope = NULL, envelope_tag = '',
			envelope_conn = 0, rank = 0, error = '', tries = 0, next_try = 0, revision = CASE WHEN ?1 THEN ?2 ELSE revision END,
			erasure = CASE WHEN ?1 OR revision <= saved THEN 0 ELSE CAST(?3 AS BIGINT) END WHERE id = ?4`, told, had.Revision, connection, had.ID)
	} else {
		for _, q := range []string{`DELETE FROM intent WHERE email = ?`, `DELETE FROM late WHERE email = ?`, `DELETE FROM email WHERE id = ?`} {
			if err = t.do(q, had.ID); err != nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	// Those that were joined into it have its Message-IDs too.
	joined, err := list(t, one[int64], `SELECT id FROM email WHERE survivor = ? AND survivor > 0 ORDER BY id`, had.ID)
	if err != nil {
		return err
	}
	for _, id := range joined {
		j, err := t.email(id)
		if err != nil {
			return err
		}
		if err := t.efface(org, connection, j); err != nil {
			return err
		}
	}
	return nil
}

// outlive keeps people's words on an Email by hash and fingerprint, where another mailbox has shown a mail that may be it and is not attached yet.
func (t *tx) outlive(org string, connection int64, e state.Email) error {
	seq, err := t.nextWord(org)
	if err != nil {
		return err
	}
	for _, h := range e.Aliases {
		var shown bool
		// A namesake, which has another author, date or subject, is not it.
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM ledger WHERE message_id = ? AND org = ? AND conn <> ? AND (fingerprint IS NULL OR fingerprint = ?))`, []byte(h), org, connection,
			blob(e.Fingerprint)).Scan(&shown); err != nil {
			return err
		}
		if !shown {
			continue
		}
		words := e.Person
		if e.Dropped || e.Restored {
			words = append(slices.Clone(words), linker.Link{Removed: e.Restored})
		}
		for i, l := range words {
			if err := t.repeat(org, word{hash: h, seq: seq + int64(i), of: e.Fingerprint, record: l.Record, no: l.Removed}); err != nil {
				return err
			}
		}
	}
	return nil
}

// eraseRest erases what a mailbox without rows has left, a page of each kind, and in the end the connection.
func (t *tx) eraseRest(org string, connection int64, limit int) error {
	full := false
	released := 0
	for _, q := range []string{`SELECT email FROM holder WHERE conn = ? ORDER BY email LIMIT ?`, `SELECT email FROM outbox WHERE conn = ? ORDER BY state, id LIMIT ?`} {
		ids, err := list(t, one[int64], q, connection, limit)
		if err != nil {
			return err
		}
		full = full || len(ids) == limit
		for _, id := range ids {
			if err := t.do(`DELETE FROM outbox WHERE email = ? AND conn = ?`, id, connection); err != nil {
				return err
			}
			let, err := t.letGo(org, connection, id)
			if err != nil {
				return err
			}
			released += let
		}
	}
	if err := t.do(`UPDATE erasure SET released = released + ? WHERE conn = ?`, released, connection); err != nil {
		return err
	}
	for _, q := range []string{
		`DELETE FROM intent WHERE id IN (SELECT id FROM intent WHERE conn = ? LIMIT ?)`,
		`DELETE FROM mutation WHERE id IN (SELECT id FROM mutation WHERE conn = ? LIMIT ?)`,
		`DELETE FROM late WHERE (email, conn) IN (SELECT email, conn FROM late WHERE conn = ? LIMIT ?)`,
	} {
		n, err := t.exec(q, connection, limit)
		if err != nil {
			return err
		}
		full = full || n == limit
	}
	if full {
		return nil
	}
	for _, q := range []string{`DELETE FROM placement WHERE conn = ?`, `DELETE FROM folder WHERE conn = ?`, `DELETE FROM run WHERE conn = ?`,
		`DELETE FROM connection WHERE id = ?`} {
		if err := t.do(q, connection); err != nil {
			return err
		}
	}
	return nil
}

// Erasure implements state.Erasures.
func (s *Store) Erasure(ctx context.Context, org string, connection int64) (e state.Erasure, err error) {
	err = s.read(ctx, func(t *tx) error {
		e, err = t.erasure(org, connection)
		return err
	})
	return e, err
}

func (t *tx) erasure(org string, connection int64) (e state.Erasure, err error) {
	var begun, done int64
	err = t.row(`SELECT org, conn, begun, done, items, released, NOT EXISTS (SELECT 1 FROM connection WHERE id = conn) FROM erasure WHERE conn = ? AND org = ?`,
		connection, org).Scan(&e.Org, &e.Connection, &begun, &done, &e.Items, &e.Released, &e.Erased)
	if errors.Is(err, sql.ErrNoRows) {
		return e, state.ErrNotFound
	} else if err != nil {
		return e, err
	}
	e.Begun, e.Done = unstamp(begun), unstamp(done)
	err = t.row(`SELECT count(*), count(*) FILTER (WHERE revision > saved) FROM email WHERE erasure = ? AND erasure > 0`, connection).Scan(&e.Removed, &e.Outstanding)
	e.Removed -= e.Outstanding
	return e, err
}

// Erasures implements state.Erasures.
func (s *Store) Erasures(ctx context.Context) (es []state.Erasure, err error) {
	err = s.read(ctx, func(t *tx) error {
		es = nil
		open, err := list(t, func(s scanner) (e state.Erasure, err error) {
			err = s.Scan(&e.Connection, &e.Org)
			return e, err
		}, `SELECT conn, org FROM erasure WHERE done = 0 ORDER BY conn`)
		if err != nil {
			return err
		}
		for _, o := range open {
			e, err := t.erasure(o.Org, o.Connection)
			if err != nil {
				return err
			}
			es = append(es, e)
		}
		return nil
	})
	return es, err
}

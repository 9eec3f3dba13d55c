package sqlite

import (
	"context"
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// nowhere is the folder of mail that lies in none: placing it there says that it is in the mailbox.
var nowhere = provider.Folder{}

func scanRun(s scanner) (r state.Run, err error) {
	var from, to int64
	err = s.Scan(&r.ID, &r.Reason, &from, &to, &r.Cursor, &r.Revision, &r.Seen, &r.Estimated, &r.Done)
	r.From, r.To = unstamp(from), unstamp(to)
	return r, err
}

const runColumns = `id, reason, from_t, to_t, cursor, revision, seen, estimated, done`

// Position implements state.Ledger.
func (s *Store) Position(ctx context.Context, l state.Lease) (p state.Position, err error) {
	err = s.read(ctx, func(t *tx) error {
		if err := t.holds(l); err != nil {
			return err
		}
		if err := t.row(`SELECT cursor, revision FROM connection WHERE id = ?`, l.Connection).Scan(&p.Cursor, &p.Revision); err != nil {
			return err
		}
		if p.Runs, err = list(t, scanRun, `SELECT `+runColumns+` FROM run WHERE conn = ? AND NOT done ORDER BY id DESC`, l.Connection); err != nil {
			return err
		}
		p.Generations = map[string]int64{}
		_, err := list(t, func(s scanner) (string, error) {
			var id string
			var g int64
			err := s.Scan(&id, &g)
			p.Generations[id] = g
			return id, err
		}, `SELECT id, generation FROM folder WHERE conn = ? AND generation > 0`, l.Connection)
		if err != nil {
			return err
		}
		p.Recounts, err = list(t, func(s scanner) (r state.Recount, err error) {
			err = s.Scan(&r.Folder, &r.Number)
			return r, err
		}, `SELECT id, recount FROM folder WHERE conn = ? AND recount > counted ORDER BY id`, l.Connection)
		return err
	})
	return p, err
}

// AddRun implements state.Ledger.
func (s *Store) AddRun(ctx context.Context, org string, connection int64, r state.Run) (state.Run, error) {
	r.Revision, r.Seen, r.Done = 0, 0, false
	err := s.write(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE connection SET wake = wake + 1 WHERE id = ? AND org = ?`, connection, org)
		if err != nil {
			return err
		}
		if n == 0 {
			return state.ErrNotFound
		}
		r.ID, err = t.insert(`INSERT INTO run (conn, reason, from_t, to_t, cursor, estimated) VALUES (?, ?, ?, ?, ?, ?)`,
			connection, r.Reason, stamp(r.From), stamp(r.To), r.Cursor, r.Estimated)
		return err
	})
	return r, err
}

// Runs implements state.Ledger.
func (s *Store) Runs(ctx context.Context, org string, connection int64) (rs []state.Run, err error) {
	err = s.read(ctx, func(t *tx) error {
		rs, err = list(t, scanRun, `SELECT `+runColumns+` FROM run WHERE conn = (SELECT id FROM connection WHERE id = ? AND org = ?)
			ORDER BY id`, connection, org)
		return err
	})
	return rs, err
}

// CommitPage implements state.Ledger.
func (s *Store) CommitPage(ctx context.Context, l state.Lease, p state.Page) (c state.Committed, err error) {
	err = s.write(ctx, func(t *tx) error {
		c = state.Committed{Revision: p.Revision + 1}
		if err := t.holds(l); err != nil {
			return err
		}
		var n int
		if p.Run == 0 {
			n, err = t.exec(`UPDATE connection SET cursor = ?, revision = revision + 1 WHERE id = ? AND revision = ?`,
				p.Cursor, l.Connection, p.Revision)
		} else {
			n, err = t.exec(`UPDATE run SET cursor = ?, revision = revision + 1, seen = seen + ?, done = ?,
				estimated = CASE WHEN ? > 0 THEN ? ELSE estimated END WHERE id = ? AND conn = ? AND revision = ?`,
				p.Cursor, len(p.Rows), p.Done, p.Estimated, p.Estimated, p.Run, l.Connection, p.Revision)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return state.ErrStale
		}
		for _, f := range p.Restart {
			if _, err := t.exec(`INSERT INTO folder (conn, id, name, role, generation) VALUES (?, ?, ?, ?, 1)
				ON CONFLICT DO UPDATE SET generation = generation + 1`, l.Connection, f.ID, f.Name, f.Role); err != nil {
				return err
			}
		}
		for _, f := range p.Recount {
			if _, err := t.exec(`INSERT INTO folder (conn, id, name, role, recount) VALUES (?, ?, ?, ?, 1)
				ON CONFLICT DO UPDATE SET recount = recount + 1`, l.Connection, f.ID, f.Name, f.Role); err != nil {
				return err
			}
		}
		current := map[string]int64{}
		for _, r := range p.Rows {
			inserted, changed, err := t.merge(l, r)
			if err != nil {
				return err
			}
			placed, err := t.place(l, r, p.Generations, current)
			if err != nil {
				return err
			}
			if inserted {
				c.Inserted++
			} else if changed || placed {
				c.Updated++
			}
		}
		for _, r := range p.Left {
			left, err := t.leave(l, r)
			if err != nil {
				return err
			}
			if left {
				c.Left++
			}
		}
		return nil
	})
	if err != nil {
		return state.Committed{}, err
	}
	return c, nil
}

// merge inserts a row, or brings what the item shows now into the row that is there.
func (t *tx) merge(l state.Lease, r state.Row) (inserted, changed bool, err error) {
	if r.Fate == "" {
		r.Fate = state.FatePending
	}
	due := 0
	if r.Fate == state.FatePending || r.Fate == state.FateFailed {
		due = 1
	}
	cites, participants := packHashes(r.Cites), packHashes(r.Participants)
	n, err := t.exec(`INSERT INTO ledger (conn, item, org, fate, reason, history, sent, received, message_id, fingerprint, cites, participants,
		thread, size, due, tries, next_try) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		l.Connection, string(r.Item), l.Org, r.Fate, r.Reason, r.History, r.Sent, stamp(r.Received), blob(r.MessageID), blob(r.Fingerprint), cites,
		participants, r.Thread, r.Size, due, r.Tries, stamp(r.NextTry))
	if err != nil {
		return false, false, err
	}
	have, err := t.rowOf(l.Connection, r.Item)
	if err != nil {
		return false, false, err
	}
	if n == 1 {
		if err := t.index(have.ID, nil, r); err != nil {
			return false, false, err
		}
		if err := t.late(l.Org, have.ID, r.MessageID, r.Cites); err != nil {
			return false, false, err
		}
		return true, false, t.recognise(l, have)
	}
	now := withHeader(have, r)
	now.Left, now.Gone = false, false
	now.Sent = have.Sent || r.Sent
	if r.Thread != "" {
		now.Thread = r.Thread
	}
	if r.Size > 0 {
		now.Size = r.Size
	}
	if !r.Received.IsZero() {
		now.Received = r.Received
		if have.Received.IsZero() {
			now.History = r.History // it was taken for history only because its time was unknown
		}
	}
	raise := have.Gone && have.Fate.Decided() // it is held again
	switch {
	case r.Fate == state.FatePending && !have.Fate.Decided() && have.Fate != state.FatePending:
		now.Fate, now.Reason, raise = state.FatePending, "", true
	case r.Fate == state.FatePending:
		raise = raise || now.Sent != have.Sent || now.MessageID != have.MessageID || !slices.Equal(now.Cites, have.Cites) ||
			!slices.Equal(now.Participants, have.Participants)
	case r.Fate == state.FateFailed && (have.Fate == state.FateUnread || have.Fate == state.FateGone || isFiled(have.Fate)):
		now.Fate, now.Reason, raise = r.Fate, r.Reason, true
	case !have.Fate.Decided() && (have.Fate == state.FateGone || isFiled(r.Fate) && isFiled(have.Fate)):
		now.Fate, now.Reason = r.Fate, r.Reason // gone and seen again; from one of trash, spam, drafts to another
	}
	if raise {
		now.Due++
	}
	same := now.Fate == have.Fate && now.Due == have.Due && now.Left == have.Left && now.Gone == have.Gone && now.Sent == have.Sent &&
		now.Thread == have.Thread && now.Size == have.Size && now.Received.UnixMicro() == have.Received.UnixMicro() &&
		now.MessageID == have.MessageID && now.Fingerprint == have.Fingerprint && slices.Equal(now.Cites, have.Cites) && slices.Equal(now.Participants, have.Participants)
	if same {
		return false, false, nil
	}
	if _, err := t.exec(`UPDATE ledger SET fate = ?, reason = ?, due = ?, left = ?, gone = ?, sent = ?, thread = ?, size = ?, received = ?, history = ?,
		next_try = CASE WHEN ? THEN 0 ELSE next_try END WHERE id = ?`,
		now.Fate, now.Reason, now.Due, now.Left, now.Gone, now.Sent, now.Thread, now.Size, stamp(now.Received), now.History, raise, have.ID); err != nil {
		return false, false, err
	}
	if err := t.index(have.ID, &have, now); err != nil || now.MessageID == have.MessageID && slices.Equal(now.Cites, have.Cites) {
		return false, true, err
	}
	return false, true, t.late(l.Org, have.ID, now.MessageID, now.Cites)
}

// withHeader returns a row with the hashes of a header; empty ones leave the row's.
func withHeader(r, header state.Row) state.Row {
	if header.MessageID != "" {
		r.MessageID = header.MessageID
	}
	if header.Fingerprint != "" {
		r.Fingerprint = header.Fingerprint
	}
	if len(header.Cites) > 0 {
		r.Cites = header.Cites
	}
	if len(header.Participants) > 0 {
		r.Participants = header.Participants
	}
	return r
}

func isFiled(f state.Fate) bool {
	return f == state.FateDraft || f == state.FateSpam || f == state.FateTrash
}

// index keeps the hashes of a row: in the row, and where they are looked up.
func (t *tx) index(id int64, had *state.Row, r state.Row) error {
	var oldCites, oldParticipants []state.Hash
	if had != nil {
		oldCites, oldParticipants = had.Cites, had.Participants
		if _, err := t.exec(`UPDATE ledger SET message_id = ?, fingerprint = ?, cites = ?, participants = ? WHERE id = ?`,
			blob(r.MessageID), blob(r.Fingerprint), packHashes(r.Cites), packHashes(r.Participants), id); err != nil {
			return err
		}
	}
	if err := t.indexHashes(id, oldCites, r.Cites, `DELETE FROM cite WHERE hash = ? AND row = ?`,
		`INSERT INTO cite (hash, row) VALUES (?, ?) ON CONFLICT DO NOTHING`); err != nil {
		return err
	}
	return t.indexHashes(id, oldParticipants, r.Participants, `DELETE FROM participant WHERE hash = ? AND row = ?`,
		`INSERT INTO participant (hash, row) VALUES (?, ?) ON CONFLICT DO NOTHING`)
}

func (t *tx) indexHashes(id int64, had, has []state.Hash, del, ins string) error {
	for _, h := range had {
		if !slices.Contains(has, h) {
			if _, err := t.exec(del, []byte(h), id); err != nil {
				return err
			}
		}
	}
	for _, h := range has {
		if h != "" && !slices.Contains(had, h) {
			if _, err := t.exec(ins, []byte(h), id); err != nil {
				return err
			}
		}
	}
	return nil
}

// place records where the item lies, at the generation at which its page was read.
func (t *tx) place(l state.Lease, r state.Row, read, current map[string]int64) (placed bool, err error) {
	folders := r.Folders
	if len(folders) == 0 {
		folders = []provider.Folder{nowhere}
	} else if _, err := t.exec(`DELETE FROM placement WHERE row = (SELECT id FROM ledger WHERE conn = ? AND item = ?) AND folder = ''`, l.Connection, string(r.Item)); err != nil {
		return false, err
	}
	for _, f := range folders {
		g, known := current[f.ID]
		if !known {
			if err := t.row(`INSERT INTO folder (conn, id, name, role) VALUES (?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET name = excluded.name, role = excluded.role RETURNING generation`,
				l.Connection, f.ID, f.Name, f.Role).Scan(&g); err != nil {
				return false, err
			}
			current[f.ID] = g
		}
		if at, ok := read[f.ID]; ok && at < g {
			g = at
		}
		n, err := t.exec(`INSERT INTO placement (row, folder, conn, generation)
			SELECT id, ?, conn, ? FROM ledger WHERE conn = ? AND item = ?
			ON CONFLICT DO UPDATE SET generation = excluded.generation WHERE excluded.generation > generation`,
			f.ID, g, l.Connection, string(r.Item))
		if err != nil {
			return false, err
		}
		placed = placed || n > 0
	}
	return placed, nil
}

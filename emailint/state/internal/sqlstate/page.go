package sqlstate

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
	err = s.Scan(&r.ID, &r.Reason, &from, &to, &r.Cursor, &r.Revision, &r.Seen, &r.Estimated, &r.Done, &r.People)
	r.From, r.To = unstamp(from), unstamp(to)
	return r, err
}

const runColumns = `id, reason, from_t, to_t, cursor, revision, seen, estimated, done, people`

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
	err := s.write(ctx, org, func(t *tx) error {
		n, err := t.exec(`UPDATE connection SET wake = wake + 1 WHERE id = ? AND org = ?`, connection, org)
		if err != nil {
			return err
		}
		if n == 0 {
			return state.ErrNotFound
		}
		return t.row(`INSERT INTO run (conn, reason, from_t, to_t, cursor, estimated, people) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id`,
			connection, r.Reason, stamp(r.From), stamp(r.To), r.Cursor, r.Estimated, r.People).Scan(&r.ID)
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
	err = s.write(ctx, l.Org, func(t *tx) error {
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
				estimated = CASE WHEN CAST(? AS BIGINT) > 0 THEN ? ELSE estimated END WHERE id = ? AND conn = ? AND revision = ?`,
				p.Cursor, len(p.Rows), p.Done, p.Estimated, p.Estimated, p.Run, l.Connection, p.Revision)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return state.ErrStale
		}
		for _, f := range p.Restart {
			if err := t.do(`INSERT INTO folder (conn, id, name, role, generation) VALUES (?, ?, ?, ?, 1)
				ON CONFLICT (conn, id) DO UPDATE SET generation = folder.generation + 1`, l.Connection, f.ID, f.Name, f.Role); err != nil {
				return err
			}
		}
		for _, f := range p.Recount {
			if err := t.do(`INSERT INTO folder (conn, id, name, role, recount) VALUES (?, ?, ?, ?, 1)
				ON CONFLICT (conn, id) DO UPDATE SET recount = folder.recount + 1`, l.Connection, f.ID, f.Name, f.Role); err != nil {
				return err
			}
		}
		if c.Inserted, c.Updated, err = t.rows(l, p); err != nil {
			return err
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

// rows stores a page's rows: first those that are new, all at once.
func (t *tx) rows(l state.Lease, p state.Page) (inserted, updated int, err error) {
	items := make([]string, 0, len(p.Rows))
	for _, r := range p.Rows {
		items = append(items, text(string(r.Item)))
	}
	there, err := listEach(t, scanRow, `SELECT `+rowColumns+` FROM /*each*/ ledger WHERE conn = ?1 AND item = ?2`, l.Connection, items)
	if err != nil {
		return 0, 0, err
	}
	have := map[string]state.Row{}
	for _, r := range there {
		have[string(r.Item)] = r
	}
	var fresh []state.Row
	var rest []int             // of the page's rows: those that were there, or were shown twice
	again := map[string]bool{} // what is not as it was read any more
	for i, r := range p.Rows {
		if _, ok := have[items[i]]; ok {
			rest = append(rest, i)
			continue
		}
		if r.Fate == "" {
			r.Fate = state.FatePending
		}
		r.Item = provider.ItemID(items[i])
		fresh = append(fresh, r)
		have[items[i]], again[items[i]] = state.Row{}, true
	}
	if err := t.insert(l, fresh); err != nil {
		return 0, 0, err
	}
	for _, r := range fresh {
		have[string(r.Item)] = r
	}
	changed := map[int64]bool{}
	for _, i := range rest {
		h := have[items[i]]
		if again[items[i]] {
			if h, err = t.rowOf(l.Connection, h.Item); err != nil {
				return 0, 0, err
			}
		}
		differs, err := t.merge(l, h, p.Rows[i])
		if err != nil {
			return 0, 0, err
		}
		if differs {
			changed[h.ID], again[items[i]] = true, true
		}
	}
	ids := make([]int64, len(p.Rows))
	for i := range p.Rows {
		ids[i] = have[items[i]].ID
	}
	placed, err := t.place(l, p, ids, rest)
	if err != nil {
		return 0, 0, err
	}
	for _, id := range placed {
		changed[id] = true
	}
	for _, r := range fresh {
		delete(changed, r.ID) // it is counted as new
	}
	return len(fresh), len(changed), nil
}

// insert stores new rows, and sets their ids.
func (t *tx) insert(l state.Lease, rows []state.Row) error {
	if len(rows) == 0 {
		return nil
	}
	var messageIDs []state.Hash
	for _, r := range rows {
		if len(r.Cites) > 0 {
			messageIDs = append(messageIDs, r.MessageID)
		}
	}
	lateness, err := t.askLate(l.Org, messageIDs)
	if err != nil {
		return err
	}
	var items, fates, reasons, threads []string
	var history, sent []bool
	var received, sizes, dues, tries, nextTries []int64
	var ids, fingerprints, cites, participants [][]byte
	at := map[string]int{}
	for i, r := range rows {
		at[string(r.Item)] = i
		items, fates, reasons, threads = append(items, string(r.Item)), append(fates, string(r.Fate)), append(reasons, r.Reason), append(threads, r.Thread)
		history, sent = append(history, r.History), append(sent, r.Sent)
		due := int64(0)
		if r.Fate == state.FatePending || r.Fate == state.FateFailed {
			due = 1
		}
		received, sizes, dues = append(received, stamp(r.Received)), append(sizes, r.Size), append(dues, due)
		tries, nextTries = append(tries, int64(r.Tries)), append(nextTries, stamp(r.NextTry))
		ids, fingerprints = append(ids, []byte(r.MessageID)), append(fingerprints, []byte(r.Fingerprint))
		cites, participants = append(cites, packHashes(r.Cites)), append(participants, packHashes(r.Participants))
	}
	type made struct {
		id   int64
		item string
	}
	all, err := listEach(t, func(s scanner) (m made, err error) {
		err = s.Scan(&m.id, &m.item)
		return m, err
	}, `INSERT INTO ledger (conn, org, item, fate, reason, history, sent, received, message_id, fingerprint, cites, participants, thread, size, due, tries,
		next_try) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17 /*each*/ RETURNING id, item`,
		l.Connection, l.Org, items, fates, reasons, history, sent, received, ids, fingerprints, cites, participants, threads, sizes, dues, tries, nextTries)
	if err != nil {
		return err
	}
	for _, m := range all {
		rows[at[m.item]].ID = m.id
	}
	if err := t.hashes(`INSERT INTO cite (hash, row_id) SELECT ?1, ?2 /*each*/ WHERE true ON CONFLICT DO NOTHING`, rows,
		func(r state.Row) []state.Hash { return r.Cites }); err != nil {
		return err
	}
	if err := t.hashes(`INSERT INTO participant (hash, row_id) SELECT ?1, ?2 /*each*/ WHERE true ON CONFLICT DO NOTHING`, rows,
		func(r state.Row) []state.Hash { return r.Participants }); err != nil {
		return err
	}
	for _, r := range rows {
		if lateness.may(r.MessageID, r.Cites) {
			if err := t.late(l.Org, r.ID, r.ID, r.MessageID, r.Cites); err != nil {
				return err
			}
		}
	}
	return t.recognise(l, items)
}

// hashes stores hashes of rows by a statement.
func (t *tx) hashes(q string, rows []state.Row, of func(state.Row) []state.Hash) error {
	var hs [][]byte
	var ids []int64
	for _, r := range rows {
		for _, h := range of(r) {
			if h != "" {
				hs, ids = append(hs, []byte(h)), append(ids, r.ID)
			}
		}
	}
	return t.each(q, hs, ids)
}

// merge brings what the item shows now into the row that is there. Other rows of the page may have made it due since it was read.
func (t *tx) merge(l state.Lease, have, r state.Row) (changed bool, err error) {
	if r.Fate == "" {
		r.Fate = state.FatePending
	}
	r.Thread = text(r.Thread)
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
		return false, nil
	}
	if err := t.do(`UPDATE ledger SET fate = ?, reason = ?, due = due + ?, away = ?, gone = ?, sent = ?, thread = ?, size = ?, received = ?, history = ?,
		next_try = CASE WHEN ? THEN 0 ELSE next_try END WHERE id = ?`,
		now.Fate, now.Reason, now.Due-have.Due, now.Left, now.Gone, now.Sent, now.Thread, now.Size, stamp(now.Received), now.History, raise, have.ID); err != nil {
		return false, err
	}
	if err := t.index(have.ID, &have, now); err != nil {
		return false, err
	}
	if err := t.otherwise(l.Org, have, now); err != nil || now.MessageID == have.MessageID && slices.Equal(now.Cites, have.Cites) {
		return true, err
	}
	return true, t.late(l.Org, have.ID, maxID, now.MessageID, now.Cites)
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
		if err := t.do(`UPDATE ledger SET message_id = ?, fingerprint = ?, cites = ?, participants = ? WHERE id = ?`,
			blob(r.MessageID), blob(r.Fingerprint), packHashes(r.Cites), packHashes(r.Participants), id); err != nil {
			return err
		}
	}
	if err := t.reindex(id, oldCites, r.Cites, `DELETE FROM cite WHERE (hash, row_id) IN (SELECT ?1, ?2 /*each*/)`,
		`INSERT INTO cite (hash, row_id) SELECT ?1, ?2 /*each*/ WHERE true ON CONFLICT DO NOTHING`); err != nil {
		return err
	}
	return t.reindex(id, oldParticipants, r.Participants, `DELETE FROM participant WHERE (hash, row_id) IN (SELECT ?1, ?2 /*each*/)`,
		`INSERT INTO participant (hash, row_id) SELECT ?1, ?2 /*each*/ WHERE true ON CONFLICT DO NOTHING`)
}

// reindex stores of a row's hashes what differs.
func (t *tx) reindex(id int64, had, has []state.Hash, del, ins string) error {
	if gone := less(had, has); len(gone) > 0 {
		if err := t.each(del, gone, id); err != nil {
			return err
		}
	}
	if come := less(has, had); len(come) > 0 {
		return t.each(ins, come, id)
	}
	return nil
}

// less returns the hashes that are not among others.
func less(hs, others []state.Hash) (out [][]byte) {
	for _, h := range hs {
		if h != "" && !slices.Contains(others, h) {
			out = append(out, []byte(h))
		}
	}
	return out
}

// place records where the page's items lie, at the generation at which it was read, and returns the rows of which that is news. ids are those of the
// page's rows, rest says which of them were there before.
func (t *tx) place(l state.Lease, p state.Page, ids []int64, rest []int) (news []int64, err error) {
	type spot struct {
		row    int64
		folder string
	}
	current := map[string]int64{}
	at := map[spot]int64{}
	var order []spot
	for i, r := range p.Rows {
		folders := r.Folders
		if len(folders) == 0 {
			folders = []provider.Folder{nowhere}
		} else {
			delete(at, spot{ids[i], nowhere.ID})
		}
		for _, f := range folders {
			g, known := current[f.ID]
			if !known {
				if err := t.row(`INSERT INTO folder (conn, id, name, role) VALUES (?, ?, ?, ?)
					ON CONFLICT (conn, id) DO UPDATE SET name = excluded.name, role = excluded.role RETURNING generation`,
					l.Connection, f.ID, f.Name, f.Role).Scan(&g); err != nil {
					return nil, err
				}
				current[f.ID] = g
			}
			if at, ok := p.Generations[f.ID]; ok && at < g {
				g = at
			}
			k := spot{ids[i], text(f.ID)}
			if _, twice := at[k]; !twice {
				order = append(order, k)
			}
			at[k] = g
		}
	}
	var found []int64 // they lie somewhere now
	for _, i := range rest {
		if len(p.Rows[i].Folders) > 0 {
			found = append(found, ids[i])
		}
	}
	if err := t.each(`DELETE FROM placement WHERE row_id IN (SELECT ?1 /*each*/) AND folder = ''`, found); err != nil {
		return nil, err
	}
	var rows, generations []int64
	var folders []string
	for _, k := range order {
		if g, ok := at[k]; ok {
			rows, folders, generations = append(rows, k.row), append(folders, k.folder), append(generations, g)
			delete(at, k)
		}
	}
	const q = `INSERT INTO placement (row_id, folder, conn, generation) SELECT ?1, ?2, ?3, ?4 /*each*/ WHERE true
		ON CONFLICT (row_id, folder) DO UPDATE SET generation = excluded.generation WHERE excluded.generation > placement.generation`
	if len(rest) == 0 { // new rows are news anyway
		return nil, t.each(q, rows, folders, l.Connection, generations)
	}
	return listEach(t, one[int64], q+` RETURNING row_id`, rows, folders, l.Connection, generations)
}

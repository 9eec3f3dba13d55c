package sqlstate

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
)

// Learn implements state.Ledger.
func (s *Store) Learn(ctx context.Context, l state.Lease, rows []state.Row) error {
	return s.held(ctx, l, func(t *tx) error {
		ids := make([]int64, len(rows))
		var messageIDs []state.Hash
		for i, r := range rows {
			ids[i] = r.ID
			messageIDs = append(messageIDs, r.MessageID)
		}
		have, err := t.rowsOf(l.Connection, ids)
		if err != nil {
			return err
		}
		for _, r := range have {
			messageIDs = append(messageIDs, r.MessageID)
		}
		lateness, err := t.askLate(l.Org, messageIDs)
		if err != nil {
			return err
		}
		for _, header := range rows {
			have, ok := have[header.ID]
			if !ok {
				continue
			}
			r := withHeader(have, header)
			if err := t.index(r.ID, &have, r); err != nil {
				return err
			}
			if err := t.otherwise(l.Org, have, r); err != nil {
				return err
			}
			if r.MessageID == have.MessageID && slices.Equal(r.Cites, have.Cites) || !lateness.may(r.MessageID, r.Cites) {
				continue
			}
			if err := t.late(l.Org, r.ID, maxID, r.MessageID, r.Cites); err != nil {
				return err
			}
		}
		return nil
	})
}

// rowsOf returns rows of a mailbox by id.
func (t *tx) rowsOf(connection int64, ids []int64) (map[int64]state.Row, error) {
	rows, err := listEach(t, scanRow, `SELECT `+rowColumns+` FROM /*each*/ ledger WHERE id = ?1 AND conn = ?2`, ids, connection)
	out := map[int64]state.Row{}
	for _, r := range rows {
		out[r.ID] = r
	}
	return out, err
}

// Settle implements state.Ledger.
func (s *Store) Settle(ctx context.Context, l state.Lease, b state.Batch, ss []state.Settlement) (out []state.Settled, err error) {
	err = s.write(ctx, l.Org, func(t *tx) error {
		out = nil
		if err := t.holds(l); err != nil {
			return err
		}
		change, rules, _, err := t.numbers(l.Org)
		if err != nil {
			return err
		}
		ids := make([]int64, len(ss))
		for i, st := range ss {
			ids[i] = st.Row
		}
		have, err := t.rowsOf(l.Connection, ids)
		if err != nil {
			return err
		}
		if err := t.know(l.Org, have, ss); err != nil {
			return err
		}
		out = make([]state.Settled, len(ss))
		var ends []ending // of mails that have nothing to do with any Email: they are stored together
		for i, st := range ss {
			r, ok := have[st.Row]
			if ok && t.moved {
				if r, err = scanRow(t.row(`SELECT `+rowColumns+` FROM ledger WHERE id = ? AND conn = ?`, st.Row, l.Connection)); errors.Is(err, sql.ErrNoRows) {
					ok = false
				} else if err != nil {
					return err
				}
			}
			if !ok {
				out[i] = state.Settled{Row: st.Row} // of the outbox, and its copy was shown
				continue
			}
			current := change == b.Change && st.RulesVersion >= rules
			if t.aloof(r, st) {
				out[i] = state.Settled{Row: r.ID}
				ends = append(ends, ending{st, current, false, &out[i]})
				continue
			}
			if err := t.end(ends); err != nil {
				return err
			}
			ends = nil
			if err := t.settle(l, r, st, current, &out[i]); err != nil {
				return err
			}
		}
		return t.end(ends)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// aloof reports whether a row is no copy of any Email, was none, and has nothing else to be stored than the decision.
func (t *tx) aloof(r state.Row, st state.Settlement) bool {
	return st.Email == nil && r.Email == 0 && st.Fate.Decided() && (!r.Received.IsZero() || st.Received.IsZero()) &&
		(r.MessageID == "" || t.known.aliases.no(r.MessageID)) && (st.Fingerprint == "" || t.known.fingerprints.no(st.Fingerprint))
}

// ending is how a row is settled in the end.
type ending struct {
	st       state.Settlement
	current  bool // by what is true now
	attached bool
	out      *state.Settled
}

// end settles rows, and says which are still due, by the end of the transaction.
func (t *tx) end(es []ending) error {
	var fates, reasons []string
	var rules, dues, ids []int64
	var currents, attached []bool
	at := map[int64]*state.Settled{}
	for _, e := range es {
		fates, reasons, rules = append(fates, string(e.st.Fate)), append(reasons, e.st.Reason), append(rules, e.st.RulesVersion)
		currents, dues, ids, attached = append(currents, e.current), append(dues, e.st.Due), append(ids, e.st.Row), append(attached, e.attached)
		at[e.st.Row] = e.out
	}
	// What it was to read again, it has, unless that was asked for meanwhile.
	return t.tx.EachLater(t.ctx, func(s scanner) error {
		var id int64
		var due bool
		err := s.Scan(&id, &due)
		if err == nil {
			at[id].StillDue = due
		}
		return err
	}, `UPDATE ledger SET fate = ?1, reason = ?2, rules = ?3, tries = 0, next_try = 0, reread = reread AND due <> ?5 OR ?7,
		due = CASE WHEN due > settled OR ?4 THEN due ELSE due + 1 END,
		settled = CASE WHEN ?4 AND due = ?5 THEN due ELSE settled END /*each*/ WHERE id = ?6 RETURNING id, due > settled`,
		plain([]any{fates, reasons, rules, currents, dues, ids, attached}))
}

func (t *tx) settle(l state.Lease, r state.Row, st state.Settlement, current bool, out *state.Settled) (err error) {
	*out = state.Settled{Row: r.ID, Email: r.Email, StillDue: true}
	t.settling = r.ID
	defer func() { t.settling = 0 }()
	if st.Fate == state.FateFailed {
		fate := r.Fate
		if !fate.Decided() {
			fate = state.FateFailed
		}
		err := t.do(`UPDATE ledger SET fate = ?, reason = ?, tries = tries + 1, next_try = ? WHERE id = ?`,
			fate, st.Reason, stamp(st.NextTry), r.ID)
		return err
	}
	if r.Received.IsZero() && !st.Received.IsZero() {
		if err := t.do(`UPDATE ledger SET received = ?, history = ? WHERE id = ?`, stamp(st.Received), st.History, r.ID); err != nil {
			return err
		}
	}
	if st.Email != nil {
		// Another mail was the declared one first: this one is decided again, without.
		if ok, err := t.declarable(l.Org, *st.Email); err != nil || !ok {
			return err
		}
	}
	attached, made := false, false
	switch {
	case st.Email != nil:
		var g given
		g, err = t.give(l.Org, l.Connection, *st.Email, source(r), r.Email == 0)
		// A mail that links to nothing and is an Email by a person's word brings no envelope. While another copy's is there all are decided by that
		// (protocol, rule 4): this one must be compared with it.
		attached = g.uncompared
		out.Email, out.Revision, made, current = g.email, g.revision, g.made, current && !g.outranked && !attached
		if err == nil && g.replaced {
			_, err = t.markDue(l.Org, `SELECT id FROM ledger WHERE email = ? AND id <> ?`, g.email, r.ID)
		}
	case r.Email == 0:
		r.Email, err = t.sentAs(l, r, st.Fingerprint)
		out.Email = r.Email
		if err == nil && r.Email != 0 && !state.IsOutbox(r.Item) {
			err = t.alsoKnownBy(r.Email, r.MessageID)
		}
		if err == nil && r.Email == 0 && st.Fate.Decided() && !r.Gone {
			out.Email, out.Revision, err = t.attach(l, r, st.Fingerprint)
			attached = out.Email != 0 // and compared with the copy that decides: it may be the better one, and link by now
			current = current && !attached
		}
	}
	if err != nil {
		return err
	}
	// What left its mailbox and links to nothing is no copy of the Email any more: who knows whether it can be read another time.
	if st.Lost || st.Email == nil && r.Left && !attached && !state.IsOutbox(r.Item) {
		out.Email = 0
	}
	late := false
	if r.Fate.Decided() && r.Email == 0 && out.Email != 0 {
		if err := t.do(`INSERT INTO late (email, conn) VALUES (?, ?) ON CONFLICT DO NOTHING`, out.Email, l.Connection); err != nil {
			return err
		}
	} else if len(st.Intents) > 0 {
		// A mail that was moved is a new item where ids die on a move: its first decision may lie behind it, and it may not have linked, or
		// otherwise than a rule wants.
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM late WHERE email = ?1 AND conn = ?2) OR EXISTS (SELECT 1 FROM ledger WHERE message_id = ?3
			AND (conn + 0) = ?2 AND id <> ?4 AND NOT sent AND (fate || '' IN ('unmatched', 'excluded', 'internal', 'automated') OR fate || '' = 'linked' AND away))`, out.Email, l.Connection, blob(r.MessageID), r.ID).
			Scan(&late); err != nil {
			return err
		}
	}
	for _, p := range st.Intents {
		if out.Email == 0 || late {
			break
		}
		if err := t.plan(l, out.Email, p); err != nil {
			return err
		}
	}
	// The row is pointed at its Email before the former one is looked at, which asks who still points there.
	if err := t.do(`UPDATE ledger SET email = ? WHERE id = ?`, out.Email, r.ID); err != nil {
		return err
	}
	if r.Left && st.Email != nil && r.Fate != state.FateLinked {
		// While it linked to nothing its header was not kept, and nobody could look whether it was deleted (Leavers): now somebody can.
		if err := t.do(`UPDATE ledger SET check_at = 0 WHERE id = ? AND away`, r.ID); err != nil {
			return err
		}
	}
	if out.Email != 0 && !made && !state.IsOutbox(r.Item) {
		if err := t.shown(l.Connection, out.Email); err != nil {
			return err
		}
	}
	if r.Email != 0 && (st.Email == nil || out.Email != r.Email) {
		if out.Revision, err = t.takeBack(l.Connection, r.Email, *out, st.Lost); err != nil {
			return err
		}
	}
	if err := t.end([]ending{{st, current, attached, out}}); err != nil {
		return err
	}
	if r.Email != 0 {
		return t.dropEnvelope(r.Email)
	}
	return nil
}

// dropEnvelope lets the envelope of an Email go that links to nothing, once the CRM knows and every copy is decided: until then it tells them why. Were
// it gone earlier, the copy that decides for nothing and one that links by itself would call each other up for ever.
func (t *tx) dropEnvelope(email int64) error {
	err := t.do(`UPDATE email SET envelope = NULL WHERE id = ?1 AND NOT wanted AND attempted AND saved >= revision AND envelope IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM ledger WHERE email = ?1 AND due > settled)`, email)
	return err
}

// takeBack ends what a row gave to an Email it no longer is.
func (t *tx) takeBack(connection, id int64, out state.Settled, lost bool) (revision int64, err error) {
	had, err := t.email(id)
	if err != nil {
		return 0, err
	}
	var others int
	if err := t.row(`SELECT count(*) FROM ledger WHERE email = ?`, id).Scan(&others); err != nil {
		return 0, err
	}
	var here int
	if err := t.row(`SELECT count(*) FROM ledger WHERE email = ? AND conn = ?`, id, connection).Scan(&here); err != nil {
		return 0, err
	}
	e := had
	if (out.Email == id || out.Email == 0) && !lost || others == 0 {
		e.Links = nil // the machine finds none any more
	}
	stands, err := t.stands(e)
	if err != nil {
		return 0, err
	}
	if here == 0 && !(stands && out.Email == 0 && len(e.Envelope) > 0) {
		if err := t.unhold(&e, connection); err != nil {
			return 0, err
		}
	}
	if err := t.store(had, &e, false); err != nil {
		return 0, err
	}
	if out.Email != 0 {
		return out.Revision, nil
	}
	return e.Revision, nil
}

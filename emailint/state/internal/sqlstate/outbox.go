package sqlstate

import (
	"context"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
)

const (
	outRest    = `o.state, o.error, o.tries, o.next_try, o.created, o.email, o.copy, o.copy_error, o.copy_tries, e.message_id, e.fingerprint`
	outColumns = `o.key, o.org, o.conn, o.raw, o.options, o.staged, ` + outRest
	// dueColumns leave out what may be large: of hundreds of rows that are due some are worked on.
	dueColumns = `o.key, o.org, o.conn, CAST(NULL AS BYTEA), CAST(NULL AS BYTEA), CAST(NULL AS BYTEA), ` + outRest
)

func scanOut(s scanner) (o state.Outgoing, err error) {
	var nextTry, created int64
	var messageID, fingerprint []byte
	err = s.Scan(&o.Key, &o.Org, &o.Connection, &o.Raw, &o.Options, &o.Staged, &o.State, &o.Error, &o.Tries, &nextTry, &created,
		&o.Email, &o.Copy, &o.CopyError, &o.CopyTries, &messageID, &fingerprint)
	o.NextTry, o.Created = unstamp(nextTry), unstamp(created)
	o.Value.MessageID, o.Value.Fingerprint = state.Hash(messageID), state.Hash(fingerprint)
	return o, notFound(err)
}

func (t *tx) out(org, key string) (state.Outgoing, error) {
	return scanOut(t.row(`SELECT `+outColumns+` FROM outbox o JOIN email e ON e.id = o.email WHERE o.org = ? AND o.key = ?`, org, key))
}

// OutboxAdd implements state.Outbox.
func (s *Store) OutboxAdd(ctx context.Context, org string, o state.Outgoing) (out state.Outgoing, added bool, err error) {
	if o.State == "" {
		o.State = state.OutQueued
	}
	err = s.write(ctx, org, func(t *tx) error {
		added = false
		out, err = t.out(org, o.Key)
		if err == nil {
			return nil
		} else if err != state.ErrNotFound {
			return err
		}
		var there bool
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM connection WHERE id = ? AND org = ? AND state <> 'erasing')`, o.Connection, org).Scan(&there); err != nil {
			return err
		}
		if !there {
			return state.ErrNotFound
		}
		g, err := t.give(org, o.Connection, o.Value, aDraft, false)
		if err != nil {
			return err
		}
		id := g.email
		if err := t.do(`INSERT INTO outbox (org, key, conn, raw, options, staged, state, next_try, created, email)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, org, o.Key, o.Connection, o.Raw, o.Options, o.Staged, o.State, stamp(o.NextTry),
			stamp(o.Created), id); err != nil {
			return err
		}
		if err := t.unshown(org, id, o); err != nil {
			return err
		}
		added = true
		out, err = t.out(org, o.Key)
		return err
	})
	return out, added, err
}

// unshown makes the ledger's row of a mail that no mailbox has shown yet.
func (t *tx) unshown(org string, email int64, o state.Outgoing) error {
	change, rules, _, err := t.numbers(org)
	if err != nil {
		return err
	}
	r := o.Row
	due := 0
	if change != o.Change || r.RulesVersion < rules || !r.Fate.Decided() {
		due, r.Fate = 1, state.FatePending
		if err := t.do(`UPDATE connection SET wake = wake + 1 WHERE id = ?`, o.Connection); err != nil {
			return err
		}
	}
	r.MessageID = o.Value.MessageID
	var id int64
	err = t.row(`INSERT INTO ledger (conn, item, org, fate, reason, history, sent, received, message_id, cites, participants, size, email,
		due, rules, away, gone) VALUES (?, ?, ?, ?, ?, false, true, ?, ?, ?, ?, ?, ?, ?, ?, true, true) RETURNING id`, o.Connection, string(state.OutboxItem(o.Key)), org, r.Fate, r.Reason,
		stamp(o.Created), blob(r.MessageID), packHashes(r.Cites), packHashes(r.Participants), len(o.Raw), email, due, r.RulesVersion).Scan(&id)
	if err != nil {
		return err
	}
	if err := t.index(id, nil, r); err != nil {
		return err
	}
	return t.late(org, id, maxID, r.MessageID, r.Cites)
}

// outboxItems returns between which items, sorted by bytes, those of the outbox lie. A key may begin with any letter.
func outboxItems() (from, to string) {
	from = string(state.OutboxItem(""))
	last := len(from) - 1
	return from, from[:last] + string(from[last]+1)
}

// shown ends that row: the mailbox has shown a copy.
func (t *tx) shown(connection, email int64) error {
	from, to := outboxItems()
	ids, err := list(t, one[int64], `SELECT id FROM ledger WHERE email = ? AND conn = ? AND item >= ? AND item < ?`, email, connection, from, to)
	if err != nil {
		return err
	}
	for _, id := range ids {
		r, err := scanRow(t.row(`SELECT `+rowColumns+` FROM ledger WHERE id = ?`, id))
		if err != nil {
			return err
		}
		if err := t.index(id, &r, state.Row{}); err != nil {
			return err
		}
		if err := t.do(`DELETE FROM ledger WHERE id = ?`, id); err != nil {
			return err
		}
		t.moved = true
	}
	return nil
}

// OutboxGet implements state.Outbox.
func (s *Store) OutboxGet(ctx context.Context, org, key string) (o state.Outgoing, err error) {
	err = s.read(ctx, func(t *tx) error {
		o, err = t.out(org, key)
		return err
	})
	return o, err
}

// OutboxOf implements state.Outbox.
func (s *Store) OutboxOf(ctx context.Context, org string, email int64) (o state.Outgoing, err error) {
	err = s.read(ctx, func(t *tx) error {
		o, err = scanOut(t.row(`SELECT `+outColumns+` FROM outbox o JOIN email e ON e.id = o.email WHERE o.org = ? AND o.email = ?
			ORDER BY o.id LIMIT 1`, org, email))
		return err
	})
	return o, err
}

// OutboxStep implements state.Outbox.
func (s *Store) OutboxStep(ctx context.Context, org, key string, from, to state.OutState, st state.Step) (o state.Outgoing, err error) {
	err = s.write(ctx, org, func(t *tx) error {
		if o, err = t.out(org, key); err != nil {
			return err
		}
		if to == state.OutUnknown || st.Lookup {
			// A copy that was found before says more than any lookup.
			var proven bool
			if err := t.row(`SELECT NOT e.held AND (SELECT count(*) FROM outbox WHERE email = e.id) = 1 FROM email e WHERE id = ?`, o.Email).
				Scan(&proven); err != nil {
				return err
			}
			if proven {
				to, st = state.OutSent, state.Step{CopyAt: st.CopyAt}
				if st.CopyAt.IsZero() {
					st.CopyAt = o.Created
				}
			}
		}
		if to == state.OutSending {
			var may bool
			if err := t.row(`SELECT EXISTS (SELECT 1 FROM outbox o LEFT JOIN connection c ON c.id = o.conn
				WHERE o.org = ? AND o.key = ? AND `+unpausedOut+`)`, org, key).Scan(&may); err != nil {
				return err
			}
			if !may {
				return state.ErrStale
			}
		}
		n, err := t.exec(`UPDATE outbox SET state = ?, error = ?, next_try = ?, tries = tries + CASE WHEN ? THEN 1 ELSE 0 END, staged = coalesce(?, staged)
			WHERE org = ? AND key = ? AND state = ? AND (NOT ? OR next_try = ?)`, to, st.Error, stamp(st.NextTry), st.Try, nilIfEmpty(st.Staged), org, key, from,
			st.Claim, stamp(st.Was))
		if err != nil {
			return err
		}
		if n == 0 {
			return state.ErrStale
		}
		if to == state.OutSent {
			if err := t.do(`UPDATE email SET held = false WHERE id = ?`, o.Email); err != nil {
				return err
			}
			if !st.CopyAt.IsZero() {
				if err := t.do(`UPDATE outbox SET copy = 'due', copy_at = ? WHERE org = ? AND key = ? AND copy = ''`, stamp(st.CopyAt), org, key); err != nil {
					return err
				}
			}
		}
		if len(st.Aliases) > 0 {
			had, err := t.email(o.Email)
			if err != nil {
				return err
			}
			e := had
			e.Aliases = slices.Clone(e.Aliases)
			for _, h := range st.Aliases {
				if h != "" && !slices.Contains(e.Aliases, h) {
					e.Aliases = append(e.Aliases, h)
				}
			}
			if err := t.store(had, &e, false); err != nil {
				return err
			}
		}
		o, err = t.out(org, key)
		return err
	})
	return o, err
}

func nilIfEmpty(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// OutboxDue implements state.Outbox.
func (s *Store) OutboxDue(ctx context.Context, org string, now time.Time, limit int) (os []state.Outgoing, err error) {
	err = s.read(ctx, func(t *tx) error {
		os, err = list(t, scanOut, `SELECT `+dueColumns+` FROM (SELECT o.id, row_number() OVER (PARTITION BY o.conn ORDER BY o.next_try, o.id) AS turn`+dueOut+`
				AND o.state IN ('queued', 'staged', 'sending', 'unknown') AND o.next_try <= ?) d
			JOIN outbox o ON o.id = d.id JOIN email e ON e.id = o.email WHERE d.turn <= ? ORDER BY o.next_try, o.id LIMIT ?`, org, org, stamp(now), state.OutboxTurn, limit)
		return err
	})
	return os, err
}

// dueOut is where rows of the outbox are from that are numbered by mailbox: however much of one waits, the others' is not behind it.
const dueOut = ` FROM outbox o LEFT JOIN connection c ON c.id = o.conn WHERE (? = '' OR o.org = ?) AND ` + unpausedOut

// CopiesDue implements state.Outbox.
func (s *Store) CopiesDue(ctx context.Context, org string, now time.Time, limit int) (os []state.Outgoing, err error) {
	err = s.read(ctx, func(t *tx) error {
		os, err = list(t, scanOut, `SELECT `+dueColumns+` FROM (SELECT o.id, row_number() OVER (PARTITION BY o.conn ORDER BY o.copy_at, o.id) AS turn`+dueOut+`
				AND o.copy IN ('due', 'tried') AND o.copy_at <= ?) d
			JOIN outbox o ON o.id = d.id JOIN email e ON e.id = o.email WHERE d.turn <= ? ORDER BY o.copy_at, o.id LIMIT ?`, org, org, stamp(now), state.OutboxTurn, limit)
		return err
	})
	return os, err
}

// CopyStep implements state.Outbox.
func (s *Store) CopyStep(ctx context.Context, org, key string, from, to state.CopyState, st state.CopyStep) error {
	return s.write(ctx, org, func(t *tx) error {
		n, err := t.exec(`UPDATE outbox SET copy = ?, copy_error = ?, copy_at = ?, copy_tries = copy_tries + CASE WHEN ? THEN 1 ELSE 0 END WHERE org = ? AND key = ? AND copy = ?`,
			to, st.Error, stamp(st.NextTry), st.Try, org, key, from)
		if err == nil && n == 0 {
			err = state.ErrStale
		}
		return err
	})
}

package sqlstate

import (
	"context"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
)

const intentColumns = `i.id, i.org, i.email, i.conn, i.rule, i.action, i.label, i.state, i.undo, i.item, i.mutation, i.error, i.tries, i.next_try`

func scanIntent(s scanner) (i state.Intent, err error) {
	var nextTry int64
	err = s.Scan(&i.ID, &i.Org, &i.Email, &i.Connection, &i.Rule, &i.Do, &i.Label, &i.State, &i.Undo, &i.Item, &i.Mutation, &i.Error, &i.Tries, &nextTry)
	i.NextTry = unstamp(nextTry)
	return i, notFound(err)
}

// plan makes an intent. Where there is one with the same key nothing changes: a rule acts once on an email.
func (t *tx) plan(l state.Lease, email int64, p state.IntentPlan) error {
	err := t.do(`INSERT INTO intent (org, email, conn, rule, action, label) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		l.Org, email, l.Connection, p.Rule, p.Do, p.Label)
	return err
}

// recognise gives new rows that mutations of ours made what is known of their emails, so that they are not taken for news.
func (t *tx) recognise(l state.Lease, items []string) error {
	var acted bool // mostly none is archived or labelled
	if err := t.row(`SELECT EXISTS (SELECT 1 FROM intent WHERE conn = ? AND made <> '')`, l.Connection).Scan(&acted); err != nil || !acted {
		return err
	}
	made, err := listEach(t, one[string], `SELECT made FROM /*each*/ intent WHERE conn = ?1 AND made = ?2 AND made <> ''`, l.Connection, items)
	if err != nil {
		return err
	}
	// Only where the mail is still linked as it was: else it is decided like any other. Where its envelope was kept as no copy could be read, here is
	// one that can, and is compared.
	for _, item := range made {
		if err := t.do(`UPDATE ledger SET email = o.email, fate = o.fate, reason = o.reason, settled = CASE WHEN o.orphaned THEN settled ELSE due END,
			reread = o.orphaned, rules = o.rules, history = o.history
		FROM (SELECT p.email, p.fate, p.reason, p.rules, p.history, e.envelope IS NOT NULL AND e.rank <= ?3 AS orphaned
			FROM intent i JOIN ledger p ON p.email = i.email AND (p.conn + 0) = i.conn JOIN email e ON e.id = p.email
			WHERE i.conn = ?1 AND i.made = ?2 AND i.made <> '' AND p.fate = 'linked' AND p.due <= p.settled AND e.survivor = 0 ORDER BY p.id LIMIT 1) AS o
		WHERE ledger.conn = ?1 AND ledger.item = ?2 AND ledger.fate = 'pending'`, l.Connection, item, state.RankKept); err != nil {
			return err
		}
	}
	return nil
}

// IntentsDue implements state.Intents.
func (s *Store) IntentsDue(ctx context.Context, l state.Lease, now time.Time, limit int) (is []state.Intent, err error) {
	err = s.read(ctx, func(t *tx) error {
		if err := t.holds(l); err != nil {
			return err
		}
		if is, err = list(t, scanIntent, `SELECT `+intentColumns+` FROM intent i JOIN email e ON e.id = i.email WHERE i.conn = ?
			AND (i.state IN ('planned', 'attempted', 'undoing') OR i.undo) AND i.next_try <= ?
			AND (i.state <> 'planned' OR e.revision <= e.saved OR NOT e.wanted) ORDER BY i.id LIMIT ?`, l.Connection, stamp(now), limit); err != nil {
			return err
		}
		for n := range is {
			rows, err := list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE email = ? AND conn = ? ORDER BY id`, is[n].Email, l.Connection)
			if err != nil {
				return err
			}
			if err := t.folders(rows); err != nil {
				return err
			}
			is[n].Rows = rows
		}
		return nil
	})
	return is, err
}

// IntentStep implements state.Intents.
func (s *Store) IntentStep(ctx context.Context, l state.Lease, id int64, from, to state.IntentState, st state.IntentStep) error {
	return s.held(ctx, l, func(t *tx) error {
		// The wish to undo outlives what has to happen first, and ends with any other outcome.
		n, err := t.exec(`UPDATE intent SET mutation = coalesce(?4, mutation), made = CASE WHEN ?5 <> '' THEN ?5 ELSE made END,
			item = CASE WHEN ?6 <> '' THEN ?6 ELSE item END, error = ?7, next_try = ?8,
			tries = CASE WHEN ?9 THEN tries + 1 WHEN ?2 <> ?3 THEN 0 ELSE tries END,
			undo = undo AND (?2 = ?3 OR ?3 IN ('attempted', 'undoing') OR ?2 = 'attempted' AND ?3 = 'done'), state = ?3
			WHERE id = ?1 AND state = ?2 AND conn = ?10`,
			id, from, to, nilIfEmpty(st.Mutation), st.Made, st.Item, st.Error, stamp(st.NextTry), st.Try, l.Connection)
		if err == nil && n == 0 {
			err = state.ErrStale
		}
		if err != nil {
			return err
		}
		return t.log(id, to, st.Note, st.At)
	})
}

func (t *tx) log(intent int64, to state.IntentState, note string, at time.Time) error {
	if note == "" {
		return nil
	}
	err := t.do(`INSERT INTO mutation (intent, email, conn, rule, state, note, at) SELECT id, email, conn, rule, ?, ?, ? FROM intent WHERE id = ?`,
		to, note, stamp(at), intent)
	return err
}

// Undo implements state.Intents.
func (s *Store) Undo(ctx context.Context, org string, id int64, at time.Time) (i state.Intent, err error) {
	err = s.write(ctx, org, func(t *tx) error {
		get := func() (err error) {
			i, err = scanIntent(t.row(`SELECT `+intentColumns+` FROM intent i WHERE i.id = ? AND i.org = ?`, id, org))
			return err
		}
		if err := get(); err != nil {
			return err
		}
		switch i.State {
		case state.IntentPlanned:
			if err := t.do(`UPDATE intent SET state = 'cancelled', error = 'taken back before it was done' WHERE id = ?`, id); err != nil {
				return err
			}
			if err := t.log(id, state.IntentCancelled, "taken back before it was done", at); err != nil {
				return err
			}
		case state.IntentAttempted, state.IntentDone:
			if err := t.do(`UPDATE intent SET undo = true, next_try = 0 WHERE id = ?`, id); err != nil {
				return err
			}
			if err := t.do(`UPDATE connection SET wake = wake + 1 WHERE id = ?`, i.Connection); err != nil {
				return err
			}
		}
		return get()
	})
	return i, err
}

// IntentOf implements state.Intents.
func (s *Store) IntentOf(ctx context.Context, org string, id int64) (i state.Intent, err error) {
	err = s.read(ctx, func(t *tx) error {
		i, err = scanIntent(t.row(`SELECT `+intentColumns+` FROM intent i WHERE i.id = ? AND i.org = ?`, id, org))
		return err
	})
	return i, err
}

// IntentsOf implements state.Intents.
func (s *Store) IntentsOf(ctx context.Context, org string, email int64) (is []state.Intent, err error) {
	err = s.read(ctx, func(t *tx) error {
		is, err = list(t, scanIntent, `SELECT `+intentColumns+` FROM intent i WHERE i.email = ? AND i.org = ? ORDER BY i.id`, email, org)
		return err
	})
	return is, err
}

// IntentLog implements state.Intents.
func (s *Store) IntentLog(ctx context.Context, org string, connection int64, after int64, limit int) (es []state.IntentEvent, err error) {
	err = s.read(ctx, func(t *tx) error {
		es, err = list(t, func(s scanner) (e state.IntentEvent, err error) {
			var at int64
			err = s.Scan(&e.ID, &e.Intent, &e.Email, &e.Connection, &e.Rule, &e.State, &e.Note, &at)
			e.At = unstamp(at)
			return e, err
		}, `SELECT id, intent, email, conn, rule, state, note, at FROM mutation WHERE conn = (SELECT id FROM connection WHERE id = ? AND org = ?)
			AND id > ? ORDER BY id LIMIT ?`, connection, org, after, limit)
		return err
	})
	return es, err
}

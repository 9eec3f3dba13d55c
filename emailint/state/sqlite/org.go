package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// Settings implements state.Organisations.
func (s *Store) Settings(ctx context.Context, org string) (settings json.RawMessage, version int64, err error) {
	err = s.read(ctx, func(t *tx) error {
		var b []byte
		err := t.row(`SELECT settings, version FROM org WHERE id = ?`, org).Scan(&b, &version)
		settings = b
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return settings, version, err
}

// SaveSettings implements state.Organisations.
func (s *Store) SaveSettings(ctx context.Context, org string, settings json.RawMessage, version int64, relink bool) (int64, error) {
	err := s.write(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO org (id) VALUES (?) ON CONFLICT DO NOTHING`, org); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE org SET settings = ?, version = version + 1, rules = CASE WHEN ? THEN version + 1 ELSE rules END
			WHERE id = ? AND version = ?`, []byte(settings), relink, org, version)
		if err == nil && n == 0 {
			err = state.ErrStale
		}
		if err != nil || !relink {
			return err
		}
		_, err = t.exec(`UPDATE connection SET wake = wake + 1 WHERE org = ?`, org)
		return err
	})
	if err != nil {
		return 0, err
	}
	return version + 1, nil
}

// ChangeNumber implements state.Organisations.
func (s *Store) ChangeNumber(ctx context.Context, org string) (n int64, err error) {
	err = s.read(ctx, func(t *tx) error {
		n, _, _, err = t.numbers(org)
		return err
	})
	return n, err
}

// Change implements state.Organisations.
func (s *Store) Change(ctx context.Context, org string, c state.Change) (number int64, rows int, err error) {
	err = s.write(ctx, func(t *tx) error {
		rows = 0
		if err := t.row(`INSERT INTO org (id, change) VALUES (?, 1) ON CONFLICT DO UPDATE SET change = change + 1
			RETURNING change`, org).Scan(&number); err != nil {
			return err
		}
		touched := slices.Clone(c.Records)
		for _, m := range c.Merged {
			touched = append(touched, m.From, m.To)
			if err := t.follow(org, m); err != nil {
				return err
			}
		}
		for _, h := range c.Participants {
			n, err := t.markDue(org, `SELECT row FROM participant WHERE hash = ?`, []byte(h))
			if err != nil {
				return err
			}
			rows += n
		}
		for _, r := range touched {
			n, err := t.markDue(org, `SELECT l.id FROM link k JOIN ledger l ON l.email = k.email WHERE k.kind = ? AND k.record = ?`, r.Kind, r.ID)
			if err != nil {
				return err
			}
			rows += n
		}
		return nil
	})
	return number, rows, err
}

// follow moves a person's links to the record that lives on (rule 11).
func (t *tx) follow(org string, m state.Merge) error {
	ids, err := list(t, one[int64], `SELECT e.id FROM link k JOIN email e ON e.id = k.email
		WHERE k.kind = ? AND k.record = ? AND e.org = ? AND e.person <> '[]'`, m.From.Kind, m.From.ID, org)
	if err != nil {
		return err
	}
	for _, id := range ids {
		had, err := t.email(id)
		if err != nil {
			return err
		}
		e := had
		e.Person = nil
		for _, l := range had.Person { // in the order in which they were said: the later word wins
			if l.Record == m.From {
				l.Record = m.To
			}
			e.Person = slices.DeleteFunc(e.Person, func(p linker.Link) bool { return p.Record == l.Record })
			e.Person = append(e.Person, l)
		}
		if err := t.store(had, &e, false); err != nil {
			return err
		}
		if err := t.wakeHolders(id); err != nil {
			return err
		}
	}
	return nil
}

// ThreadLinks implements state.Ledger.
func (s *Store) ThreadLinks(ctx context.Context, org string, q state.ThreadQuery) (out []linker.Link, err error) {
	err = s.read(ctx, func(t *tx) error {
		out, err = t.threadLinks(org, q)
		return err
	})
	return out, err
}

// maxCited bounds the walk up a thread: References may be forged, and as long as a header may be.
const maxCited = 200

func (t *tx) threadLinks(org string, q state.ThreadQuery) (out []linker.Link, err error) {
	seen := map[state.Hash]bool{}
	got := map[linker.Record]bool{}
	take := func(e state.Email) bool {
		if e.ID == q.Email || e.Survivor != 0 || q.MessageID != "" && e.Fingerprint == q.Fingerprint && slices.Contains(e.Aliases, q.MessageID) {
			return false
		}
		direct := false
		for _, l := range e.Effective() {
			if l.Direct() {
				direct = true
				if !got[l.Record] {
					got[l.Record] = true
					out = append(out, l)
				}
			}
		}
		return direct
	}
	queue := slices.Clone(q.Cites)
	if len(queue) == 0 && q.Thread != "" {
		rows, err := list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE conn = ? AND org = ? AND thread = ? AND id <> ?
			AND received < ? ORDER BY received DESC LIMIT ?`, q.Connection, org, q.Thread, q.Row, stamp(q.Before), maxCited)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.Email == 0 {
				continue
			}
			e, err := t.email(r.Email)
			if err != nil {
				return nil, err
			}
			take(e)
		}
	}
	for len(queue) > 0 && len(seen) < maxCited {
		h := queue[0]
		queue = queue[1:]
		if h == "" || seen[h] {
			continue
		}
		seen[h] = true
		ids, err := list(t, one[int64], `SELECT e.id FROM alias a JOIN email e ON e.id = a.email WHERE a.hash = ? AND e.org = ?
			ORDER BY e.id LIMIT 20`, []byte(h), org)
		if err != nil {
			return nil, err
		}
		es, err := t.emails(ids)
		if err != nil {
			return nil, err
		}
		direct := false
		for _, e := range es {
			direct = take(e) || direct
		}
		if direct {
			continue
		}
		parents, err := list(t, one[[]byte], `SELECT cites FROM ledger WHERE message_id = ? AND org = ? AND id <> ?
			AND (email = 0 OR email <> ?) ORDER BY id LIMIT 20`, []byte(h), org, q.Row, q.Email)
		if err != nil {
			return nil, err
		}
		for _, p := range parents {
			queue = append(queue, unpackHashes(p)...)
		}
	}
	return out, nil
}

package sqlstate

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// spreading is a stored change: what is left of it when its effect on people's words is taken.
type spreading struct {
	Participants [][]byte
	Records      []linker.Record
}

// maxParts bounds the participants and the records of one stored change.
const maxParts = 200

// Change implements state.Organisations.
func (s *Store) Change(ctx context.Context, org string, c state.Change) (number int64, err error) {
	err = s.write(ctx, org, func(t *tx) error {
		number, err = t.change(org, c)
		return err
	})
	return number, err
}

func (t *tx) change(org string, c state.Change) (number int64, err error) {
	if err := t.row(`INSERT INTO org (id, change) VALUES (?, 2) ON CONFLICT (id) DO UPDATE SET change = org.change + 1
		RETURNING change`, org).Scan(&number); err != nil {
		return 0, err
	}
	if p := c.Pulled; p != nil {
		n, err := t.exec(`UPDATE org SET pulled = ?, pulled_at = ? WHERE id = ? AND pulled = ?`, p.To, stamp(p.At), org, p.From)
		if err == nil && n == 0 {
			err = state.ErrStale
		}
		if err != nil {
			return 0, err
		}
	}
	// Words first: a person's word of later must not meet a merge of earlier.
	sp := spreading{Records: slices.Clone(c.Records)}
	for _, m := range c.Merged {
		sp.Records = append(sp.Records, m.From)
		if m.To == (linker.Record{}) {
			err = t.forget(org, m.From)
		} else {
			sp.Records = append(sp.Records, m.To)
			err = t.follow(org, m)
		}
		if err == nil {
			err = t.moveDeclared(org, m)
		}
		if err != nil {
			return 0, err
		}
	}
	for _, h := range c.Participants {
		sp.Participants = append(sp.Participants, []byte(h))
	}
	if len(sp.Participants)+len(sp.Records) == 0 {
		return number, nil
	}
	// In pieces: whoever spreads reads one again with every page.
	for len(sp.Participants)+len(sp.Records) > 0 {
		n, m := min(len(sp.Participants), maxParts), min(len(sp.Records), maxParts)
		b, err := json.Marshal(spreading{sp.Participants[:n], sp.Records[:m]})
		if err != nil {
			return 0, err
		}
		if err := t.do(`INSERT INTO change (org, body) VALUES (?, ?)`, org, b); err != nil {
			return 0, err
		}
		sp.Participants, sp.Records = sp.Participants[n:], sp.Records[m:]
	}
	return number, nil
}

// Spread implements state.Organisations. A row that is decided while a change spreads needs no look back: its decision either asked after the
// change was stored, or finds the change number moved and leaves it due.
func (s *Store) Spread(ctx context.Context, org string, limit int) (rows int, more bool, err error) {
	// Mostly there is none, and the one writer is not to be waited for.
	var stored bool
	if err := s.read(ctx, func(t *tx) error {
		return t.row(`SELECT EXISTS (SELECT 1 FROM change WHERE org = ?)`, org).Scan(&stored)
	}); err != nil || !stored {
		return 0, false, err
	}
	err = s.write(ctx, org, func(t *tx) error {
		rows = 0
		var had int64 // the change that sp is
		var sp spreading
		for budget := max(limit, 1); budget > 0; {
			var id, after int64
			var part int
			var body []byte
			err := t.row(`SELECT id, body, part, after FROM change WHERE org = ? ORDER BY id LIMIT 1`, org).Scan(&id, &body, &part, &after)
			if errors.Is(err, sql.ErrNoRows) {
				more = false
				return nil
			} else if err != nil {
				return err
			}
			more = true
			if id != had {
				had, sp = id, spreading{}
				if err := json.Unmarshal(body, &sp); err != nil {
					return err
				}
			}
			if part >= len(sp.Participants)+len(sp.Records) {
				if err := t.do(`DELETE FROM change WHERE id = ?`, id); err != nil {
					return err
				}
				continue
			}
			var ids []int64
			if part < len(sp.Participants) {
				if ids, err = list(t, one[int64], `SELECT row_id FROM participant WHERE hash = ? AND row_id > ? ORDER BY row_id LIMIT ?`,
					sp.Participants[part], after, budget); err != nil {
					return err
				}
				n, err := t.mark(org, ids)
				if err != nil {
					return err
				}
				rows += n
			} else {
				r := sp.Records[part-len(sp.Participants)]
				if ids, err = list(t, one[int64], `SELECT email FROM link WHERE org = ? AND kind = ? AND record = ? AND email > ? ORDER BY email LIMIT ?`,
					org, r.Kind, r.ID, after, budget); err != nil {
					return err
				}
				for _, e := range ids {
					n, err := t.markDue(org, `SELECT id FROM ledger WHERE email = ?`, e)
					if err != nil {
						return err
					}
					rows += n
					// Mail below it may have been decided while the record was gone: it is not linked to it, and inherits it now.
					m, err := t.email(e)
					if err != nil {
						return err
					}
					if n, err = t.markBelow(org, m); err != nil {
						return err
					}
					rows += n
				}
			}
			if len(ids) < budget {
				part, after = part+1, 0
			} else {
				after = ids[len(ids)-1]
			}
			budget -= len(ids) + 1
			if err := t.do(`UPDATE change SET part = ?, after = ? WHERE id = ?`, part, after, id); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, more, err
}

// Unspread implements state.Organisations.
func (s *Store) Unspread(ctx context.Context) (orgs []string, err error) {
	err = s.read(ctx, func(t *tx) error {
		orgs, err = list(t, one[string], `SELECT DISTINCT org FROM change ORDER BY org`)
		return err
	})
	return orgs, err
}

// Pulled implements state.Organisations.
func (s *Store) Pulled(ctx context.Context, org string) (mark string, at time.Time, err error) {
	err = s.read(ctx, func(t *tx) error {
		var n int64
		err := t.row(`SELECT pulled, pulled_at FROM org WHERE id = ?`, org).Scan(&mark, &n)
		at = unstamp(n)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return mark, at, err
}

// spoken returns the Emails of which a person said something of a record.
func (t *tx) spoken(org string, r linker.Record) ([]state.Email, error) {
	ids, err := list(t, one[int64], `SELECT email FROM link WHERE org = ? AND kind = ? AND record = ? AND person ORDER BY email`, org, r.Kind, r.ID)
	if err != nil {
		return nil, err
	}
	return t.emails(ids)
}

// follow moves people's words to the record that lives on (rule 11): the later word wins where two meet.
func (t *tx) follow(org string, m state.Merge) error {
	es, err := t.spoken(org, m.From)
	if err != nil {
		return err
	}
	for _, had := range es {
		e := had
		e.Person = nil
		for _, l := range had.Person { // in the order in which they were said
			if l.Record == m.From {
				l.Record = m.To
			}
			e.Person = say(e.Person, l)
		}
		if err := t.store(had, &e, false); err != nil {
			return err
		}
		if err := t.wakeHolders(e.ID); err != nil {
			return err
		}
	}
	return t.moveWords(org, m)
}

// forget ends people's links to a record that is no more. "Not this record" stays: it harms nothing, and holds should it come back.
func (t *tx) forget(org string, r linker.Record) error {
	es, err := t.spoken(org, r)
	if err != nil {
		return err
	}
	for _, had := range es {
		e := had
		e.Person = slices.DeleteFunc(slices.Clone(e.Person), func(l linker.Link) bool { return l.Record == r && !l.Removed })
		if err := t.store(had, &e, false); err != nil {
			return err
		}
		if err := t.wakeHolders(e.ID); err != nil {
			return err
		}
	}
	ws, err := t.wordsAbout(org, r)
	if err != nil {
		return err
	}
	for _, w := range ws {
		if !w.no {
			if err := t.unsay(org, w); err != nil {
				return err
			}
			if !w.thread {
				if err := t.keptNoMore(org, w); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// say adds a word to those said before: the later wins.
func say(words []linker.Link, l linker.Link) []linker.Link {
	words = slices.DeleteFunc(words, func(w linker.Link) bool { return w.Record == l.Record })
	return append(words, l)
}

package sqlstate

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// Declare implements state.Declarations.
func (s *Store) Declare(ctx context.Context, org string, ds []state.Declared) (standing []string, added int, err error) {
	err = s.write(ctx, org, func(t *tx) error {
		standing, added = make([]string, len(ds)), 0
		moved := false
		for i, d := range ds {
			host, news, changed, err := t.declare(org, d)
			if err != nil {
				return err
			}
			standing[i], moved = host, moved || changed
			if news {
				added++
			}
		}
		if !moved {
			return nil
		}
		_, err := t.change(org, state.Change{}) // what is being decided asked before
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return standing, added, nil
}

func (t *tx) declare(org string, d state.Declared) (host string, added, changed bool, err error) {
	records := slices.Clone(d.Records)
	slices.SortFunc(records, compareRecords)
	records = slices.Compact(records)
	err = t.row(`SELECT id, host FROM declared WHERE org = ? AND hash = ? AND author = ?`, org, []byte(d.MessageID), hexed(d.Author)).Scan(&d.ID, &host)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		added = true
		host = d.HostID
		if err := t.row(`INSERT INTO declared (org, hash, author, host) VALUES (?, ?, ?, ?) RETURNING id`, org, []byte(d.MessageID), hexed(d.Author), d.HostID).
			Scan(&d.ID); err != nil {
			return "", false, false, err
		}
	case err != nil:
		return "", false, false, err
	case host != d.HostID:
		return host, false, false, nil
	default:
		had, err := t.declaredRecords(d.ID)
		if err != nil || slices.Equal(had, records) {
			return host, false, false, err
		}
		if err := t.do(`DELETE FROM declared_record WHERE declared = ?`, d.ID); err != nil {
			return "", false, false, err
		}
	}
	for _, r := range records {
		if err := t.do(`INSERT INTO declared_record (declared, org, kind, record) VALUES (?, ?, ?, ?)`, d.ID, org, r.Kind, r.ID); err != nil {
			return "", false, false, err
		}
	}
	return host, added, true, t.declaredDue(org, []byte(d.MessageID))
}

func compareRecords(a, b linker.Record) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}

func (t *tx) declaredRecords(id int64) ([]linker.Record, error) {
	return list(t, func(s scanner) (r linker.Record, err error) {
		err = s.Scan(&r.Kind, &r.ID)
		return r, err
	}, `SELECT kind, record FROM declared_record WHERE declared = ? ORDER BY kind, record`, id)
}

// Declared implements state.Declarations.
func (s *Store) Declared(ctx context.Context, org string) (c state.DeclaredCounts, err error) {
	err = s.read(ctx, func(t *tx) error {
		return t.row(`SELECT count(*), count(*) FILTER (WHERE email <> 0) FROM declared WHERE org = ?`, org).Scan(&c.Declared, &c.Met)
	})
	return c, err
}

// free is true of a declaration d whose email no other Email is than the one that asks.
const free = `NOT EXISTS (SELECT 1 FROM declared o WHERE o.org = d.org AND o.host = d.host AND o.email <> 0 AND o.email <> ?4)`

// declaredAs returns the declarations that a mail with these Message-IDs may be, and that is an Email, or none. What it was found to be it stays.
func (t *tx) declaredAs(org string, e state.Email, hashes []state.Hash) (out []state.Declared, err error) {
	if !t.known.declares {
		return nil, nil
	}
	for _, h := range hashes {
		if t.known.declared.no(h) {
			continue
		}
		ds, err := list(t, func(s scanner) (d state.Declared, err error) {
			var author string
			if err = s.Scan(&d.ID, &author, &d.HostID); err != nil {
				return d, err
			}
			d.MessageID, d.Met = h, e.HostID != ""
			d.Author, err = unhexed(author)
			return d, err
		}, `SELECT d.id, d.author, d.host FROM declared d WHERE d.org = ?1 AND d.hash = ?2 AND (d.host = ?3 OR ?3 = '') AND `+free+` ORDER BY d.id`, org, []byte(h), e.HostID, e.ID)
		if err != nil {
			return nil, err
		}
		for i := range ds {
			if ds[i].Records, err = t.declaredRecords(ds[i].ID); err != nil {
				return nil, err
			}
		}
		out = append(out, ds...)
	}
	slices.SortFunc(out, func(a, b state.Declared) int { return cmp.Compare(a.ID, b.ID) }) // every copy comes to the same, whatever it is known by
	return out, nil
}

// declarable reports whether a value may still be the declared email that it was found to be: no other Email is it, and the one that the value is given to is no other.
func (t *tx) declarable(org string, v state.EmailValue) (ok bool, err error) {
	if v.Declared == 0 {
		return true, nil
	}
	hashes := []state.Hash{}
	for _, h := range append([]state.Hash{v.MessageID}, v.Aliases...) {
		if h != "" {
			hashes = append(hashes, h)
		}
	}
	ids, err := t.same(org, hashes, v.Fingerprint, false)
	if err != nil {
		return false, err
	}
	var is state.Email
	if len(ids) > 0 {
		if is, err = t.email(ids[0]); err != nil {
			return false, err
		}
	}
	err = t.row(`SELECT EXISTS (SELECT 1 FROM declared d WHERE d.id = ?1 AND d.org = ?2 AND (d.host = ?3 OR ?3 = '') AND `+free+`)`, v.Declared, org, is.HostID, is.ID).Scan(&ok)
	return ok, err
}

// declaredIs makes an Email the declared one, before it is stored. One that was declared as two, by two Message-IDs, stays what it was.
func (t *tx) declaredIs(e *state.Email, declared int64) error {
	err := t.row(`UPDATE declared SET email = ?1 WHERE id = ?2 AND org = ?3 AND (host = ?4 OR ?4 = '') RETURNING host`, e.ID, declared, e.Org, e.HostID).Scan(&e.HostID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// giveBack takes the host's email back from an Email that is no more. Another mail may be it.
func (t *tx) giveBack(org string, e state.Email) error {
	if err := t.do(`UPDATE declared SET email = 0 WHERE email = ? AND email > 0`, e.ID); err != nil {
		return err
	}
	hashes, err := list(t, one[[]byte], `SELECT DISTINCT hash FROM declared WHERE org = ? AND host = ? ORDER BY hash`, org, e.HostID)
	if err != nil {
		return err
	}
	for _, h := range hashes {
		if err := t.declaredDue(org, h); err != nil {
			return err
		}
	}
	return nil
}

// declaredDue makes the mail due that may be the one declared by a Message-ID, by whatever id it is known.
func (t *tx) declaredDue(org string, hash []byte) error {
	if _, err := t.markDue(org, `SELECT id FROM ledger WHERE message_id = ? AND org = ?`, hash, org); err != nil {
		return err
	}
	_, err := t.markDue(org, `SELECT l.id FROM alias a JOIN ledger l ON l.email = a.email WHERE a.hash = ? AND l.org = ?`, hash, org)
	return err
}

// moveDeclared lets declarations follow a merge, or a deletion where to is zero.
func (t *tx) moveDeclared(org string, m state.Merge) error {
	if m.To != (linker.Record{}) {
		if err := t.do(`INSERT INTO declared_record (declared, org, kind, record) SELECT declared, org, ?, ? FROM declared_record
			WHERE org = ? AND kind = ? AND record = ? ON CONFLICT DO NOTHING`, m.To.Kind, m.To.ID, org, m.From.Kind, m.From.ID); err != nil {
			return err
		}
	}
	return t.do(`DELETE FROM declared_record WHERE org = ? AND kind = ? AND record = ?`, org, m.From.Kind, m.From.ID)
}

package sqlite

import (
	"context"
	"encoding/json"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
)

// email reads an Email with its aliases and holders.
func (t *tx) email(id int64) (e state.Email, err error) {
	var messageID, fingerprint []byte
	var links, person string
	var nextTry int64
	err = t.row(`SELECT id, org, message_id, fingerprint, links, person, dropped, restored, thread_dropped, survivor, revision, saved, attempted,
		NOT known OR envelope_revision > saved, envelope, envelope IS NOT NULL AND rank <= ?, error, tries, next_try FROM email WHERE id = ?`, state.RankKept, id).
		Scan(&e.ID, &e.Org, &messageID, &fingerprint, &links, &person, &e.Dropped, &e.Restored, &e.ThreadDropped, &e.Survivor, &e.Revision, &e.Saved,
			&e.Attempted, &e.Full, &e.Envelope, &e.Orphaned, &e.Error, &e.Tries, &nextTry)
	if err != nil {
		return e, notFound(err)
	}
	e.MessageID, e.Fingerprint, e.NextTry = state.Hash(messageID), state.Hash(fingerprint), unstamp(nextTry)
	if err := json.Unmarshal([]byte(links), &e.Links); err != nil {
		return e, err
	}
	if err := json.Unmarshal([]byte(person), &e.Person); err != nil {
		return e, err
	}
	if e.Holders, err = list(t, one[int64], `SELECT conn FROM holder WHERE email = ? ORDER BY conn`, id); err != nil {
		return e, err
	}
	hashes, err := list(t, one[[]byte], `SELECT hash FROM alias WHERE email = ? ORDER BY hash`, id)
	for _, h := range hashes {
		e.Aliases = append(e.Aliases, state.Hash(h))
	}
	return e, err
}

func (t *tx) emails(ids []int64) (es []state.Email, err error) {
	for _, id := range ids {
		e, err := t.email(id)
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return es, nil
}

// emailIn is email, of this organisation.
func (t *tx) emailIn(org string, id int64) (state.Email, error) {
	e, err := t.email(id)
	if err == nil && e.Org != org {
		return state.Email{}, state.ErrNotFound
	}
	return e, err
}

// Email implements state.Emails.
func (s *Store) Email(ctx context.Context, org string, id int64) (e state.Email, err error) {
	err = s.read(ctx, func(t *tx) error {
		e, err = t.emailIn(org, id)
		return err
	})
	return e, err
}

// Undelivered implements state.Emails.
func (s *Store) Undelivered(ctx context.Context, org string, connection int64, now time.Time, limit int) (es []state.Email, err error) {
	err = s.read(ctx, func(t *tx) error {
		ids, err := list(t, one[int64], `SELECT id FROM email e WHERE org = ?1 AND revision > saved AND NOT held AND next_try <= ?2
			AND (attempted OR wanted) AND (?3 = 0 OR EXISTS (SELECT 1 FROM holder WHERE email = e.id AND conn = ?3)
				OR NOT EXISTS (SELECT 1 FROM holder h JOIN connection c ON c.id = h.conn WHERE h.email = e.id
					AND (c.state = 'connected' OR c.state NOT IN ('disconnected', 'erasing') AND e.wanted AND (NOT e.known OR e.envelope_revision > e.saved))))
			ORDER BY next_try, id LIMIT ?4`, org, stamp(now), connection, limit)
		if err != nil {
			return err
		}
		es, err = t.emails(ids)
		return err
	})
	return es, err
}

// Attempt implements state.Emails.
func (s *Store) Attempt(ctx context.Context, l state.Lease, ds []state.Delivery) (ids []int64, err error) {
	err = s.write(ctx, func(t *tx) error {
		ids = nil
		if l.Connection != 0 {
			if err := t.holds(l); err != nil {
				return err
			}
		}
		for _, d := range ds {
			n, err := t.exec(`UPDATE email SET attempted = 1 WHERE id = ? AND org = ? AND revision = ?`, d.ID, l.Org, d.Revision)
			if err != nil {
				return err
			}
			if n == 1 {
				ids = append(ids, d.ID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// Done implements state.Emails.
func (s *Store) Done(ctx context.Context, org string, ds []state.Delivery) error {
	return s.write(ctx, func(t *tx) error {
		for _, d := range ds {
			if _, err := t.exec(`UPDATE email SET saved = ?1, known = NOT ?2, error = '', tries = 0, next_try = 0
				WHERE id = ?3 AND org = ?4 AND saved < ?1`, d.Revision, d.Empty, d.ID, org); err != nil {
				return err
			}
			if d.Empty {
				if err := t.dropEnvelope(d.ID); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Failed implements state.Emails.
func (s *Store) Failed(ctx context.Context, org string, fs []state.Failure) error {
	return s.write(ctx, func(t *tx) error {
		for _, f := range fs {
			if _, err := t.exec(`UPDATE email SET error = ?, tries = tries + NOT ?, next_try = ?, known = known AND NOT ?
				WHERE id = ? AND org = ?`, f.Error, f.Outage, stamp(f.NextTry), f.Unknown, f.ID, org); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) wakeHolders(id int64) error {
	_, err := t.exec(`UPDATE connection SET wake = wake + 1 WHERE id IN (SELECT conn FROM holder WHERE email = ?)`, id)
	return err
}

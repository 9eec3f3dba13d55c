package sqlstate

import (
	"context"
	"database/sql"
	"errors"

	"github.com/intellicon/email-integration/emailint/state"
)

// The table of pauses is the one place that says what is paused: claims and leases ask it each time. It has a few rows, and mostly none, so that costs
// less than to mark every mailbox, and a mailbox that is connected meanwhile is not forgotten. The four scopes are looked up one by one: so PostgreSQL
// reads the table once for all rows, and SQLite asks its key. A join was dearer by half where thousands are due.
const (
	scopes = `(SELECT org, provider FROM pause)`
	// unpaused is true of a connection c under no pause.
	unpaused = `(c.org, c.provider) NOT IN ` + scopes + ` AND (c.org, '') NOT IN ` + scopes + `
		AND ('', c.provider) NOT IN ` + scopes + ` AND ('', '') NOT IN ` + scopes
	// unpausedOut is true of an outbox row o under none, c being its connection. Where that is gone the row has no provider.
	unpausedOut = `(o.org, coalesce(c.provider, '')) NOT IN ` + scopes + ` AND (o.org, '') NOT IN ` + scopes + `
		AND ('', coalesce(c.provider, '')) NOT IN ` + scopes + ` AND ('', '') NOT IN ` + scopes
)

// SetPause implements state.Controls. It writes no connection, so it waits for nobody who is at work: from its commit on tx.holds finds every lease in
// the scope lost. EndPause raises the epochs.
func (s *Store) SetPause(ctx context.Context, p state.Pause) error {
	return s.writeAnywhere(ctx, func(t *tx) error {
		return t.do(`INSERT INTO pause (org, provider, admin, who, reason, at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (org, provider, admin) DO UPDATE SET who = excluded.who, reason = excluded.reason, at = excluded.at`,
			p.Org, p.Provider, p.Admin, p.By, p.Reason, stamp(p.At))
	})
}

// EndPause implements state.Controls. The pause goes last: should this be cut off, it stands.
func (s *Store) EndPause(ctx context.Context, org, provider string, admin bool) error {
	var at int64
	var orgs []string
	err := s.read(ctx, func(t *tx) (err error) {
		if err = notFound(t.row(`SELECT at FROM pause WHERE org = ? AND provider = ? AND admin = ?`, org, provider, admin).Scan(&at)); err != nil {
			return err
		}
		orgs, err = list(t, one[string], `SELECT DISTINCT org FROM connection WHERE (?1 = '' OR org = ?1) AND (?2 = '' OR provider = ?2) ORDER BY org`,
			org, provider)
		return err
	})
	if err != nil {
		return err
	}
	for _, o := range orgs {
		if err := s.write(ctx, o, func(t *tx) error {
			return t.do(`UPDATE connection SET wake = wake + 1, worker = '', lease_until = 0, epoch = epoch + 1 WHERE org = ?1 AND (?2 = '' OR provider = ?2)`,
				o, provider)
		}); err != nil {
			return err
		}
	}
	return s.writeAnywhere(ctx, func(t *tx) error {
		// One that was set in its place meanwhile stands.
		return t.do(`DELETE FROM pause WHERE org = ? AND provider = ? AND admin = ? AND at = ?`, org, provider, admin, at)
	})
}

// Pauses implements state.Controls.
func (s *Store) Pauses(ctx context.Context) (ps []state.Pause, err error) {
	err = s.read(ctx, func(t *tx) error {
		ps, err = list(t, func(s scanner) (p state.Pause, err error) {
			var at int64
			err = s.Scan(&p.Org, &p.Provider, &p.Admin, &p.By, &p.Reason, &at)
			p.At = unstamp(at)
			return p, err
		}, `SELECT org, provider, admin, who, reason, at FROM pause ORDER BY at, org, provider, admin`)
		return err
	})
	return ps, err
}

// Deployment implements state.Controls.
func (s *Store) Deployment(ctx context.Context) (id string, err error) {
	err = s.read(ctx, func(t *tx) error {
		err := t.row(`SELECT id FROM deployment WHERE one = 1`).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return id, err
}

// SetDeployment implements state.Controls.
func (s *Store) SetDeployment(ctx context.Context, from, to string) error {
	return s.writeAnywhere(ctx, func(t *tx) error {
		if err := t.do(`INSERT INTO deployment (one, id) VALUES (1, '') ON CONFLICT DO NOTHING`); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE deployment SET id = ? WHERE one = 1 AND id = ?`, to, from)
		if err == nil && n == 0 {
			err = state.ErrStale
		}
		return err
	})
}

package sqlstate

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
)

const connectionColumns = `id, org, owner, provider, address, aliases, subject, state, reason, credential, credential_version, client, wake, served,
	next_due, next_sent, not_before, rules, connected_at, worker, lease_until, refused, real_time, watch, watch_expires, watch_next,
	watch_tries`

func scanConnection(s scanner) (c state.Connection, err error) {
	var aliases string
	var nextDue, nextSent, notBefore, connectedAt, until, expires, next int64
	err = s.Scan(&c.ID, &c.Org, &c.User, &c.Provider, &c.Address, &aliases, &c.Subject, &c.State, &c.Reason, &c.Credential,
		&c.CredentialVersion, &c.Client, &c.Wake, &c.Served, &nextDue, &nextSent, &notBefore, &c.RulesVersion, &connectedAt, &c.Worker, &until, &c.Refused,
		&c.RealTime, &c.Watch.Handle, &expires, &next, &c.Watch.Tries)
	if err != nil {
		return c, notFound(err)
	}
	c.NextDue, c.NextSent, c.NotBefore = unstamp(nextDue), unstamp(nextSent), unstamp(notBefore)
	c.ConnectedAt, c.LeaseUntil = unstamp(connectedAt), unstamp(until)
	c.Watch.Expires, c.Watch.Next = unstamp(expires), unstamp(next)
	return c, json.Unmarshal([]byte(aliases), &c.Aliases)
}

// AddConnection implements state.Connections.
func (s *Store) AddConnection(ctx context.Context, c state.Connection, own state.Change) (out state.Connection, err error) {
	if c.State == "" {
		c.State = state.Connected
	}
	aliases, err := json.Marshal(c.Aliases)
	if err != nil {
		return out, err
	}
	err = s.write(ctx, c.Org, func(t *tx) error {
		if err := t.do(`INSERT INTO org (id) VALUES (?) ON CONFLICT DO NOTHING`, c.Org); err != nil {
			return err
		}
		had, err := scanConnection(t.row(`SELECT `+connectionColumns+` FROM connection WHERE org = ? AND owner = ? AND provider = ? AND state <> 'erasing' AND
			CASE WHEN ? <> '' AND subject <> '' THEN subject = ? ELSE address = ? END ORDER BY id LIMIT 1`,
			c.Org, c.User, c.Provider, c.Subject, c.Subject, c.Address))
		id := had.ID
		switch {
		case errors.Is(err, state.ErrNotFound):
			err = t.row(`INSERT INTO connection (org, owner, provider, address, aliases, subject, state, reason, credential, client,
				next_due, next_sent, connected_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, c.Org, c.User, c.Provider, c.Address,
				string(aliases), c.Subject, c.State, c.Reason, c.Credential, c.Client, stamp(c.NextDue), stamp(c.NextSent), stamp(c.ConnectedAt)).Scan(&id)
		case err == nil:
			err = t.do(`UPDATE connection SET address = ?, aliases = ?, subject = ?, state = ?, reason = ?, credential = ?, client = ?,
				credential_version = credential_version + 1, refresher = '', refresh_until = 0, wake = wake + 1, not_before = 0, refused = 0, watch_next = 0, watch_tries = 0, worker = '',
				lease_until = 0, epoch = epoch + 1 WHERE id = ?`, c.Address, string(aliases), c.Subject, c.State, c.Reason, c.Credential, c.Client, id)
		}
		if err != nil {
			return err
		}
		if !own.Empty() && !slices.Equal(addresses(had), addresses(c)) {
			if _, err := t.change(c.Org, own); err != nil {
				return err
			}
		}
		out, err = scanConnection(t.row(`SELECT `+connectionColumns+` FROM connection WHERE id = ?`, id))
		return err
	})
	return out, err
}

// addresses of the mailbox's owner, sorted.
func addresses(c state.Connection) []string {
	as := append([]string{c.Address}, c.Aliases...)
	slices.Sort(as)
	return slices.Compact(as)
}

// Connection implements state.Connections.
func (s *Store) Connection(ctx context.Context, org string, id int64) (c state.Connection, err error) {
	err = s.read(ctx, func(t *tx) error {
		c, err = scanConnection(t.row(`SELECT `+connectionColumns+` FROM connection WHERE id = ? AND org = ?`, id, org))
		return err
	})
	return c, err
}

// Connections implements state.Connections.
func (s *Store) Connections(ctx context.Context, org string) (cs []state.Connection, err error) {
	err = s.read(ctx, func(t *tx) error {
		cs, err = list(t, scanConnection,
			`SELECT `+connectionColumns+` FROM connection WHERE ? = '' OR org = ? ORDER BY id`, org, org)
		return err
	})
	return cs, err
}

// touch runs an update of one connection.
func (s *Store) touch(ctx context.Context, org, q string, args ...any) error {
	return s.write(ctx, org, func(t *tx) error {
		n, err := t.exec(q, args...)
		if err == nil && n == 0 {
			err = state.ErrNotFound
		}
		return err
	})
}

// SetState implements state.Connections.
func (s *Store) SetState(ctx context.Context, org string, id int64, st state.ConnState, reason string) error {
	return s.touch(ctx, org, `UPDATE connection SET state = ?1, reason = ?2, wake = wake + CASE WHEN ?1 = 'connected' THEN 1 ELSE 0 END,
		refused = CASE WHEN ?1 = 'connected' THEN 0 ELSE refused END, worker = CASE WHEN ?1 = 'connected' THEN worker ELSE '' END,
		lease_until = CASE WHEN ?1 = 'connected' THEN lease_until ELSE 0 END, epoch = epoch + CASE WHEN ?1 = 'connected' THEN 0 ELSE 1 END
		WHERE id = ?3 AND org = ?4 AND state <> 'erasing'`, st, reason, id, org)
}

// Retry implements state.Connections.
func (s *Store) Retry(ctx context.Context, org string, id int64, from state.ConnState) error {
	return s.write(ctx, org, func(t *tx) error {
		n, err := t.exec(`UPDATE connection SET state = 'connected', reason = '', wake = wake + 1 WHERE id = ? AND org = ? AND state = ?
			AND state IN ('needs user', 'needs admin', 'app misconfigured')`, id, org, from)
		if err != nil || n > 0 {
			return err
		}
		if _, err = t.unerased(org, id); err == nil {
			err = state.ErrStale
		}
		return err
	})
}

// Told implements state.Connections.
func (s *Store) Told(ctx context.Context, provider, address string, handle []byte) (cs []state.Connection, err error) {
	err = s.read(ctx, func(t *tx) error {
		if len(handle) > 0 {
			cs, err = list(t, scanConnection, `SELECT `+connectionColumns+` FROM connection WHERE watch = ? AND provider = ? AND state = 'connected' ORDER BY id`, handle, provider)
		} else if address != "" {
			cs, err = list(t, scanConnection, `SELECT `+connectionColumns+` FROM connection WHERE lower(address) = ? AND provider = ? AND state = 'connected' ORDER BY id`,
				lower(text(address)), provider)
		}
		return err
	})
	return cs, err
}

// lower makes the letters small that both databases know to be large: those of ASCII.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// SetWatch implements state.Connections.
func (s *Store) SetWatch(ctx context.Context, l state.Lease, w state.Watch) error {
	return s.held(ctx, l, func(t *tx) error {
		return t.do(`UPDATE connection SET watch = ?, watch_expires = ?, watch_next = ?, watch_tries = ? WHERE id = ?`,
			w.Handle, stamp(w.Expires), stamp(w.Next), w.Tries, l.Connection)
	})
}

// Rewatch implements state.Connections.
func (s *Store) Rewatch(ctx context.Context, org string, id int64) error {
	return s.touch(ctx, org, `UPDATE connection SET watch_next = 0, watch_tries = 0, wake = wake + 1 WHERE id = ? AND org = ?`, id, org)
}

// EndWatch implements state.Connections.
func (s *Store) EndWatch(ctx context.Context, org string, id int64) error {
	return s.touch(ctx, org, `UPDATE connection SET watch = NULL, watch_expires = 0, watch_next = 0, watch_tries = 0 WHERE id = ? AND org = ?`, id, org)
}

// ClaimRefresh implements state.Connections.
func (s *Store) ClaimRefresh(ctx context.Context, org string, id int64, worker string, now time.Time, ttl time.Duration) (c state.Connection, err error) {
	err = s.write(ctx, org, func(t *tx) error {
		n, err := t.exec(`UPDATE connection SET refresher = ?, refresh_until = ? WHERE id = ? AND org = ? AND state <> 'erasing' AND refresh_until <= ?`,
			worker, stamp(now.Add(ttl)), id, org, stamp(now))
		if err != nil {
			return err
		}
		c, err = t.unerased(org, id)
		if err == nil && n == 0 {
			err = state.ErrNoneDue
		}
		return err
	})
	if err != nil {
		return state.Connection{}, err
	}
	return c, nil
}

// unerased returns a connection that is not being erased.
func (t *tx) unerased(org string, id int64) (state.Connection, error) {
	return scanConnection(t.row(`SELECT `+connectionColumns+` FROM connection WHERE id = ? AND org = ? AND state <> 'erasing'`, id, org))
}

// EndRefresh implements state.Connections.
func (s *Store) EndRefresh(ctx context.Context, org string, id int64, worker string) error {
	return s.write(ctx, org, func(t *tx) error {
		return t.do(`UPDATE connection SET refresher = '', refresh_until = 0 WHERE id = ? AND org = ? AND refresher = ?`, id, org, worker)
	})
}

// SetCredential implements state.Connections.
func (s *Store) SetCredential(ctx context.Context, org string, id int64, version int64, sealed []byte) (int64, error) {
	err := s.write(ctx, org, func(t *tx) error {
		n, err := t.exec(`UPDATE connection SET credential = ?, credential_version = credential_version + 1, refresher = '', refresh_until = 0
			WHERE id = ? AND org = ? AND state <> 'erasing' AND credential_version = ?`, sealed, id, org, version)
		if err != nil || n > 0 {
			return err
		}
		if _, err = t.unerased(org, id); err == nil {
			err = state.ErrStale
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return version + 1, nil
}

// Nudge implements state.Connections.
func (s *Store) Nudge(ctx context.Context, org string, id int64, now time.Time) error {
	return s.touch(ctx, org, `UPDATE connection SET nudge = nudge + 1, next_sent = CASE WHEN next_sent > 0 AND next_sent < ?1 THEN next_sent ELSE ?1 END
		WHERE id = ?2 AND org = ?3`, stamp(now), id, org)
}

// SetRealTime implements state.Connections.
func (s *Store) SetRealTime(ctx context.Context, org string, id int64, text string) error {
	return s.touch(ctx, org, `UPDATE connection SET real_time = ? WHERE id = ? AND org = ?`, text, id, org)
}

// Wake implements state.Connections.
func (s *Store) Wake(ctx context.Context, org string, id int64) error {
	return s.touch(ctx, org, `UPDATE connection SET wake = wake + 1 WHERE id = ? AND org = ?`, id, org)
}

// nextPoll is when a connection is looked at although nobody woke it.
const nextPoll = `CASE WHEN next_sent > 0 AND next_sent < next_due THEN next_sent ELSE next_due END`

// Claim implements state.Connections. A connection that somebody else is about to claim, or writes to, is passed over: it is his, or is found the
// next time.
func (s *Store) Claim(ctx context.Context, worker string, now time.Time, ttl time.Duration) (state.Lease, error) {
	var l state.Lease
	err := s.writeAnywhere(ctx, func(t *tx) (err error) {
		l, err = t.claim(worker, now, ttl, `SELECT id, org, epoch + 1, wake, nudge, NOT (wake > served OR next_due <= ?1) FROM connection c
			WHERE state = 'connected' AND lease_until <= ?1 AND not_before <= ?1 AND (wake > served OR next_due <= ?1 OR next_sent > 0 AND next_sent <= ?1)
			AND `+unpaused+` ORDER BY CASE WHEN wake > served AND (`+nextPoll+` > ?2 OR not_before > ?2) THEN ?2
			WHEN `+nextPoll+` > not_before THEN `+nextPoll+` ELSE not_before END, id LIMIT 1 /*claim*/`, stamp(now), stamp(now.Add(-time.Minute)))
		return err
	})
	if err != nil {
		return state.Lease{}, err
	}
	return l, nil
}

// ClaimConnection implements state.Connections.
func (s *Store) ClaimConnection(ctx context.Context, org string, id int64, worker string, now time.Time, ttl time.Duration) (state.Lease, error) {
	if _, err := s.Connection(ctx, org, id); err != nil {
		return state.Lease{}, err
	}
	var l state.Lease
	err := s.write(ctx, org, func(t *tx) (err error) {
		l, err = t.claim(worker, now, ttl, `SELECT id, org, epoch + 1, wake, nudge, false FROM connection c WHERE state = 'connected' AND lease_until <= ? AND id = ?
			AND `+unpaused+` /*lock*/`, stamp(now), id)
		return err
	})
	if err != nil {
		return state.Lease{}, err
	}
	return l, nil
}

// claim leases the connection that a query finds.
func (t *tx) claim(worker string, now time.Time, ttl time.Duration, q string, args ...any) (state.Lease, error) {
	l := state.Lease{Worker: worker, Until: now.Add(ttl)}
	err := t.row(q, args...).Scan(&l.Connection, &l.Org, &l.Epoch, &l.Wake, &l.Nudge, &l.SentOnly)
	if errors.Is(err, sql.ErrNoRows) {
		err = state.ErrNoneDue
	}
	if err != nil {
		return state.Lease{}, err
	}
	return l, t.do(`UPDATE connection SET worker = ?, lease_until = ?, epoch = ? WHERE id = ?`, worker, stamp(l.Until), l.Epoch, l.Connection)
}

// Renew implements state.Connections.
func (s *Store) Renew(ctx context.Context, l state.Lease, now time.Time, ttl time.Duration) (state.Lease, error) {
	l.Until = now.Add(ttl)
	err := s.write(ctx, l.Org, func(t *tx) error {
		if err := t.holds(l); err != nil {
			return err
		}
		err := t.do(`UPDATE connection SET lease_until = ? WHERE id = ?`, stamp(l.Until), l.Connection)
		return err
	})
	return l, err
}

// Release implements state.Connections. It raises the epoch too: a lease that was given back can't commit.
func (s *Store) Release(ctx context.Context, l state.Lease, r state.Released) error {
	return s.write(ctx, l.Org, func(t *tx) error {
		if err := t.holds(l); err != nil {
			return err
		}
		return t.do(`UPDATE connection SET worker = '', lease_until = 0, epoch = epoch + 1, served = CASE WHEN ?1 AND served < ?2 THEN ?2 ELSE served END,
			next_due = CASE WHEN CAST(?3 AS BIGINT) > 0 THEN ?3 ELSE next_due END, not_before = ?4, reason = CASE WHEN ?5 <> '' THEN ?6 ELSE reason END,
			state = CASE WHEN ?5 <> '' AND state = 'connected' THEN ?5 ELSE state END, rules = CASE WHEN CAST(?7 AS BIGINT) > 0 THEN ?7 ELSE rules END,
			refused = ?8, next_sent = CASE WHEN CAST(?10 AS BIGINT) > 0 AND nudge = ?11 THEN ?10 ELSE next_sent END WHERE id = ?9`,
			r.Served, l.Wake, stamp(r.NextDue), stamp(r.NotBefore), r.State, r.Reason, r.RulesVersion, r.Refused, l.Connection, stamp(r.NextSent), l.Nudge)
	})
}

// holds compares the lease's epoch (rule 16). Whoever writes keeps others from claiming the connection until it is written. A pause is asked for here as
// well, see SetPause.
func (t *tx) holds(l state.Lease) error {
	q := `SELECT epoch FROM connection c WHERE id = ? AND org = ? AND ` + unpaused
	if t.writes {
		q = `SELECT epoch FROM connection c WHERE id = ? AND org = ? AND ` + unpaused + ` /*lock*/`
	}
	var epoch int64
	err := t.row(q, l.Connection, l.Org).Scan(&epoch)
	if errors.Is(err, sql.ErrNoRows) || err == nil && epoch != l.Epoch {
		return state.ErrStale
	}
	return err
}

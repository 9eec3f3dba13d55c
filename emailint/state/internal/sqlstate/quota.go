package sqlstate

import (
	"context"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
)

// TakeQuota implements state.Quotas.
func (s *Store) TakeQuota(ctx context.Context, name string, q state.Taking, now time.Time) (taken int64, wait time.Duration, err error) {
	err = s.writeAnywhere(ctx, func(t *tx) error {
		if err := t.do(`INSERT INTO quota (name, level, at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING`, name, q.Size, stamp(now)); err != nil {
			return err
		}
		var had, at int64
		if err := t.row(`SELECT level, at FROM quota WHERE name = ? /*lock*/`, name).Scan(&had, &at); err != nil {
			return err
		}
		now := now
		if now.IsZero() { // of the moment when it is our turn
			var micros int64
			if err := t.row(`SELECT /*clock*/ ?`, stamp(time.Now())).Scan(&micros); err != nil {
				return err
			}
			now = unstamp(micros)
		}
		if at == 0 {
			at = stamp(now)
		}
		left, since, n, w, err := q.Take(had, unstamp(at), now)
		if err != nil {
			return err
		}
		taken, wait = n, w
		return t.do(`UPDATE quota SET level = ?, at = ? WHERE name = ?`, left, stamp(since), name)
	})
	return taken, wait, err
}

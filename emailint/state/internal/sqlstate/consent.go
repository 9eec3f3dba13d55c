package sqlstate

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
)

// Whoever comes back from a provider has a key and no organisation, so consents are written without one. Each statement stands for itself: of two who
// take a consent one deletes it.

// AddConsent implements state.Consents.
func (s *Store) AddConsent(ctx context.Context, c state.Consent, now time.Time) error {
	return s.writeAnywhere(ctx, func(t *tx) error {
		if err := t.do(`DELETE FROM consent WHERE expires <= ?`, stamp(now)); err != nil {
			return err
		}
		return t.do(`INSERT INTO consent (key, org, owner, sealed, expires) VALUES (?, ?, ?, ?, ?)`, blob(c.Key), c.Org, c.User, c.Sealed, stamp(c.Expires))
	})
}

// Consent implements state.Consents.
func (s *Store) Consent(ctx context.Context, key state.Hash, now time.Time) (c state.Consent, err error) {
	err = s.read(ctx, func(t *tx) error {
		c = state.Consent{Key: key}
		var expires int64
		err := t.row(`SELECT org, owner, sealed, expires FROM consent WHERE key = ?`, blob(key)).Scan(&c.Org, &c.User, &c.Sealed, &expires)
		c.Expires = unstamp(expires)
		return notFound(err)
	})
	if err == nil && !c.Expires.After(now) {
		err = state.ErrNotFound
	}
	if err != nil {
		return state.Consent{}, err
	}
	return c, nil
}

// TakeConsent implements state.Consents. One whose time is over goes too.
func (s *Store) TakeConsent(ctx context.Context, key state.Hash, now time.Time) (c state.Consent, err error) {
	err = s.writeAnywhere(ctx, func(t *tx) error {
		c = state.Consent{Key: key}
		var expires int64
		err := t.row(`DELETE FROM consent WHERE key = ? RETURNING org, owner, sealed, expires`, blob(key)).Scan(&c.Org, &c.User, &c.Sealed, &expires)
		c.Expires = unstamp(expires)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return state.Consent{}, err
	case !c.Expires.After(now):
		return state.Consent{}, state.ErrNotFound
	}
	return c, nil
}

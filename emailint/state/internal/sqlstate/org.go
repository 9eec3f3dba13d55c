package sqlstate

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/intellicon/email-integration/emailint/state"
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
	err := s.write(ctx, org, func(t *tx) error {
		if err := t.do(`INSERT INTO org (id) VALUES (?) ON CONFLICT DO NOTHING`, org); err != nil {
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
		err = t.do(`UPDATE connection SET wake = wake + 1 WHERE org = ?`, org)
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

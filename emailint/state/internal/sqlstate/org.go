package sqlstate

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/intellicon/email-integration/emailint/state"
)

// Settings implements state.Organisations.
func (s *Store) Settings(ctx context.Context, org string) (out state.Settings, err error) {
	err = s.read(ctx, func(t *tx) error {
		out = state.Settings{}
		var b []byte
		err := t.row(`SELECT settings, version FROM org WHERE id = ?`, org).Scan(&b, &out.Version)
		out.Body = b
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		} else if err != nil {
			return err
		}
		secrets, err := list(t, scanSecret, `SELECT org, name, value FROM secret WHERE org = ? ORDER BY name`, org)
		if len(secrets) > 0 {
			out.Secrets = map[string][]byte{}
		}
		for _, x := range secrets {
			out.Secrets[x.Name] = x.Value
		}
		return err
	})
	return out, err
}

func scanSecret(s scanner) (x state.Sealed, err error) {
	x.Kind = kindSecret
	err = s.Scan(&x.Org, &x.Name, &x.Value)
	return x, err
}

// SaveSettings implements state.Organisations.
func (s *Store) SaveSettings(ctx context.Context, org string, to state.Settings, relink bool) (int64, error) {
	err := s.write(ctx, org, func(t *tx) error {
		if err := t.do(`INSERT INTO org (id) VALUES (?) ON CONFLICT DO NOTHING`, org); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE org SET settings = ?, version = version + 1, rules = CASE WHEN ? THEN version + 1 ELSE rules END
			WHERE id = ? AND version = ?`, []byte(to.Body), relink, org, to.Version)
		if err == nil && n == 0 {
			err = state.ErrStale
		}
		if err != nil {
			return err
		}
		if err := t.do(`DELETE FROM secret WHERE org = ?`, org); err != nil {
			return err
		}
		for name, value := range to.Secrets {
			if len(value) == 0 {
				continue
			}
			if err := t.do(`INSERT INTO secret (org, name, value) VALUES (?, ?, ?)`, org, name, value); err != nil {
				return err
			}
		}
		if !relink {
			return nil
		}
		return t.do(`UPDATE connection SET wake = wake + 1 WHERE org = ?`, org)
	})
	if err != nil {
		return 0, err
	}
	return to.Version + 1, nil
}

// UserSettings implements state.Organisations.
func (s *Store) UserSettings(ctx context.Context, org, user string) (settings json.RawMessage, version int64, err error) {
	err = s.read(ctx, func(t *tx) error {
		settings, version = nil, 0
		var b []byte
		err := t.row(`SELECT settings, version FROM user_settings WHERE org = ? AND owner = ?`, org, user).Scan(&b, &version)
		settings = b
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return settings, version, err
}

// SaveUserSettings implements state.Organisations.
func (s *Store) SaveUserSettings(ctx context.Context, org, user string, settings json.RawMessage, version int64) (int64, error) {
	err := s.write(ctx, org, func(t *tx) error {
		if err := t.do(`INSERT INTO user_settings (org, owner) VALUES (?, ?) ON CONFLICT DO NOTHING`, org, user); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE user_settings SET settings = ?, version = version + 1 WHERE org = ? AND owner = ? AND version = ?`,
			[]byte(settings), org, user, version)
		if err == nil && n == 0 {
			err = state.ErrStale
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return version + 1, nil
}

// EraseUserSettings implements state.Organisations.
func (s *Store) EraseUserSettings(ctx context.Context, org, user string) error {
	err := s.write(ctx, org, func(t *tx) error {
		return t.do(`DELETE FROM user_settings WHERE org = ? AND owner = ?`, org, user)
	})
	if err == nil {
		s.db.Erased(ctx)
	}
	return err
}

// ChangeNumber implements state.Organisations.
func (s *Store) ChangeNumber(ctx context.Context, org string) (n int64, err error) {
	err = s.read(ctx, func(t *tx) error {
		n, _, _, err = t.numbers(org)
		return err
	})
	return n, err
}

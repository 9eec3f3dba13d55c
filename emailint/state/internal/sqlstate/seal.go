package sqlstate

import (
	"context"
	"fmt"

	"github.com/intellicon/email-integration/emailint/state"
)

// The kinds of sealed values, in the order of Sealed.
const (
	kindCredential = "credential"
	kindEnvelope   = "envelope"
	kindSecret     = "secret"
)

// Sealed implements state.Seals.
func (s *Store) Sealed(ctx context.Context, prefix []byte, after *state.Sealed, limit int) (vs []state.Sealed, err error) {
	if len(prefix) == 0 || limit <= 0 {
		return nil, nil
	}
	var from state.Sealed
	if after != nil {
		from = *after
	}
	err = s.read(ctx, func(t *tx) error {
		vs = nil
		n := len(prefix)
		more := func(found []state.Sealed, err error) error {
			vs = append(vs, found...)
			return err
		}
		// A kind after that of from begins at its beginning.
		if from.Kind <= kindCredential {
			if err := more(list(t, func(s scanner) (v state.Sealed, err error) {
				v.Kind = kindCredential
				err = s.Scan(&v.Org, &v.ID, &v.User, &v.Provider, &v.Mailbox, &v.Value)
				return v, err
			}, `SELECT org, id, owner, provider, CASE WHEN subject <> '' THEN subject ELSE address END, credential FROM connection WHERE id > ? AND credential IS NOT NULL AND substr(credential, 1, ?) <> ?
				ORDER BY id LIMIT ?`, from.ID, n, prefix, limit)); err != nil {
				return err
			}
			from = state.Sealed{}
		}
		if from.Kind <= kindEnvelope && len(vs) < limit {
			if err := more(list(t, func(s scanner) (v state.Sealed, err error) {
				v.Kind = kindEnvelope
				var fingerprint []byte
				err = s.Scan(&v.Org, &v.ID, &fingerprint, &v.Value)
				v.Fingerprint = state.Hash(fingerprint)
				return v, err
			}, `SELECT org, id, fingerprint, envelope FROM email WHERE id > ? AND envelope IS NOT NULL AND substr(envelope, 1, ?) <> ? ORDER BY id LIMIT ?`,
				from.ID, n, prefix, limit-len(vs))); err != nil {
				return err
			}
			from = state.Sealed{}
		}
		if len(vs) < limit {
			return more(list(t, scanSecret, `SELECT org, name, value FROM secret WHERE (org, name) > (?, ?) AND substr(value, 1, ?) <> ? ORDER BY org, name LIMIT ?`,
				from.Org, from.Name, n, prefix, limit-len(vs)))
		}
		return nil
	})
	return vs, err
}

// Reseal implements state.Seals. Each organisation's values are a transaction, in the order of the first of them.
func (s *Store) Reseal(ctx context.Context, vs []state.Sealed) (replaced int, err error) {
	var orgs []string
	of := map[string][]state.Sealed{}
	for _, v := range vs {
		if len(v.New) == 0 {
			return 0, fmt.Errorf("state: resealing: a %s has no new value", v.Kind)
		}
		if of[v.Org] == nil {
			orgs = append(orgs, v.Org)
		}
		of[v.Org] = append(of[v.Org], v)
	}
	for _, org := range orgs {
		var n int
		err := s.write(ctx, org, func(t *tx) error {
			n = 0
			for _, v := range of[org] {
				k, err := t.reseal(v)
				if err != nil {
					return err
				}
				n += k
			}
			return nil
		})
		if err != nil {
			return replaced, err
		}
		replaced += n
	}
	return replaced, nil
}

func (t *tx) reseal(v state.Sealed) (int, error) {
	switch v.Kind {
	case kindCredential:
		return t.exec(`UPDATE connection SET credential = ? WHERE id = ? AND org = ? AND credential = ?`, v.New, v.ID, v.Org, v.Value)
	case kindEnvelope:
		return t.exec(`UPDATE email SET envelope = ? WHERE id = ? AND org = ? AND envelope = ?`, v.New, v.ID, v.Org, v.Value)
	case kindSecret:
		return t.exec(`UPDATE secret SET value = ? WHERE org = ? AND name = ? AND value = ?`, v.New, v.Org, v.Name, v.Value)
	}
	return 0, fmt.Errorf("state: resealing: %q is no kind of sealed value", v.Kind)
}

package emailint

import (
	"context"
	"errors"
	"fmt"

	"github.com/intellicon/email-integration/emailint/internal/seal"
	"github.com/intellicon/email-integration/emailint/state"
)

// Resealed says how far a rotation of keys is.
type Resealed struct {
	Done   int // values that are sealed by the first key now
	Unopen int // that no key of Options.Keys opens: they stay as they are
}

// Reseal seals anew, with the first of Options.Keys, what an older key sealed: credentials, envelopes, secrets in settings. It works in batches beside
// everything else, may be called again whenever it was cut short. Call it when every process has the new first key: when it returns without
// an error and Unopen is 0, nothing that is stored needs the older keys any more, but for sign-ins that were begun in the ten minutes before it, and
// what Adopt keeps of a mailbox that it could not open, for a week. A value
// that changes meanwhile is sealed by the first key anyway.
func (e *Engine) Reseal(ctx context.Context) (out Resealed, err error) {
	prefix := e.keys.Prefix()
	var after *state.Sealed
	for {
		batch, err := e.o.State.Sealed(ctx, prefix, after, resealAtOnce)
		if err != nil {
			return out, fmt.Errorf("emailint: re-sealing: %w", err)
		}
		if len(batch) == 0 {
			return out, nil
		}
		last := batch[len(batch)-1]
		after = &last
		var anew []state.Sealed
		for _, v := range batch {
			row := ""
			switch v.Kind {
			case "credential":
				row = credentialRow(v.Org, v.User, v.Provider, v.Mailbox)
			case "envelope":
				row = seal.EnvelopeRow(v.Org, string(v.Fingerprint))
			case "secret":
				row = secretRow(v.Org, v.Name)
			default:
				return out, fmt.Errorf("emailint: re-sealing: the state has a sealed %q, which this version does not know", v.Kind)
			}
			plain, err := e.keys.Open(v.Value, row)
			if errors.Is(err, seal.ErrSealed) {
				out.Unopen++
				continue
			}
			if err == nil {
				v.New, err = e.keys.Seal(plain, row)
			}
			if err != nil {
				return out, fmt.Errorf("emailint: re-sealing: %w", err)
			}
			anew = append(anew, v)
		}
		n, err := e.o.State.Reseal(ctx, anew)
		out.Done += n
		if err != nil {
			return out, fmt.Errorf("emailint: re-sealing: %w", err)
		}
	}
}

const resealAtOnce = 200

// KMS wraps keys by a key that never leaves it: a cloud's key management, a hardware module.
type KMS interface {
	Unwrap(ctx context.Context, wrapped []byte) (key []byte, err error)
}

// WrappedKey is a Key whose secret is wrapped by a KMS: what a host may keep beside its database.
type WrappedKey struct {
	ID      string
	Wrapped []byte
}

// UnwrapKeys returns keys for Options.Keys, in the same order. Secrets are in memory alone.
func UnwrapKeys(ctx context.Context, kms KMS, keys ...WrappedKey) (out []Key, err error) {
	for _, k := range keys {
		secret, err := kms.Unwrap(ctx, k.Wrapped)
		if err != nil {
			return nil, fmt.Errorf("emailint: unwrapping key %s: %w", k.ID, err)
		}
		out = append(out, Key{ID: k.ID, Secret: secret})
	}
	return out, nil
}

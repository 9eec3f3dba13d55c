package emailint

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/signature"
)

// UserSettings are what a user sets for themselves.
type UserSettings struct {
	// Signature is the user's own, in place of the organisation's where that allows it; "": the organisation's. It stays stored while it is not allowed.
	Signature string `json:"signature"`
}

// SignatureValues is what a CRMStore may have besides: it knows the values of a signature.
type SignatureValues interface {
	// SignatureValues returns what stands in the signature of a user. What is empty goes away with its line.
	SignatureValues(ctx context.Context, org, user string) (signature.Values, error)
}

// UserSettings returns a user's settings and their version, 0 when they have saved none.
func (e *Engine) UserSettings(ctx context.Context, org, user string) (s UserSettings, version int64, err error) {
	raw, version, err := e.o.State.UserSettings(ctx, org, user)
	if err == nil && version > 0 {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return s, 0, fmt.Errorf("emailint: settings of user %s: %w", user, err)
	}
	return s, version, nil
}

// SetUserSettings replaces a user's settings if version is still the stored one. Every wrong field is named in one error.
func (e *Engine) SetUserSettings(ctx context.Context, org, user string, s UserSettings, version int64) (int64, error) {
	v := &validator{}
	v.signature("signature", s.Signature)
	if err := errors.Join(v.errs...); err != nil {
		return 0, fmt.Errorf("emailint: settings of user %s: %w", user, err)
	}
	if s.Signature != "" {
		whole, _, err := e.settings(ctx, org)
		if err != nil {
			return 0, err
		}
		if !whole.Signature.AllowOverride {
			return 0, fmt.Errorf("emailint: settings of user %s: %w", user, &FieldError{Field: "signature", Problem: "the organisation has one signature for all, and allows no other"})
		}
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return 0, err
	}
	n, err := e.o.State.SaveUserSettings(ctx, org, user, raw, version)
	if errors.Is(err, state.ErrStale) {
		return 0, fmt.Errorf("emailint: settings of user %s were changed by somebody else, read them again: %w", user, err)
	}
	if err != nil {
		return 0, fmt.Errorf("emailint: settings of user %s: %w", user, err)
	}
	return n, nil
}

// EraseUserSettings erases what a user set for themselves, and that they did: for a person who leaves. The organisation's signature is theirs again.
func (e *Engine) EraseUserSettings(ctx context.Context, org, user string) error {
	if err := e.o.State.EraseUserSettings(ctx, org, user); err != nil {
		return fmt.Errorf("emailint: erasing the settings of user %s: %w", user, err)
	}
	return nil
}

// Signature is a rendered signature. signature.AppendHTML and AppendText put it into a mail, once and above the quoted reply.
type Signature struct {
	HTML, Text string
	Own        bool // it is the user's, not the organisation's
}

// Signature renders the signature of a user's mail: their own while the organisation allows it, or else the organisation's; zero where there is none.
// The values come from the host's SignatureValues; without, the user's address alone is known.
func (e *Engine) Signature(ctx context.Context, org, user string) (Signature, error) {
	s, _, err := e.settings(ctx, org)
	if err != nil {
		return Signature{}, err
	}
	mine, _, err := e.UserSettings(ctx, org, user)
	if err != nil {
		return Signature{}, err
	}
	own := s.Signature.AllowOverride && mine.Signature != ""
	if !own {
		mine.Signature = s.Signature.HTML
	}
	out, err := e.PreviewSignature(ctx, org, user, mine.Signature)
	out.Own = own
	return out, err
}

// PreviewSignature renders a template that is not saved, as it would be for a user. What is wrong with it is named, each as a *FieldError.
func (e *Engine) PreviewSignature(ctx context.Context, org, user, html string) (Signature, error) {
	v := &validator{}
	if v.signature("html", html); len(v.errs) > 0 {
		return Signature{}, fmt.Errorf("emailint: signature: %w", errors.Join(v.errs...))
	}
	t, err := signature.Parse(html)
	if err != nil {
		return Signature{}, fmt.Errorf("emailint: signature: %w", err)
	}
	var values signature.Values
	if host, ok := power.Of[SignatureValues](e.o.CRM); ok {
		if values, err = host.SignatureValues(ctx, org, user); err != nil {
			return Signature{}, fmt.Errorf("emailint: the values of user %s's signature: %w", user, err)
		}
	}
	conns, err := e.o.State.Connections(ctx, org)
	if err != nil {
		return Signature{}, fmt.Errorf("emailint: signature: %w", err)
	}
	for _, c := range conns {
		if c.User == user && c.State != state.Erasing {
			values.UserEmail = cmp.Or(values.UserEmail, c.Address)
		}
	}
	var out Signature
	out.HTML, out.Text = t.Render(values)
	return out, nil
}

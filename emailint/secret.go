package emailint

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// Secret is a client secret or a password in Settings. It prints as "redacted", in logs as well, and in JSON it is SecretSet or "": a settings page
// can be filled with it. Only the engine stores it, sealed.
type Secret string

// SecretSet stands in JSON for a secret that is there. A form that sends it back, or a blank field, changes nothing.
const SecretSet = "********"

// Format implements fmt.Formatter for every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.masked("redacted")) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.masked("redacted")) }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.masked(SecretSet)) }

func (s Secret) masked(as string) string {
	if s == "" {
		return ""
	}
	return as
}

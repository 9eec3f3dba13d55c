package seal

import (
	"encoding/json"
	"fmt"

	"github.com/intellicon/email-integration/message"
)

// EnvelopeRow is what envelopes of an organisation are bound to.
func EnvelopeRow(org string) string { return "envelope/" + org }

// SealEnvelope seals the header of a linked mail for its organisation. It also returns the plain bytes, by which two seals
// of one envelope are known to be equal.
func (r *Keyring) SealEnvelope(org string, e message.Envelope) (sealed, plain []byte, err error) {
	if plain, err = json.Marshal(e); err != nil {
		return nil, nil, err
	}
	sealed, err = r.Seal(plain, EnvelopeRow(org))
	return sealed, plain, err
}

// OpenEnvelope opens what SealEnvelope made.
func (r *Keyring) OpenEnvelope(org string, sealed []byte) (e message.Envelope, err error) {
	plain, err := r.Open(sealed, EnvelopeRow(org))
	if err != nil {
		return e, fmt.Errorf("opening an envelope: %w", err)
	}
	if err := json.Unmarshal(plain, &e); err != nil {
		return e, fmt.Errorf("reading an envelope: %w", err)
	}
	return e, nil
}

package seal

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/intellicon/email-integration/message"
)

// EnvelopeRow is what an envelope is bound to: its organisation and its mail. An Email keeps its fingerprint, whatever other ids it comes by.
func EnvelopeRow(org, fingerprint string) string {
	return "envelope/" + org + "/" + hex.EncodeToString([]byte(fingerprint))
}

// SealEnvelope seals the header of a linked mail for its organisation. It also returns the plain bytes, by which two seals
// of one envelope are known to be equal.
func (r *Keyring) SealEnvelope(org, fingerprint string, e message.Envelope) (sealed, plain []byte, err error) {
	if plain, err = json.Marshal(e); err != nil {
		return nil, nil, err
	}
	sealed, err = r.Seal(plain, EnvelopeRow(org, fingerprint))
	return sealed, plain, err
}

// OpenEnvelope opens what SealEnvelope made.
func (r *Keyring) OpenEnvelope(org, fingerprint string, sealed []byte) (e message.Envelope, err error) {
	plain, err := r.Open(sealed, EnvelopeRow(org, fingerprint))
	if err != nil {
		return e, fmt.Errorf("opening an envelope: %w", err)
	}
	if err := json.Unmarshal(plain, &e); err != nil {
		return e, fmt.Errorf("reading an envelope: %w", err)
	}
	return e, nil
}

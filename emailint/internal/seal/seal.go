// Package seal encrypts what must not be readable in a stolen database: credentials and envelopes.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Keyring seals with its first key and opens with any. Safe for concurrent use.
type Keyring struct {
	first string
	keys  map[string]cipher.AEAD
}

// Key is an AES-256 key with the id that sealed values carry.
type Key struct {
	ID     string // 1 to 32 of a-z A-Z 0-9 - _
	Secret []byte // 32 bytes
}

// Format implements fmt.Formatter for every verb: a key does not print.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "key ", k.ID) }

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue("key " + k.ID) }

// MarshalJSON implements json.Marshaler: a key does not stand in JSON.
func (k Key) MarshalJSON() ([]byte, error) { return json.Marshal("key " + k.ID) }

// New returns a keyring; the first key seals, the others only open what they sealed before a rotation.
func New(keys ...Key) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("no sealing key: pass at least one of 32 random bytes")
	}
	r := &Keyring{first: keys[0].ID, keys: map[string]cipher.AEAD{}}
	for i, k := range keys {
		if k.ID == "" || len(k.ID) > 32 || strings.Trim(k.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return nil, fmt.Errorf("sealing key %d: id %q must be 1 to 32 letters, digits, - or _", i, k.ID)
		}
		if len(k.Secret) != 32 {
			return nil, fmt.Errorf("sealing key %q has %d bytes, AES-256 needs 32", k.ID, len(k.Secret))
		}
		if _, twice := r.keys[k.ID]; twice {
			return nil, fmt.Errorf("sealing key id %q stands twice", k.ID)
		}
		block, err := aes.NewCipher(k.Secret)
		if err != nil {
			return nil, err
		}
		if r.keys[k.ID], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Prefix is how everything begins that the first key sealed.
func (r *Keyring) Prefix() []byte { return []byte(r.first + ":") }

// Seal encrypts plain and binds it to the row: opening needs the same row.
func (r *Keyring) Seal(plain []byte, row string) ([]byte, error) {
	aead := r.keys[r.first]
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	out := append([]byte(r.first+":"), nonce...)
	return aead.Seal(out, nonce, plain, []byte(r.first+"\x00"+row)), nil
}

// ErrSealed means that a value can't be opened: another row's, altered, or sealed by a key that is not in the ring.
var ErrSealed = errors.New("sealed value does not open")

// Open decrypts what Seal made for the same row.
func (r *Keyring) Open(sealed []byte, row string) ([]byte, error) {
	id, rest, ok := strings.Cut(string(sealed), ":")
	if !ok {
		return nil, fmt.Errorf("%w: it has no key id", ErrSealed)
	}
	aead := r.keys[id]
	if aead == nil {
		return nil, fmt.Errorf("%w: its key %s is not in the keyring", ErrSealed, hex.EncodeToString([]byte(id))[:min(16, 2*len(id))])
	}
	if len(rest) < aead.NonceSize() {
		return nil, fmt.Errorf("%w: it is cut short", ErrSealed)
	}
	plain, err := aead.Open(nil, []byte(rest[:aead.NonceSize()]), []byte(rest[aead.NonceSize():]), []byte(id+"\x00"+row))
	if err != nil {
		return nil, fmt.Errorf("%w: it was altered or belongs to another row", ErrSealed)
	}
	return plain, nil
}

// Package ident makes the keyed hashes by which the ledger recognises mail whose content it doesn't keep: Message-IDs,
// participants and the fingerprint of a header. Pseudonymous, not anonymous: whoever has the key can test a guess.
package ident

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// Size is the length of a hash in bytes: 96 bits, so that two mails of a billion collide with a chance below 1e-10.
const Size = 12

// Hasher hashes for one organisation. Safe for concurrent use.
type Hasher struct {
	macs sync.Pool // a mail has ten hashes, and a new HMAC costs as much as using one
}

// New returns the hasher of an organisation, derived from the index key, so that equal mail in two organisations has
// unequal hashes.
func New(indexKey []byte, org string) (*Hasher, error) {
	if len(indexKey) < 32 {
		return nil, fmt.Errorf("index key has %d bytes, it needs at least 32", len(indexKey))
	}
	m := hmac.New(sha256.New, indexKey)
	m.Write([]byte("emailint ident v1\x00" + org))
	key := m.Sum(nil)
	return &Hasher{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}, nil
}

func (h *Hasher) sum(domain, s string) []byte {
	m := h.macs.Get().(hash.Hash)
	defer h.macs.Put(m)
	m.Reset()
	m.Write([]byte(domain))
	m.Write([]byte{0})
	m.Write([]byte(s))
	return m.Sum(nil)[:Size]
}

// MessageID hashes a Message-ID without angle brackets.
func (h *Hasher) MessageID(id string) []byte { return h.sum("id", id) }

// Key hashes an address or a domain.
func (h *Hasher) Key(k message.Key) []byte { return h.sum("key", string(k)) }

// Fingerprint hashes the header fields that are equal in every copy of a message: who wrote it, when and about what. Nil
// when too little is known to tell two messages apart.
func (h *Hasher) Fingerprint(e *message.Envelope) []byte {
	const need = message.HasParticipants | message.HasSubject | message.HasDate
	if e.Has&need != need || e.Date.IsZero() || len(e.From) == 0 {
		return nil
	}
	var b strings.Builder
	for _, a := range e.From {
		b.WriteString(string(a.Key) + "\n")
	}
	b.WriteString(strconv.FormatInt(e.Date.Unix(), 10) + "\n" + strings.Join(strings.Fields(e.Subject), " "))
	return h.sum("fingerprint", b.String())
}

// Participants hashes everything by which a change may concern the message: each address in every form under which a record may hold it, and
// each host level up to the registrable domain. Own people are among them: whose address is an own one changes too.
func (h *Hasher) Participants(e *message.Envelope) [][]byte {
	seen := map[message.Key]bool{}
	var out [][]byte
	add := func(k message.Key) {
		if k != "" && !seen[k] {
			seen[k] = true
			out = append(out, h.Key(k))
		}
	}
	for _, list := range [][]message.Address{e.From, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		for _, a := range list {
			if a.Key == "" {
				continue
			}
			for _, k := range linker.Forms(a.Key) {
				add(k)
			}
			for _, d := range Hosts(a.Key.Domain()) {
				add(d)
			}
		}
	}
	return out
}

// Hosts returns a domain and its parents up to the registrable one, longest first.
func Hosts(domain message.Key) []message.Key {
	top, err := publicsuffix.EffectiveTLDPlusOne(string(domain))
	if err != nil {
		return []message.Key{domain}
	}
	out := []message.Key{domain}
	for string(domain) != top {
		_, rest, ok := strings.Cut(string(domain), ".")
		if !ok {
			break
		}
		domain = message.Key(rest)
		out = append(out, domain)
	}
	return out
}

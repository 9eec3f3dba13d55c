// Package notice reads the notifications that Graph sends, and tells Graph's from others' (facts 2.4). It knows no mailbox.
//
// Basic notifications are not signed: the clientState that was given when the subscription was made is the only evidence. It is a nonce and a MAC over
// it by a key of the host's, so that it is checked without a database. The handle of a subscription, which the engine stores, is its id, the nonce, and
// a mark of the key and the addresses it was made with: whoever sends a right clientState with another's subscription id names no handle that is stored.
package notice

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MinKey is the shortest key that is taken, in bytes.
const MinKey = 16

// Events of the life of a subscription (facts 2.4).
const (
	Reauthorize = "reauthorizationRequired"
	Removed     = "subscriptionRemoved"
	Missed      = "missed"
)

// Keeper makes and checks clientStates. Safe for concurrent use.
type Keeper struct {
	key  []byte
	mark string // of the key and of where Graph sends to
}

// NewKeeper returns the keeper of a key, for subscriptions that send to url.
func NewKeeper(key []byte, url string) (*Keeper, error) {
	if len(key) < MinKey {
		return nil, fmt.Errorf("the key has %d bytes, it needs at least %d", len(key), MinKey)
	}
	k := &Keeper{key: key}
	k.mark = base64.RawURLEncoding.EncodeToString(k.mac("place", url)[:6])
	return k, nil
}

func (k *Keeper) mac(domain, s string) []byte {
	m := hmac.New(sha256.New, k.key)
	m.Write([]byte("emailint graph " + domain + "\x00" + s))
	return m.Sum(nil)
}

// Nonce returns a new one.
func (k *Keeper) Nonce() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// State is the clientState of a nonce: 66 characters (facts 2.4: at most 128).
func (k *Keeper) State(nonce string) string {
	return nonce + "." + base64.RawURLEncoding.EncodeToString(k.mac("state", nonce))
}

// Check returns the nonce of a clientState that is ours. It takes the same time for every wrong one of a length.
func (k *Keeper) Check(state string) (nonce string, ok bool) {
	if len(state) > 128 {
		return "", false
	}
	nonce, _, _ = strings.Cut(state, ".")
	return nonce, hmac.Equal([]byte(state), []byte(k.State(nonce)))
}

// Handle names a subscription, as it is stored.
func (k *Keeper) Handle(id, nonce string) []byte { return []byte(id + " " + nonce + " " + k.mark) }

// Subscription returns the id in a handle, and whether the subscription was made with this key and address: it is made anew where it wasn't.
func (k *Keeper) Subscription(handle []byte) (id string, ours bool) {
	f := strings.Split(string(handle), " ")
	if len(f) != 3 {
		return "", false
	}
	return f[0], f[2] == k.mark
}

// Notice is a notification that is Graph's.
type Notice struct {
	Handle []byte
	Event  string // of the subscription's life; "": something happened in the mailbox
}

// ErrForged means that nothing in a post is Graph's.
var ErrForged = errors.New("no notification has a clientState of ours")

// Read reads the body of a post. Facts 2.4: "One POST may contain many notifications for many subscriptions". Those that are not ours are passed over:
// they may be of subscriptions that were made with another key. Each handle is told once for an event.
func (k *Keeper) Read(r io.Reader) ([]Notice, error) {
	var post struct {
		Value []struct {
			SubscriptionID string `json:"subscriptionId"`
			ClientState    string `json:"clientState"`
			LifecycleEvent string `json:"lifecycleEvent"`
		} `json:"value"`
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(body, &post) != nil {
		return nil, fmt.Errorf("%w: it is no JSON of a notification", ErrForged)
	}
	seen := map[string]bool{}
	var out []Notice
	for _, n := range post.Value {
		nonce, ok := k.Check(n.ClientState)
		if !ok || n.SubscriptionID == "" || strings.ContainsAny(n.SubscriptionID, " \t\r\n") {
			continue
		}
		it := Notice{Handle: k.Handle(n.SubscriptionID, nonce), Event: n.LifecycleEvent}
		if key := string(it.Handle) + " " + it.Event; !seen[key] {
			seen[key] = true
			out = append(out, it)
		}
	}
	if len(out) == 0 {
		return nil, ErrForged
	}
	return out, nil
}

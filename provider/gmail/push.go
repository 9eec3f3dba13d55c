package gmail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

const (
	googleIssuer = "https://accounts.google.com"
	googleKeys   = "https://www.googleapis.com/oauth2/v3/certs" // "jwks_uri" of Google's OpenID configuration
)

// maxPushToken bounds a token; Google's have about a kilobyte.
const maxPushToken = 16 << 10

// pushes verifies who sends notifications.
type pushes struct {
	verifier *oidc.IDTokenVerifier
	refuse   string // why every notification is refused, "" where none is for that
}

func newPushes(o *Options) *pushes {
	if o.PushAudience == "" || o.PushAccount == "" {
		return &pushes{refuse: "Options.PushAudience and Options.PushAccount are not set, so that anybody could send them (docs/setup-google.md, \"Push\")"}
	}
	u, err := url.Parse(o.KeysURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && !loopback(u.Hostname()) {
		return &pushes{refuse: "Options.KeysURL is neither https nor on this machine"}
	}
	base := o.HTTPClient.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	// Pub/Sub waits for ten seconds (facts 1.3), and the keys are asked for once in a while.
	client := &http.Client{Transport: &keyCache{base: base, now: o.Now}, Timeout: 5 * time.Second}
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), client), o.KeysURL)
	return &pushes{verifier: oidc.NewVerifier(googleIssuer, keySet{keys},
		&oidc.Config{ClientID: o.PushAudience, SupportedSigningAlgs: []string{oidc.RS256}, Now: o.Now})}
}

// Push implements provider.Pusher: it reads a notification that Pub/Sub posts for users.watch. Facts 1.3 say what makes it Google's: a token that is signed by Google's
// keys, of Google as issuer, for Options.PushAudience, of Options.PushAccount, whose address is verified. Without these two options every notification is
// refused. A notification names a mailbox; its history id is not where to go on from, and unused. One that is sent again does no harm.
func (p *Provider) Push(r *http.Request) (provider.Pushed, error) {
	if err := p.pushes.verify(r, &p.o); err != nil {
		return provider.Pushed{}, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return provider.Pushed{}, fmt.Errorf("gmail: reading a notification: %w", err)
	}
	var out provider.Pushed
	// What is none would come again for a week, and mean as little.
	if a := pushedAddress(body); a != "" {
		out.News = []provider.News{{Address: a}}
	}
	return out, nil
}

// pushedAddress is whose mailbox a notification is about, "" when it doesn't say. Facts 1.3: data is base64, be it the standard one or that for URLs,
// of JSON.
func pushedAddress(body []byte) string {
	var envelope struct {
		Message struct {
			Data string `json:"data"`
		} `json:"message"`
	}
	if json.Unmarshal(body, &envelope) != nil || envelope.Message.Data == "" {
		return ""
	}
	data, err := decode(envelope.Message.Data)
	var told struct {
		EmailAddress string          `json:"emailAddress"`
		HistoryID    json.RawMessage `json:"historyId"` // a number or a string
	}
	if err != nil || json.Unmarshal(data, &told) != nil || message.AddressKey(told.EmailAddress) == "" {
		return ""
	}
	return told.EmailAddress
}

// short bounds what strangers write into logs.
func short(s string) string {
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}

func forged(format string, args ...any) error {
	return fmt.Errorf("gmail: %s: %w", fmt.Sprintf(format, args...), provider.ErrForged)
}

// verify reports who did not send a request: provider.ErrForged, or that it can't be told now.
func (v *pushes) verify(r *http.Request, o *Options) error {
	if v.refuse != "" {
		return forged("notifications are refused: %s", v.refuse)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return forged("a notification has no token: make the push subscription sign (docs/setup-google.md, \"Push\")")
	}
	if len(token) > maxPushToken {
		return forged("a notification's token is too long")
	}
	var trouble error
	got, err := v.verifier.Verify(context.WithValue(r.Context(), troubleKey{}, &trouble), token)
	switch {
	case trouble != nil:
		return fmt.Errorf("gmail: Google's keys can't be had, by which notifications are verified: %w", trouble)
	case err != nil:
		return forged("a notification's token does not hold (%s)", short(strings.TrimPrefix(err.Error(), "oidc: ")))
	case len(got.Audience) != 1 || got.Audience[0] != o.PushAudience:
		return forged("a notification's token is for others as well")
	}
	var who struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	switch err := got.Claims(&who); {
	case err != nil:
		return forged("a notification's token is no push subscription's")
	case who.Email != o.PushAccount:
		return forged("a notification is of %q and not of Options.PushAccount (docs/setup-google.md, \"Push\")", short(who.Email))
	case !who.Verified:
		return forged("the address of a notification's service account is not verified")
	}
	return nil
}

// troubleKey is that of the place in a context where keySet says that it is not the token's fault.
type troubleKey struct{}

// keySet tells keys that can't be had from a signature that does not hold, which go-oidc makes one text.
type keySet struct{ *oidc.RemoteKeySet }

// VerifySignature implements oidc.KeySet.
func (k keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	b, err := k.RemoteKeySet.VerifySignature(ctx, token)
	var keys *keysError
	if at, ok := ctx.Value(troubleKey{}).(*error); ok && (errors.As(err, &keys) || ctx.Err() != nil) {
		*at = err
	}
	return b, err
}

// keysError is why the keys can't be had.
type keysError struct{ err error }

func (e *keysError) Error() string { return e.err.Error() }
func (e *keysError) Unwrap() error { return e.err }

// keyAge is how long the answer with the keys is good for whoever asks again. A token with a key that is not among them makes go-oidc ask, and anybody
// can send one.
const keyAge = time.Minute

// keyCache fetches one address, and remembers for a moment what came.
type keyCache struct {
	base http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex // guards what follows; held while it fetches
	body []byte
	at   time.Time
}

// RoundTrip implements http.RoundTripper.
func (c *keyCache) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.body == nil || now.Sub(c.at) >= keyAge || now.Before(c.at) {
		body, err := c.fetch(r)
		if err != nil {
			return nil, &keysError{err}
		}
		c.body, c.at = body, now
	}
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)), Request: r}, nil
}

func (c *keyCache) fetch(r *http.Request) ([]byte, error) {
	resp, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &set) != nil || len(set.Keys) == 0 {
		return nil, fmt.Errorf("the answer is %s and no set of keys", resp.Status)
	}
	return body, nil
}

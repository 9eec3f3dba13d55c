package provider

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/oauth2"
)

// OAuthApp is a registration of the host's at a service, as OAuth needs it (RFC 6749, 2). It does not print its secret.
type OAuthApp struct {
	ClientID     string
	ClientSecret string `json:"-"`
	Tenant       string // Microsoft: "common" where it is empty
	RedirectURI  string // sent exactly as it is
}

// Format implements fmt.Formatter for every verb, and leaves the secret out.
func (a OAuthApp) Format(f fmt.State, _ rune) { fmt.Fprint(f, a.ClientID) }

// LogValue implements slog.LogValuer.
func (a OAuthApp) LogValue() slog.Value { return slog.StringValue(a.ClientID) }

// OAuthScope is something that an app asks a person's leave for.
type OAuthScope struct {
	Name string
	// For says what can't be done without it, to stand behind "can't": "read and archive mail".
	For string
	// Optional: without it the mailbox is connected all the same.
	Optional bool
	// By are wider scopes that give it as well.
	By []string
}

// OAuth says how people sign in to a service for an app: authorization code with PKCE (RFC 6749, 4.1; RFC 7636).
type OAuth struct {
	Endpoint oauth2.Endpoint // with an AuthStyle: trying them out sends the secret twice
	Scopes   []OAuthScope
	Params   map[string]string // further ones of the consent URL: access_type, prompt
	Revoke   string            // RFC 7009; "": the service has none
}

// Authorizer is a Provider whose users sign in by OAuth. The engine has the consent, keeps and refreshes the tokens, and opens mailboxes
// with them; Open is not used then.
type Authorizer interface {
	Provider
	// OAuth says how people sign in for an app.
	OAuth(app OAuthApp) OAuth
	// OpenToken opens the mailbox of whoever gave the tokens. The source is safe for concurrent use and refreshes by itself; its errors are
	// returned as they are. Tokens go to the service's own host only.
	OpenToken(ctx context.Context, tokens oauth2.TokenSource) (Mailbox, error)
	// Subject is the stable id of the person, from the answer to the exchange (OpenID Connect's id_token, taken from the token endpoint over TLS,
	// needs no signature: OpenID Connect Core, 3.1.3.7). "" where the service doesn't tell; then Profile's counts.
	Subject(t *oauth2.Token) (string, error)
	// Refusal says what an error of the consent page or the token endpoint means, by its OAuth code and description; nil: what the code says
	// by RFC 6749.
	Refusal(code, description string) *NeedsAction
}

// Watch is what a service was asked for: to tell of news of a mailbox, for a time.
type Watch struct {
	// Handle names it, where it is one of several and ends by itself; nil where the service has one for a person and app. It is stored as it is: no secret.
	Handle  []byte
	Expires time.Time
}

// Watcher is an Authorizer whose service can be asked to tell of news (users.watch at Gmail, subscriptions at Graph). Where it tells, and how that is
// authenticated, is the provider's; whoever hears of news calls Engine.Wake. Both calls may be repeated, and a mailbox need not be open for them.
type Watcher interface {
	Authorizer
	// Watch begins, or goes on: had is the handle of the last one, which may have ended. It is made anew then, and where tokens are another consent's.
	Watch(ctx context.Context, tokens oauth2.TokenSource, had []byte) (Watch, error)
	// Unwatch ends it. One that has ended is no error.
	Unwatch(ctx context.Context, tokens oauth2.TokenSource, handle []byte) error
}

// RefuseToken tells a token source that the service did not take an access token though its time isn't over, and reports whether the source will have
// another the next time. The engine's sources will: a provider that is answered 401 asks once more (Gmail: "refresh once, then re-auth").
func RefuseToken(tokens oauth2.TokenSource, access string) bool {
	r, ok := tokens.(interface{ Refuse(access string) })
	if ok {
		r.Refuse(access)
	}
	return ok
}

// AppOf is the client id of the app to which the tokens of a source were given, "" where the source doesn't tell: quotas are the app's.
func AppOf(tokens oauth2.TokenSource) string {
	if a, ok := tokens.(interface{ App() string }); ok {
		return a.App()
	}
	return ""
}

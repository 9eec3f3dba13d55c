// Package token keeps the OAuth tokens of connections: sealed in the state, refreshed by one worker at a time in whatever process, and told apart when
// they can't be: the person must sign in again, the operator's app is wrong, or it will pass.
package token

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// Grant is the credential of a connection that was made by OAuth, as it is sealed.
type Grant struct {
	Refresh string    `json:"refresh_token"`
	Access  string    `json:"access_token,omitempty"`
	Expiry  time.Time `json:"expiry,omitzero"` // of Access
	Type    string    `json:"token_type,omitempty"`
	Scopes  []string  `json:"scopes,omitempty"`
	Client  string    `json:"client_id"` // the app that it was given to: no other can refresh it
}

// Format implements fmt.Formatter for every verb: a grant does not print.
func (g Grant) Format(f fmt.State, _ rune) { fmt.Fprint(f, "grant of ", g.Client) }

// Of makes a grant of the answer of a token endpoint. Where it has no new refresh token the former one stays (RFC 6749, 6), and so do the scopes
// where it names none (RFC 6749, 5.1).
func Of(t *oauth2.Token, client string, now time.Time, former Grant) Grant {
	g := Grant{Refresh: cmp.Or(t.RefreshToken, former.Refresh), Access: t.AccessToken, Type: t.TokenType, Client: client, Scopes: former.Scopes}
	if !t.Expiry.IsZero() { // x/oauth2 counts from the wall clock, and the answer is but a moment old
		g.Expiry = now.Add(time.Until(t.Expiry))
	}
	if granted, ok := t.Extra("scope").(string); ok && granted != "" {
		g.Scopes = strings.Fields(granted)
	}
	return g
}

func (g Grant) token() *oauth2.Token {
	return &oauth2.Token{AccessToken: g.Access, TokenType: g.Type}
}

// early is how long before its end a token is not used any more: a call takes its time.
const early = 2 * time.Minute

func (g Grant) fresh(now time.Time) bool {
	return g.Access != "" && (g.Expiry.IsZero() || g.Expiry.Sub(now) > early)
}

// Store is the part of the state that tokens need.
type Store interface {
	Connection(ctx context.Context, org string, id int64) (state.Connection, error)
	ClaimRefresh(ctx context.Context, org string, id int64, worker string, now time.Time, ttl time.Duration) (state.Connection, error)
	EndRefresh(ctx context.Context, org string, id int64, worker string) error
	SetCredential(ctx context.Context, org string, id int64, version int64, sealed []byte) (int64, error)
}

// Keeper has the tokens of one process. Safe for concurrent use.
type Keeper struct {
	Store  Store
	Worker string
	Now    func() time.Time
	HTTP   *http.Client
	// Open and Seal are for the credential of a connection.
	Open func(state.Connection) (Grant, error)
	Seal func(state.Connection, Grant) ([]byte, error)
	// App returns how a connection's people sign in, and for which app.
	App func(ctx context.Context, c state.Connection) (provider.OAuth, provider.OAuthApp, error)
	// Refusal is the provider's word on an error of the token endpoint; nil or a nil answer: RFC 6749's.
	Refusal func(c state.Connection, code, description string) *provider.NeedsAction
	// Observing: this installation refreshes nothing.
	Observing func(context.Context) error

	mu   sync.Mutex // guards held
	held map[int64]*source
}

// patience is how long a refresh may take: after that another worker may try.
const patience = time.Minute

// pause is how often somebody looks who waits for another's refresh.
const pause = 250 * time.Millisecond

// Source returns the tokens of a connection. The context is that of the calls to come, and must live as long as the source is used.
func (k *Keeper) Source(ctx context.Context, c state.Connection) oauth2.TokenSource {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == nil {
		k.held = map[int64]*source{}
	}
	s := k.held[c.ID]
	if s == nil || s.org != c.Org {
		s = &source{keeper: k, org: c.Org, id: c.ID, turn: make(chan struct{}, 1)}
		k.held[c.ID] = s
	}
	return bound{ctx, s, c.CredentialVersion, c.Client}
}

// Forget drops what is known of a connection that ended.
func (k *Keeper) Forget(id int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, id)
}

// bound is a source for the calls of one context. least is the version of the credential with which it was asked for: what is older was replaced.
type bound struct {
	ctx   context.Context
	s     *source
	least int64
	app   string
}

// Token implements oauth2.TokenSource.
func (b bound) Token() (*oauth2.Token, error) { return b.s.token(b.ctx, b.least) }

// App is for provider.AppOf.
func (b bound) App() string { return b.app }

// Given is a source that has one token, as an app was given it a moment ago.
func Given(t *oauth2.Token, client string) oauth2.TokenSource {
	return given{oauth2.StaticTokenSource(t), client}
}

type given struct {
	oauth2.TokenSource
	app string
}

// App is for provider.AppOf.
func (g given) App() string { return g.app }

// Refuse is for provider.RefuseToken.
func (b bound) Refuse(access string) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.refused = access
}

// source is one connection's tokens in this process. turn is held by whoever reads or writes the rest.
type source struct {
	keeper  *Keeper
	org     string
	id      int64
	turn    chan struct{}
	version int64
	grant   Grant
	unsaved state.Connection // grant could not be stored in it, and what is stored may be worth nothing any more; zero: all is stored

	mu      sync.Mutex // guards refused
	refused string     // an access token that the service took no more
}

// fresh reports whether the grant's access token is good for a call.
func (s *source) fresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant.fresh(s.keeper.Now()) && s.grant.Access != s.refused
}

func (s *source) token(ctx context.Context, least int64) (*oauth2.Token, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	k := s.keeper
	if s.unsaved.ID != 0 {
		if err := s.save(ctx, s.unsaved); err != nil && !errors.Is(err, state.ErrStale) {
			return nil, err
		}
	}
	if s.version > 0 && s.version >= least && s.fresh() {
		return s.grant.token(), nil
	}
	for {
		// Another process may have refreshed it.
		c, err := k.Store.Connection(ctx, s.org, s.id)
		if err == nil {
			err = s.read(c)
		}
		if err != nil {
			return nil, err
		}
		if s.fresh() {
			return s.grant.token(), nil
		}
		if k.Observing != nil {
			if err := k.Observing(ctx); err != nil {
				return nil, err
			}
		}
		c, err = k.Store.ClaimRefresh(ctx, s.org, s.id, k.Worker, k.Now(), patience)
		if errors.Is(err, state.ErrNoneDue) {
			wait := time.NewTimer(pause)
			select {
			case <-wait.C:
				continue
			case <-ctx.Done():
				wait.Stop()
				return nil, ctx.Err()
			}
		}
		if err != nil {
			return nil, err
		}
		// As it is now that nobody else refreshes.
		if err := s.read(c); err != nil {
			return nil, errors.Join(err, k.Store.EndRefresh(context.WithoutCancel(ctx), s.org, s.id, k.Worker))
		}
		if s.fresh() {
			return s.grant.token(), k.Store.EndRefresh(context.WithoutCancel(ctx), s.org, s.id, k.Worker)
		}
		switch err := s.refresh(ctx, c); {
		case err != nil && s.replaced(ctx, c):
			s.version = 0
			continue
		case err != nil && s.unsaved.ID != 0: // who refreshes what is stored may end the grant: others wait as long as they do for a slow refresh
			return nil, err
		case err != nil:
			return nil, errors.Join(err, k.Store.EndRefresh(context.WithoutCancel(ctx), s.org, s.id, k.Worker))
		}
		return s.grant.token(), nil
	}
}

// replaced reports whether the connection has another credential by now: its owner connected it anew. Only then is a refused one not its end.
func (s *source) replaced(ctx context.Context, was state.Connection) bool {
	c, err := s.keeper.Store.Connection(ctx, s.org, s.id)
	return err == nil && c.CredentialVersion != was.CredentialVersion
}

// read takes over a connection's grant.
func (s *source) read(c state.Connection) error {
	if c.CredentialVersion == s.version && s.version > 0 {
		return nil
	}
	g, err := s.keeper.Open(c)
	if err != nil {
		return err
	}
	s.grant, s.version = g, c.CredentialVersion
	return nil
}

// refresh gets a new token and stores it.
func (s *source) refresh(ctx context.Context, c state.Connection) error {
	k := s.keeper
	how, app, err := k.App(ctx, c)
	if err != nil {
		return err
	}
	if s.grant.Client != app.ClientID {
		return &provider.NeedsAction{Who: provider.User, Reason: "the organisation uses another app by now, to which this mailbox was not given: connect it again"}
	}
	if s.grant.Refresh == "" {
		return &provider.NeedsAction{Who: provider.User, Reason: "the service gave no right to stay connected: connect the mailbox again"}
	}
	conf := oauth2.Config{ClientID: app.ClientID, ClientSecret: app.ClientSecret, Endpoint: how.Endpoint}
	// What was begun is stored: a service that rotates has taken the old one back by then (facts 6).
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience/2)
	defer cancel()
	t, err := conf.TokenSource(context.WithValue(asking, oauth2.HTTPClient, k.HTTP), &oauth2.Token{RefreshToken: s.grant.Refresh}).Token()
	if err != nil {
		return Explain(err, func(code, description string) *provider.NeedsAction {
			if k.Refusal == nil {
				return nil
			}
			return k.Refusal(c, code, description)
		})
	}
	s.grant, s.version = Of(t, app.ClientID, k.Now(), s.grant), c.CredentialVersion
	return s.save(ctx, c)
}

// save stores the grant in the connection from which it was refreshed. Where that fails the next call tries again: a service that rotates takes no
// older refresh token.
func (s *source) save(ctx context.Context, c state.Connection) error {
	s.unsaved = c
	sealed, err := s.keeper.Seal(c, s.grant)
	if err != nil {
		return err
	}
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience/4)
	defer cancel()
	v, err := s.keeper.Store.SetCredential(storing, s.org, s.id, c.CredentialVersion, sealed)
	switch {
	case err == nil:
		s.version, s.unsaved = v, state.Connection{}
	case errors.Is(err, state.ErrStale), errors.Is(err, state.ErrNotFound): // its owner connected it anew, or it is no more
		s.version, s.unsaved = 0, state.Connection{}
	}
	return err
}

// Explain says what an error of a token endpoint means. A *provider.NeedsAction says who must act; anything else may pass.
func Explain(err error, refusal func(code, description string) *provider.NeedsAction) error {
	var r *oauth2.RetrieveError
	if !errors.As(err, &r) {
		return errors.New("the service's token endpoint does not answer") // its error may hold the request
	}
	status := 0
	if r.Response != nil {
		status = r.Response.StatusCode
	}
	if status == http.StatusTooManyRequests {
		limit := &provider.RateLimitError{Err: errors.New("the token endpoint is asked too often")}
		if seconds, err := time.ParseDuration(r.Response.Header.Get("Retry-After") + "s"); err == nil {
			limit.RetryAfter = seconds
		}
		return limit
	}
	if status >= 500 || r.ErrorCode == "" {
		return fmt.Errorf("the service's token endpoint answered %d", status)
	}
	if refusal != nil {
		if a := refusal(r.ErrorCode, r.ErrorDescription); a != nil {
			return a
		}
	}
	return Refused(r.ErrorCode)
}

// Refused is what an OAuth error code means (RFC 6749, 4.1.2.1 and 5.2; OpenID Connect Core, 3.1.2.6).
func Refused(code string) error {
	action := func(who provider.Who, reason string) error {
		return &provider.NeedsAction{Who: who, Reason: reason, Err: errors.New("oauth: " + code)}
	}
	switch code {
	case "invalid_grant", "interaction_required", "login_required", "account_selection_required":
		return action(provider.User, "the service no longer accepts this sign-in: connect the mailbox again")
	case "access_denied":
		return action(provider.User, "the access was not granted: connect again and allow it")
	case "consent_required":
		return action(provider.Admin, "the organisation's administrator must approve this app first")
	case "admin_policy_enforced", "org_internal":
		return action(provider.Admin, "a policy of the organisation blocks this app: its administrator can allow it")
	case "invalid_client", "unauthorized_client", "invalid_request", "unsupported_grant_type", "unsupported_response_type", "invalid_scope", "redirect_uri_mismatch":
		return action(provider.Operator, "the service does not accept the app ("+code+"): check client id, client secret, redirect URI and scopes in the settings")
	case "temporarily_unavailable", "server_error":
		return fmt.Errorf("the service says %s: try again later", code)
	}
	return fmt.Errorf("the service refused with an unknown error")
}

// Marshal and Unmarshal are how a grant is sealed.
func (g Grant) Marshal() ([]byte, error) {
	type plain Grant
	return json.Marshal(plain(g))
}

// Unmarshal reads what Marshal wrote.
func Unmarshal(b []byte) (g Grant, err error) {
	err = json.Unmarshal(b, &g)
	if err == nil && g.Client == "" {
		err = errors.New("this credential is no OAuth grant")
	}
	return g, err
}

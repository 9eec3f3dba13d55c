package emailinttest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// AuthProvider is a mail service whose people sign in at an AuthServer and whose mailboxes are Fakes. Each call of a mailbox needs an access
// token that is valid now and has the scope for it. Safe for concurrent use.
type AuthProvider struct {
	server *AuthServer
	name   string
	scopes []provider.OAuthScope
	read   string // the scope that mailboxes need
	whoami string // the scope that Profile needs

	mu    sync.Mutex // guards below
	fake  *providertest.Fake
	boxes map[string]*providertest.Fake // by subject
}

var _ provider.Authorizer = (*AuthProvider)(nil)

// Provider returns a mail service of that name. Whoever signs in finds the one mailbox, but for those who are given another (Mailbox). "gmail"
// and "outlook" ask for the scopes that those need (facts 1.1, 2.1), any other name for "mail openid email".
func (s *AuthServer) Provider(name string, fake *providertest.Fake) *AuthProvider {
	p := &AuthProvider{server: s, name: name, fake: fake, boxes: map[string]*providertest.Fake{}}
	openid := provider.OAuthScope{Name: "openid", For: "tell whose mailbox it is"}
	email := provider.OAuthScope{Name: "email", For: "tell the address of the mailbox", By: []string{googleEmail}}
	const mail = "read and archive mail"
	switch name {
	case "gmail": // facts 1.1: "One scope is enough for this product"
		p.read = "https://www.googleapis.com/auth/gmail.modify"
		p.scopes = []provider.OAuthScope{{Name: p.read, For: mail + " and send it", By: []string{"https://mail.google.com/"}}, openid, email}
		p.whoami = p.read
	case "outlook": // facts 2.1
		p.read, p.whoami = "Mail.ReadWrite", "User.Read"
		p.scopes = []provider.OAuthScope{
			{Name: p.read, For: mail}, {Name: "Mail.Send", For: "send mail"}, {Name: "MailboxSettings.Read", For: "see automatic replies", Optional: true},
			{Name: p.whoami, For: "tell whose mailbox it is"},
			// Granted and not told (see AuthServer's give): who looks for it in the answer must not miss it.
			{Name: "offline_access", For: "stay connected", Optional: true}, openid, email,
			{Name: "profile", For: "tell whose mailbox it is", Optional: true},
		}
	default:
		p.read, p.whoami = "mail", "mail"
		p.scopes = []provider.OAuthScope{{Name: p.read, For: mail + " and send it"}, openid, email}
	}
	return p
}

// Mailbox gives a person a mailbox of their own.
func (p *AuthProvider) Mailbox(subject string, fake *providertest.Fake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.boxes[subject] = fake
}

// Name implements provider.Provider.
func (p *AuthProvider) Name() string { return p.name }

// Open implements provider.Provider: there is no way in without tokens.
func (p *AuthProvider) Open(context.Context, []byte) (provider.Mailbox, error) {
	return nil, &provider.NeedsAction{Who: provider.User, Reason: "connect the mailbox by the service's own sign-in"}
}

// OAuth implements provider.Authorizer.
func (p *AuthProvider) OAuth(app provider.OAuthApp) provider.OAuth {
	o := provider.OAuth{Scopes: slices.Clone(p.scopes), Revoke: p.server.RevokeURL()}
	switch p.server.kind {
	case AuthGoogle: // facts 1.2
		o.Params = map[string]string{"access_type": "offline", "prompt": "consent"}
	case AuthMicrosoft: // facts 2.1
		if app.Tenant == "" {
			app.Tenant = "common"
		}
		o.Endpoint = p.server.endpoint(app.Tenant)
		return o
	}
	o.Endpoint = p.server.Endpoint()
	return o
}

// Subject implements provider.Authorizer: Google's sub, Microsoft's tid and oid (facts 2.1: nothing else is stable there).
func (p *AuthProvider) Subject(t *oauth2.Token) (string, error) {
	raw, _ := t.Extra("id_token").(string)
	if raw == "" {
		return "", nil
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", errors.New("emailinttest: the id_token is no JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("emailinttest: the id_token is no JWT: %w", err)
	}
	var claims struct{ Sub, Tid, Oid string }
	if err := json.Unmarshal(b, &claims); err != nil {
		return "", fmt.Errorf("emailinttest: the id_token is no JWT: %w", err)
	}
	if claims.Oid != "" {
		return claims.Tid + "/" + claims.Oid, nil
	}
	return claims.Sub, nil
}

// Refusal implements provider.Authorizer.
func (p *AuthProvider) Refusal(code, description string) *provider.NeedsAction {
	says := func(numbers ...string) bool {
		return slices.ContainsFunc(numbers, func(n string) bool { return strings.Contains(description, "AADSTS"+n) })
	}
	switch {
	case code == "admin_policy_enforced", code == "org_internal": // facts 1.2
		return &provider.NeedsAction{Who: provider.Admin, Reason: "the organisation does not let this app in: an administrator must allow it"}
	case code == "consent_required", says("65001:", "90094:"): // facts 2.1: the administrator's consent comes first
		return &provider.NeedsAction{Who: provider.Admin, Reason: "an administrator must agree to this app first"}
	case code == "interaction_required": // facts 2.1
		return &provider.NeedsAction{Who: provider.User, Reason: "the service wants you to sign in again: connect the mailbox again"}
	}
	return nil
}

// OpenToken implements provider.Authorizer.
func (p *AuthProvider) OpenToken(ctx context.Context, tokens oauth2.TokenSource) (provider.Mailbox, error) {
	b := &tokenMailbox{p: p, tokens: tokens}
	subject, err := b.holder(ctx, p.read)
	if err != nil {
		return nil, err
	}
	b.subject = subject
	p.mu.Lock()
	fake := p.boxes[subject]
	if fake == nil {
		fake = p.fake
	}
	p.mu.Unlock()
	if b.Mailbox, err = fake.Provider().Open(ctx, nil); err != nil {
		return nil, err
	}
	b.archiver, b.labeler = b.Mailbox.(provider.Archiver), b.Mailbox.(provider.Labeler)
	if w, ok := b.Mailbox.(imapPowers); ok {
		return &tokenIMAPMailbox{b, w}, nil
	}
	return b, nil
}

// imapPowers are those that the IMAP personality has besides.
type imapPowers interface {
	provider.Waiter
	provider.Poller
	provider.SentFiler
}

// tokenMailbox asks for a token before each call. Only Close and Polling are not calls of the service.
type tokenMailbox struct {
	provider.Mailbox
	archiver provider.Archiver
	labeler  provider.Labeler
	p        *AuthProvider
	tokens   oauth2.TokenSource
	subject  string
}

// holder is whose token the source has now. Its errors are returned as they are (provider.Authorizer).
func (b *tokenMailbox) holder(ctx context.Context, scope string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	t, err := b.tokens.Token()
	if err != nil {
		return "", err
	}
	subject, scopes, ok := b.p.server.Valid(t.AccessToken)
	if !ok && provider.RefuseToken(b.tokens, t.AccessToken) {
		if t, err = b.tokens.Token(); err != nil {
			return "", err
		}
		subject, scopes, ok = b.p.server.Valid(t.AccessToken)
	}
	switch {
	case !ok: // facts 1.6: 401, "refresh once, then re-auth": only the token endpoint can say that someone must act
		return "", &provider.SignInError{Reason: "the mail service refuses the access token: connect the mailbox again if this lasts",
			Err: errors.New("emailinttest: 401 authError")}
	case !b.p.allows(scopes, scope): // facts 1.6: 403 insufficientPermissions, no retry helps
		return "", &provider.NeedsAction{Who: provider.User, Reason: "connect the mailbox again and leave every box ticked",
			Err: fmt.Errorf("emailinttest: 403 insufficientPermissions: %s", scope)}
	}
	return subject, nil
}

// allows reports whether the scopes give what that one gives.
func (p *AuthProvider) allows(scopes []string, scope string) bool {
	i := slices.IndexFunc(p.scopes, func(o provider.OAuthScope) bool { return o.Name == scope })
	return slices.ContainsFunc(scopes, func(name string) bool { return name == scope || slices.Contains(p.scopes[i].By, name) })
}

func (b *tokenMailbox) enter(ctx context.Context, scope string) error {
	subject, err := b.holder(ctx, scope)
	if err == nil && subject != b.subject {
		return errors.New("emailinttest: the token source has another person's token now")
	}
	return err
}

func (b *tokenMailbox) Profile(ctx context.Context) (provider.Profile, error) {
	if err := b.enter(ctx, b.p.whoami); err != nil {
		return provider.Profile{}, err
	}
	return b.Mailbox.Profile(ctx)
}

func (b *tokenMailbox) Start(ctx context.Context) (provider.Cursor, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return nil, err
	}
	return b.Mailbox.Start(ctx)
}

func (b *tokenMailbox) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return provider.Page{}, err
	}
	return b.Mailbox.Changes(ctx, c)
}

func (b *tokenMailbox) History(ctx context.Context, w provider.Window, c provider.Cursor) (provider.Page, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return provider.Page{}, err
	}
	return b.Mailbox.History(ctx, w, c)
}

func (b *tokenMailbox) Content(ctx context.Context, id provider.ItemID) (*message.Message, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return nil, err
	}
	return b.Mailbox.Content(ctx, id)
}

func (b *tokenMailbox) Attachment(ctx context.Context, id provider.ItemID, part string) (io.ReadCloser, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return nil, err
	}
	return b.Mailbox.Attachment(ctx, id, part)
}

func (b *tokenMailbox) Locate(ctx context.Context, messageID string) ([]provider.Item, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return nil, err
	}
	return b.Mailbox.Locate(ctx, messageID)
}

func (b *tokenMailbox) Inventory(ctx context.Context, s provider.Scope) iter.Seq2[provider.Item, error] {
	return func(yield func(provider.Item, error) bool) {
		if err := b.enter(ctx, b.p.read); err != nil {
			yield(provider.Item{}, err)
			return
		}
		b.Mailbox.Inventory(ctx, s)(yield)
	}
}

func (b *tokenMailbox) Archive(ctx context.Context, t provider.Target) (provider.Mutation, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return provider.Mutation{}, err
	}
	return b.archiver.Archive(ctx, t)
}

func (b *tokenMailbox) Unarchive(ctx context.Context, t provider.Target, m provider.Mutation) (provider.Mutation, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return provider.Mutation{}, err
	}
	return b.archiver.Unarchive(ctx, t, m)
}

func (b *tokenMailbox) Label(ctx context.Context, t provider.Target, label string) (provider.Mutation, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return provider.Mutation{}, err
	}
	return b.labeler.Label(ctx, t, label)
}

func (b *tokenMailbox) Unlabel(ctx context.Context, t provider.Target, m provider.Mutation) error {
	if err := b.enter(ctx, b.p.read); err != nil {
		return err
	}
	return b.labeler.Unlabel(ctx, t, m)
}

// tokenIMAPMailbox is one of the IMAP personality.
type tokenIMAPMailbox struct {
	*tokenMailbox
	powers imapPowers
}

func (b *tokenIMAPMailbox) Wait(ctx context.Context) error {
	if err := b.enter(ctx, b.p.read); err != nil {
		return err
	}
	return b.powers.Wait(ctx)
}

func (b *tokenIMAPMailbox) Polling() string { return b.powers.Polling() }

func (b *tokenIMAPMailbox) FindSent(ctx context.Context, messageID string) (provider.ItemID, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return "", err
	}
	return b.powers.FindSent(ctx, messageID)
}

func (b *tokenIMAPMailbox) FileSent(ctx context.Context, raw []byte, at time.Time) (provider.ItemID, error) {
	if err := b.enter(ctx, b.p.read); err != nil {
		return "", err
	}
	return b.powers.FileSent(ctx, raw, at)
}

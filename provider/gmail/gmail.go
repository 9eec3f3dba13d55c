// Package gmail reads Gmail mailboxes by Google's API, and archives, labels and sends in them. It is for hosts whose users have accounts at
// Google, consumers' or Workspace's, and fulfils provider.Authorizer: people sign in by OAuth.
//
// New makes the provider for the engine's Options.Providers. A Mailbox sends, too: it is a provider.Sender. The app (client id and secret) is the host's own:
// docs/setup-google.md says how to get one, and each error that somebody has to act on names its section there.
//
// A message is named by Gmail's id, which lasts as long as the message. Labels are folders; archived mail lies in none. Reading costs quota
// units: 20 for each message, whatever is read of it, of 6,000 a minute. So History, Search and Inventory list ids only, Content reads, and
// Changes reads mail that is new, and keeps it for who calls Prefetch and Content next. Nothing is asked for that the quota has no room for: it is a provider.RateLimitError before
// it becomes one at Google, and a page that comes short is no loss.
//
// What it will not do: list drafts and chats; delete; send as an address that Gmail has not verified; wait for news (Gmail tells of it by
// Pub/Sub, see Provider.Watch and Provider.Push); find mail by its Reply-To or Sender in Search, or by an address
// that needs quotation marks.
//
// All calls go through google.golang.org/api/gmail/v1, but batches, which that has not. Any server that speaks the same protocol will do
// (Options.BaseURL); what one lacks is a *MissingError that names it. Tested on gmailtest alone: how Google itself behaves was read in the
// company's documents, and not tried ("facts 1.6" in comments is a section of notes on these: CONTRIBUTING.md). Not known there, and guessed on the safe side: how a minute of quota is
// windowed (here any sixty seconds), whether after: and before: look at the time of receipt (a day more is listed), in what charset parts of
// text come (UTF-8 is believed where it is valid), how long page tokens live (a time key stands in), that a listing
// without entries tells resultSizeEstimate (one that tells nothing at all is an error).
package gmail

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

var (
	_ provider.Authorizer = (*Provider)(nil)
	_ provider.Watcher    = (*Provider)(nil)
	_ provider.Pusher     = (*Provider)(nil)
	_ provider.Mailbox    = (*Mailbox)(nil)
	_ provider.Prefetcher = (*Mailbox)(nil)
	_ provider.Archiver   = (*Mailbox)(nil)
	_ provider.Labeler    = (*Mailbox)(nil)
	_ provider.Searcher   = (*Mailbox)(nil)
	_ provider.Bounded    = (*Mailbox)(nil)
	_ provider.Signer     = (*Mailbox)(nil)
	_ provider.Sender     = (*Mailbox)(nil)
)

// Where Google is (G-disc; facts 1.2).
const (
	googleBase   = "https://gmail.googleapis.com/"
	googleAuth   = "https://accounts.google.com/o/oauth2/v2/auth"
	googleToken  = "https://oauth2.googleapis.com/token"
	googleRevoke = "https://oauth2.googleapis.com/revoke"
)

// Scopes of the API (facts 1.1).
const (
	scopeModify   = "https://www.googleapis.com/auth/gmail.modify"
	scopeReadonly = "https://www.googleapis.com/auth/gmail.readonly"
	scopeSend     = "https://www.googleapis.com/auth/gmail.send"
	scopeFull     = "https://mail.google.com/"
	scopeEmail    = "https://www.googleapis.com/auth/userinfo.email" // as the token endpoint names "email"
)

// Options of a Provider; the zero value is Google's with its documented quota.
type Options struct {
	// Where the service is; "": Google's, but for RevokeURL beside another TokenURL: then nothing is revoked. Access tokens go to the scheme and host of
	// BaseURL only, which is https, or this machine's.
	BaseURL, AuthURL, TokenURL, RevokeURL string
	// HTTPClient carries the calls: its Transport and Timeout count. nil: http.DefaultTransport, and a minute for each call.
	HTTPClient *http.Client
	// ReadOnly asks people for gmail.readonly and gmail.send instead of gmail.modify. Then nothing is archived or labelled, and mail is sent
	// without a draft: when the answer to a sending is lost, the sent copy is looked for by our own header.
	ReadOnly bool
	// Topic is where Google tells of news, "projects/P/topics/T": P is the project of the app (facts 1.3). "": Watch is ErrUnsupported.
	Topic string
	// PushAudience and PushAccount are what the subscription of that topic signs notifications with: its audience, which is the address of the endpoint
	// where none was named, and the address of its service account. "": Push refuses every notification, for anybody can post some.
	PushAudience, PushAccount string
	// KeysURL has the keys by which these are verified (a JWK set, RFC 7517); "": Google's.
	KeysURL string

	// UnitsPerMinute is the quota of one mailbox. 0: 6,000; projects that used the API before May 2026 have 15,000 (facts 1.6).
	UnitsPerMinute int
	// ProjectUnitsPerMinute is the quota of all mailboxes of one app, counted in this process. 0: 1,200,000. Unused with Budget.
	ProjectUnitsPerMinute int
	// Budget is the quota of an app, shared by processes; nil: this process counts alone.
	Budget provider.Budget
	// Patience is how long a call waits for quota before it is a provider.RateLimitError. 0: two seconds.
	Patience time.Duration

	BatchSize    int   // messages that are got by one request, 0: 50; never more than 100 (facts 1.5)
	PageSize     int   // ids that are listed by one request, 0: 500, which is the most (facts 1.4, 1.5)
	ContentLimit int64 // bytes that Content reads of a message's texts, 0: 5 MiB
	// AuthServers are the servers whose Authentication-Results are believed. nil: mx.google.com.
	AuthServers []string
	Now         func() time.Time // by which quota is counted; nil: time.Now
}

// Provider opens Gmail mailboxes. Safe for concurrent use. What a mailbox has spent of its quota is remembered here: make one.
type Provider struct {
	o      Options
	base   *url.URL
	parser message.Parser
	app    provider.Budget
	pushes *pushes

	mu     sync.Mutex // guards quotas
	quotas map[string]*quota
}

// New returns a provider; nil options are the defaults.
func New(o *Options) *Provider {
	p := &Provider{quotas: map[string]*quota{}}
	if o != nil {
		p.o = *o
	}
	p.o.BaseURL = strings.TrimSuffix(cmp.Or(p.o.BaseURL, googleBase), "/") + "/"
	p.o.AuthURL, p.o.TokenURL = cmp.Or(p.o.AuthURL, googleAuth), cmp.Or(p.o.TokenURL, googleToken)
	if p.o.RevokeURL == "" && p.o.TokenURL == googleToken { // tokens of others are none of Google's business
		p.o.RevokeURL = googleRevoke
	}
	p.o.UnitsPerMinute = cmp.Or(p.o.UnitsPerMinute, 6000)
	p.o.ProjectUnitsPerMinute = cmp.Or(p.o.ProjectUnitsPerMinute, 1_200_000)
	p.o.Patience = cmp.Or(p.o.Patience, 2*time.Second)
	p.o.BatchSize = min(cmp.Or(max(p.o.BatchSize, 0), 50), 100)
	p.o.PageSize = min(cmp.Or(max(p.o.PageSize, 0), 500), 500)
	p.o.ContentLimit = cmp.Or(max(p.o.ContentLimit, 0), 5<<20)
	if p.o.AuthServers == nil {
		p.o.AuthServers = []string{"mx.google.com"} // facts 5.5
	}
	if p.o.Now == nil {
		p.o.Now = time.Now
	}
	if p.o.HTTPClient == nil {
		p.o.HTTPClient = &http.Client{Timeout: time.Minute}
	}
	p.o.KeysURL = cmp.Or(p.o.KeysURL, googleKeys)
	p.pushes = newPushes(&p.o)
	p.parser = message.Parser{AuthServers: p.o.AuthServers}
	p.base, _ = url.Parse(p.o.BaseURL) // OpenToken says what is wrong with it
	if p.app = p.o.Budget; p.app == nil {
		p.app = &appBudget{limit: p.o.ProjectUnitsPerMinute, now: p.o.Now, apps: map[string]*window{}}
	}
	return p
}

// Name implements provider.Provider.
func (p *Provider) Name() string { return "gmail" }

// Open implements provider.Provider: there is no way in without tokens.
func (p *Provider) Open(context.Context, []byte) (provider.Mailbox, error) {
	return nil, &provider.NeedsAction{Who: provider.User, Reason: "connect the mailbox by Google's own sign-in"}
}

// OAuth implements provider.Authorizer. Facts 1.1: one scope is enough for reading, archiving, labelling and sending, and asking for one avoids that
// people untick another. Facts 1.2: a refresh token comes with offline access, and surely only with the consent page.
func (p *Provider) OAuth(provider.OAuthApp) provider.OAuth {
	o := provider.OAuth{
		Endpoint: oauth2.Endpoint{AuthURL: p.o.AuthURL, TokenURL: p.o.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
		Params:   map[string]string{"access_type": "offline", "prompt": "consent"},
		Revoke:   p.o.RevokeURL,
	}
	if p.o.ReadOnly {
		o.Scopes = []provider.OAuthScope{
			{Name: scopeReadonly, For: "read mail", By: []string{scopeModify, scopeFull}},
			{Name: scopeSend, For: "send mail", By: []string{scopeModify, scopeFull}},
		}
	} else {
		o.Scopes = []provider.OAuthScope{{Name: scopeModify, For: "read, archive, label and send mail", By: []string{scopeFull}}}
	}
	o.Scopes = append(o.Scopes,
		provider.OAuthScope{Name: "openid", For: "tell whose mailbox it is"},
		provider.OAuthScope{Name: "email", For: "tell the address of the mailbox", By: []string{scopeEmail}})
	return o
}

// Subject implements provider.Authorizer: "sub" of the id_token. Facts 6: never the address.
func (p *Provider) Subject(t *oauth2.Token) (string, error) {
	raw, _ := t.Extra("id_token").(string)
	if raw == "" {
		return "", nil
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", errors.New("gmail: the id_token is no JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	var claims struct {
		Sub string `json:"sub"`
	}
	if err != nil || json.Unmarshal(b, &claims) != nil {
		return "", errors.New("gmail: the id_token is no JWT")
	}
	return claims.Sub, nil
}

// OpenToken implements provider.Authorizer. It asks whose mailbox it is, for one unit of quota.
func (p *Provider) OpenToken(ctx context.Context, tokens oauth2.TokenSource) (provider.Mailbox, error) {
	m, err := p.Mailbox(ctx, tokens)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Mailbox is OpenToken for those who send by it, or need what only Gmail has.
func (p *Provider) Mailbox(ctx context.Context, tokens oauth2.TokenSource) (*Mailbox, error) {
	if p.base == nil || p.base.Host == "" || p.base.Scheme != "https" && !loopback(p.base.Hostname()) {
		return nil, &provider.NeedsAction{Who: provider.Operator, Reason: "the base URL of the Gmail API is neither https nor on this machine: correct it"}
	}
	m := &Mailbox{p: p, app: provider.AppOf(tokens), urgent: map[provider.ItemID]bool{}, times: map[string]time.Time{}}
	base := p.o.HTTPClient.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	m.http = &http.Client{Transport: &transport{base: base, host: p.base, tokens: tokens}, Timeout: p.o.HTTPClient.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var err error
	if m.api, err = gapi.NewService(ctx, option.WithHTTPClient(m.http), option.WithEndpoint(p.o.BaseURL)); err != nil {
		return nil, fmt.Errorf("gmail: %w", err)
	}
	m.quota = &quota{now: p.o.Now, limit: p.o.UnitsPerMinute} // whose it is isn't known yet
	if err := m.whoami(ctx); err != nil {
		return nil, err
	}
	m.quota = p.quotaOf(m.app, m.profile.EmailAddress)
	m.quota.charge(units[getProfile])
	return m, nil
}

func loopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// quotaOf is what a mailbox has spent; Google counts by person and project.
func (p *Provider) quotaOf(app, address string) *quota {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := app + " " + strings.ToLower(address)
	q := p.quotas[key]
	if q == nil {
		if len(p.quotas) >= 10_000 {
			for k, o := range p.quotas {
				if o.idle() {
					delete(p.quotas, k)
				}
			}
		}
		q = &quota{now: p.o.Now, limit: p.o.UnitsPerMinute}
		p.quotas[key] = q
	}
	return q
}

// Mailbox is an open mailbox. One goroutine at a time may use it; Close may be called from any.
type Mailbox struct {
	p     *Provider
	app   string
	http  *http.Client
	api   *gapi.Service
	quota *quota

	profile *gapi.Profile
	aliases []*gapi.SendAs // nil: not asked yet
	labels  *labels        // nil: not asked yet
	noBatch bool           // the server has no batches
	since   time.Time      // from when on mail is wanted; zero: all
	urgent  map[provider.ItemID]bool
	times   map[string]time.Time // of receipt, of messages at the edge of a window
	wanted  []provider.ItemID    // contents that are asked for next
	ahead   map[provider.ItemID]*message.Message
	kept    map[provider.ItemID]*gapi.Message // what the last Changes read, with its texts
	called  map[provider.ItemID]bool          // of kept, what the last Prefetch named

	tokenless bool // the last call failed for want of a token
	closed    sync.Once
}

func (m *Mailbox) whoami(ctx context.Context) error {
	return m.read(ctx, live, getProfile, func(ctx context.Context) error {
		p, err := m.api.Users.GetProfile("me").Context(ctx).Do()
		if err != nil {
			return err
		}
		switch {
		case p.EmailAddress == "":
			return errors.New("the server does not tell whose mailbox it is")
		case m.profile != nil && !strings.EqualFold(p.EmailAddress, m.profile.EmailAddress):
			return errors.New("the server tells of another mailbox")
		case p.HistoryId == 0:
			return errors.New("the server does not tell where the history of the mailbox ends")
		}
		m.profile = p
		return nil
	})
}

// Profile returns the owner with every address that Gmail lets them send as. Its Subject is the address: whoever signed the owner in has a better one
// (Provider.Subject).
func (m *Mailbox) Profile(ctx context.Context) (provider.Profile, error) {
	out := provider.Profile{Address: m.profile.EmailAddress, Subject: m.profile.EmailAddress}
	aliases, err := m.sendAs(ctx)
	var missing *MissingError
	if err != nil && !errors.As(err, &missing) {
		return provider.Profile{}, err
	}
	for _, a := range aliases {
		if verified(a) && !strings.EqualFold(a.SendAsEmail, out.Address) {
			out.Aliases = append(out.Aliases, a.SendAsEmail)
		}
	}
	return out, nil
}

// Since implements provider.Bounded.
func (m *Mailbox) Since(t time.Time) { m.since = t }

// Close lets the connections go.
func (m *Mailbox) Close() error {
	m.closed.Do(m.http.CloseIdleConnections)
	return nil
}

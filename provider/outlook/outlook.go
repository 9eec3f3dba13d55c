// Package outlook reads mailboxes of Microsoft 365 and Outlook.com by Microsoft Graph, and archives, categorises and sends in them. It is for hosts whose
// users have accounts at Microsoft, for work or personal ones, and fulfils provider.Authorizer: people sign in by OAuth.
//
// New makes the provider for the engine's Options.Providers. A Mailbox sends, too: it is a provider.Sender. The app (client id and secret) is the host's
// own: docs/setup-microsoft.md says how to get one, and each error that somebody has to act on names its section there.
//
// Messages are named by Graph's immutable ids: they last as long as the message and survive moves. Folders are folders; those in Junk Email, Deleted Items
// and Drafts, and below them, are not watched; what Graph calls a draft elsewhere is mail where it is another's, as migrations leave it. Changes follows each folder by its delta link, and the set of folders by its own: Inbox, Sent Items, Archive and the folders
// that this names are asked each time, all of them every Options.FullRound. History and Inventory go by the time of receipt, for Graph's listings may end
// early. Listings ask for the transport header of each message beside it, so that most mail is decided without another request; where a message has none, Content
// reads it. Content never loads an attachment.
//
// A mailbox may be asked 10,000 things in ten minutes, four at once. Nothing is asked for that this has no room for: it is a provider.RateLimitError before it
// becomes one at Microsoft, and a page that comes short is no loss. Nothing that changes something is repeated here: whoever wanted it asks again.
//
// What it will not do: list drafts and chats; delete; read shared mailboxes and the online archive; send as an address that isn't the mailbox's own; notifications
// with content (Watch asks for the basic ones).
//
// All calls go through github.com/microsoftgraph/msgraph-sdk-go (users, subscriptions, models) on an HTTP client of ours, but bytes of attachments and uploads,
// which the SDK would hold in memory. Compiling it costs minutes and gigabytes once: import this package only where it is needed
// (docs/setup-microsoft.md, "What it costs to compile"). Any server that speaks the same protocol will do (Options.BaseURL); what one lacks is a *MissingError that names it. Tested on graphtest alone: how
// Microsoft itself behaves was read in the company's documents, and not tried ("facts 1.6" in comments is a section of notes on these: CONTRIBUTING.md). Not known there, and guessed on the safe side: how
// the ten minutes are windowed (here any ten), whether listings carry whole transport headers (one that looks cut is not believed), whether the
// folders' delta tells of folders that got mail (all are asked now and then), how long a draft is still shown after it was sent (Options.SendSettle).
package outlook

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	absser "github.com/microsoft/kiota-abstractions-go/serialization"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/notice"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

var (
	_ provider.Authorizer = (*Provider)(nil)
	_ provider.Watcher    = (*Provider)(nil)
	_ provider.Pusher     = (*Provider)(nil)
	_ provider.Mailbox    = (*Mailbox)(nil)
	_ provider.Prefetcher = (*Mailbox)(nil)
	_ provider.Archiver   = (*Mailbox)(nil)
	_ provider.Labeler    = (*Mailbox)(nil)
	_ provider.Bounded    = (*Mailbox)(nil)
	_ provider.Sender     = (*Mailbox)(nil)
)

// Where Microsoft is (facts 2.1, 2.7). {tenant} is the app's.
const (
	graphBase    = "https://graph.microsoft.com/v1.0"
	entraAuth    = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize"
	entraToken   = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token" //nolint:gosec // an address
	entraConsent = "https://login.microsoftonline.com/{tenant}/v2.0/adminconsent"
)

// Options of a Provider; the zero value is Microsoft's with its documented limits.
type Options struct {
	// Where the service is; "": Microsoft's. {tenant} in the others is replaced by the app's tenant. Tokens go to the scheme and host of BaseURL only,
	// which is https, or this machine's.
	BaseURL, AuthURL, TokenURL, AdminConsentURL string
	// HTTPClient carries the calls: its Transport and Timeout count, this for each call. nil: http.DefaultTransport, and a minute.
	HTTPClient *http.Client
	// ColorCategories makes the category of a label known to Outlook with a colour, where it isn't. It asks people for MailboxSettings.ReadWrite as well.
	ColorCategories bool

	// NotifyURL is where Graph sends notifications: the engine's Handler has it under push/outlook, on a public https address. "": Watch is ErrUnsupported.
	NotifyURL string
	// PushKey makes and checks what notifications are known by: a secret of at least 16 bytes, the same in all processes. Where it or NotifyURL changes,
	// subscriptions are made anew when they are renewed next, and what comes before that is refused.
	PushKey []byte

	// Requests is how many there may be to a mailbox in ten minutes, 0: 10,000. AtOnce is how many at a time, 0: 3, of the 4 that Microsoft allows.
	// UploadBytes is what may be uploaded in five minutes, 0: 150 MB (facts 2.5). All are counted in this process.
	Requests, AtOnce int
	UploadBytes      int64
	// Patience is how long a call waits for room before it is a provider.RateLimitError. 0: two seconds.
	Patience time.Duration

	PageSize     int           // messages that are listed by one request, 0: 500; at most 1,000. Fewer are where the server takes too long
	FullRound    time.Duration // how often every folder is asked for changes, 0: an hour
	ContentLimit int64         // bytes that Content keeps of a message's text, 0: 5 MiB
	SendSettle   time.Duration // how long Lookup watches a draft that this process tried to send before it says that it was not, 0: 20 seconds
	// AuthServers are the servers whose Authentication-Results are believed. nil: those without a name, as Exchange Online writes them (facts 5.5).
	AuthServers []string
	Now         func() time.Time // by which requests are counted; nil: time.Now
}

// Provider opens mailboxes. Safe for concurrent use. What a mailbox was asked is counted here, and its folders are remembered: make one.
type Provider struct {
	o       Options
	base    *url.URL
	parser  message.Parser
	parse   *absser.ParseNodeFactoryRegistry
	write   *absser.SerializationWriterFactoryRegistry
	keeper  *notice.Keeper
	pushErr error // why there is no keeper

	mu    sync.Mutex // guards what follows
	boxes map[string]*known
}

// known is what is remembered of a mailbox while this process lives.
type known struct {
	quota *quota.Mailbox
	tree  *tree

	mu       sync.Mutex                  // guards what follows
	released map[provider.ItemID]attempt // drafts that were perhaps sent
	page     int                         // messages that are listed by one request; less than Options.PageSize where that took too long
	coloured map[string]bool             // names of categories, in lower case, that were tried to be made known
}

// New returns a provider; nil options are the defaults.
func New(o *Options) *Provider {
	p := &Provider{boxes: map[string]*known{}}
	if o != nil {
		p.o = *o
	}
	p.o.BaseURL = strings.TrimRight(cmp.Or(p.o.BaseURL, graphBase), "/")
	p.o.AuthURL, p.o.TokenURL = cmp.Or(p.o.AuthURL, entraAuth), cmp.Or(p.o.TokenURL, entraToken)
	p.o.AdminConsentURL = cmp.Or(p.o.AdminConsentURL, entraConsent)
	p.o.Requests, p.o.AtOnce = cmp.Or(max(p.o.Requests, 0), 10_000), cmp.Or(max(p.o.AtOnce, 0), 3)
	p.o.UploadBytes = cmp.Or(max(p.o.UploadBytes, 0), 150<<20)
	p.o.Patience = cmp.Or(p.o.Patience, 2*time.Second)
	p.o.PageSize = min(cmp.Or(max(p.o.PageSize, 0), 500), 1000)
	p.o.FullRound = cmp.Or(p.o.FullRound, time.Hour)
	p.o.ContentLimit = cmp.Or(max(p.o.ContentLimit, 0), 5<<20)
	p.o.SendSettle = cmp.Or(p.o.SendSettle, 20*time.Second)
	if p.o.AuthServers == nil {
		p.o.AuthServers = []string{""}
	}
	if p.o.Now == nil {
		p.o.Now = time.Now
	}
	if p.o.HTTPClient == nil {
		p.o.HTTPClient = &http.Client{Timeout: time.Minute}
	}
	p.parser = message.Parser{AuthServers: p.o.AuthServers}
	p.base, _ = url.Parse(p.o.BaseURL) // Mailbox says what is wrong with it
	p.parse, p.write = formats()
	p.keeper, p.pushErr = notice.NewKeeper(p.o.PushKey, p.o.NotifyURL)
	return p
}

// Name implements provider.Provider.
func (p *Provider) Name() string { return "outlook" }

// Open implements provider.Provider: there is no way in without tokens.
func (p *Provider) Open(context.Context, []byte) (provider.Mailbox, error) {
	return nil, &provider.NeedsAction{Who: provider.User, Reason: "connect the mailbox by Microsoft's own sign-in"}
}

// OpenToken implements provider.Authorizer. It asks whose mailbox it is.
func (p *Provider) OpenToken(ctx context.Context, tokens oauth2.TokenSource) (provider.Mailbox, error) {
	m, err := p.Mailbox(ctx, tokens)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Mailbox is OpenToken for those who send by it.
func (p *Provider) Mailbox(ctx context.Context, tokens oauth2.TokenSource) (*Mailbox, error) {
	m, err := p.mailbox(tokens)
	if err != nil {
		return nil, err
	}
	if err := m.whoami(ctx); err != nil {
		return nil, err
	}
	app := provider.AppOf(tokens)
	m.known = p.knownOf(app + " " + m.owner.id)
	m.quota = m.known.quota
	m.quota.Charge()
	return m, nil
}

// mailbox is one of which nobody knows yet whose it is.
func (p *Provider) mailbox(tokens oauth2.TokenSource) (*Mailbox, error) {
	if p.base == nil || p.base.Host == "" || p.base.Scheme != "https" && (p.base.Scheme != "http" || !loopback(p.base.Hostname())) {
		return nil, &provider.NeedsAction{Who: provider.Operator, Reason: "the base URL of Graph is neither https nor on this machine: correct it"}
	}
	m := &Mailbox{p: p, quota: p.newQuota()}
	m.http = p.client(tokens)
	adapter, err := p.adapter(m.http)
	if err != nil {
		return nil, err
	}
	m.adapter = adapter
	m.me = users.NewUserItemRequestBuilderInternal(map[string]string{"baseurl": p.o.BaseURL, "user%2Did": meToken}, adapter)
	return m, nil
}

func loopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

func (p *Provider) newQuota() *quota.Mailbox {
	return quota.New(quota.Limits{Requests: p.o.Requests, AtOnce: p.o.AtOnce, Upload: p.o.UploadBytes}, p.o.Now)
}

// remembered is how many mailboxes are remembered; beyond, those of which there is nothing but folders to remember are forgotten.
const remembered = 10_000

// knownOf is what is remembered of a mailbox; Microsoft counts by app and mailbox.
func (p *Provider) knownOf(key string) *known {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.boxes[key]
	if k == nil {
		if len(p.boxes) >= remembered {
			for n, o := range p.boxes {
				if o.quota.Idle() && !p.perhapsSent(o) {
					delete(p.boxes, n)
				}
			}
		}
		k = &known{quota: p.newQuota(), page: p.o.PageSize, tree: newTree(), released: map[provider.ItemID]attempt{}, coloured: map[string]bool{}}
		p.boxes[key] = k
	}
	return k
}

// Mailbox is an open mailbox. One goroutine at a time may use it; Close may be called from any.
type Mailbox struct {
	p       *Provider
	http    *http.Client
	adapter *adapter
	me      *users.UserItemRequestBuilder
	quota   *quota.Mailbox
	known   *known
	owner   owner

	since  time.Time // from when on mail is wanted; zero: all
	urgent map[provider.ItemID]bool
	wanted []provider.ItemID // contents that are asked for next
	ahead  map[provider.ItemID]*message.Message
	width  int // contents of the next batch, 0: as many as may be
}

// owner is whose mailbox it is.
type owner struct {
	id, address string
	aliases     []string
}

func (o *owner) has(k message.Key) bool {
	return k == message.AddressKey(o.address) || slices.ContainsFunc(o.aliases, func(a string) bool { return message.AddressKey(a) == k })
}

// whoami asks whose mailbox it is. Facts 2.1 on who is who: "never email/UPN"; the id is the "oid" of the id_token.
func (m *Mailbox) whoami(ctx context.Context) error {
	return m.read(ctx, quota.Live, getMe, func(ctx context.Context) error {
		u, err := m.me.Get(ctx, &users.UserItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: []string{"id", "mail", "userPrincipalName", "proxyAddresses"}}})
		if err != nil {
			return err
		}
		if u == nil || str(u.GetId()) == "" {
			return errEmpty
		}
		m.owner = owner{id: str(u.GetId()), address: cmp.Or(str(u.GetMail()), str(u.GetUserPrincipalName()))}
		add := func(a string) {
			k := message.AddressKey(a)
			if !k.IsAddress() || k == message.AddressKey(m.owner.address) {
				return
			}
			for _, had := range m.owner.aliases {
				if message.AddressKey(had) == k {
					return
				}
			}
			m.owner.aliases = append(m.owner.aliases, a)
		}
		for _, a := range u.GetProxyAddresses() { // "SMTP:" is the primary one, "smtp:" a further one; others are no mail addresses
			if kind, a, ok := strings.Cut(a, ":"); ok && strings.EqualFold(kind, "smtp") {
				add(a)
			}
		}
		add(str(u.GetUserPrincipalName()))
		return nil
	})
}

// Profile returns the owner with every address that the mailbox has. Its Subject is Graph's id of the person: whoever signed the owner in has a better
// one (Provider.Subject).
func (m *Mailbox) Profile(context.Context) (provider.Profile, error) {
	return provider.Profile{Address: m.owner.address, Aliases: append([]string(nil), m.owner.aliases...), Subject: m.owner.id}, nil
}

// Since implements provider.Bounded.
func (m *Mailbox) Since(t time.Time) { m.since = t }

// Close does nothing: connections belong to all mailboxes.
func (m *Mailbox) Close() error { return nil }

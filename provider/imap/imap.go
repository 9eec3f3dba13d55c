// Package imap reads mailboxes over IMAP, and archives, labels and files Sent copies in them. It is for hosts that connect
// servers without an API of their own, and fulfils provider.Provider.
//
// New makes the provider that opens stored credentials; Dial opens one mailbox from a Config. Folders are opened
// read-only and messages are peeked at: reading changes no flag. Archive, Unarchive, Label, Unlabel and FileSent alone write, and
// never expunge a message but the one they are about. The password or token never travels in clear text unless Insecure is asked
// for by name, and then only to this machine.
//
// A message is named by folder, UIDVALIDITY and UID, and that name dies when it moves. Changes tells of mail that came. Of mail
// that went it tells the folder (Page.Recount), for plain IMAP says no more: Inventory of that folder has what is left. A folder
// that was renumbered, renamed, or made again is announced in Page.Restart and listed from its start.
//
// It wants IMAP4rev1 and uses what is offered besides: IDLE, LIST-STATUS, SPECIAL-USE, ESEARCH, NAMESPACE, UNSELECT, CONDSTORE, MOVE,
// UIDPLUS. Where a server lacks one it asks more often, never less exactly; only without IDLE does mail come later
// (Mailbox.Polling), and with neither MOVE nor UIDPLUS nothing is archived.
//
// What it will not do: watch junk, trash and drafts, or folders of other people; notice that flags changed; say which message
// went. A message in two folders is two items. A folder that can't be opened is left out of Changes and History, and looked at
// again each time. The server's word is taken for UIDVALIDITY: one that keeps it and reuses UIDs is beyond help.
package imap

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

var (
	_ provider.Provider      = (*Provider)(nil)
	_ provider.Mailbox       = (*Mailbox)(nil)
	_ provider.Prefetcher    = (*Mailbox)(nil)
	_ provider.HistoryReader = (*Mailbox)(nil)
	_ provider.Waiter        = (*Mailbox)(nil)
	_ provider.Archiver      = (*Mailbox)(nil)
	_ provider.Labeler       = (*Mailbox)(nil)
	_ provider.SentFiler     = (*Mailbox)(nil)
)

// Security of the connection. The zero value is TLS.
type Security string

const (
	TLS      Security = "tls"      // TLS from the first byte, port 993
	StartTLS Security = "starttls" // upgraded before signing in, or refused; port 143
	Insecure Security = "insecure" // clear text, loopback only: for tests
)

// Auth is how to sign in. The zero value is Auto.
type Auth string

const (
	Auto        Auth = "auto" // with a token XOAUTH2 or OAUTHBEARER, with a password PLAIN or LOGIN
	Plain       Auth = "plain"
	Login       Auth = "login"
	XOAuth2     Auth = "xoauth2"
	OAuthBearer Auth = "oauthbearer"
)

// Config says how to reach a mailbox. Its JSON is the credential that Provider.Open takes. Seal it: it holds secrets.
type Config struct {
	Host     string   `json:"host"`
	Port     int      `json:"port,omitempty"` // 0: the port of Security
	Username string   `json:"username"`
	Password string   `json:"password,omitempty"`
	Token    string   `json:"token,omitempty"` // OAuth access token
	Security Security `json:"security,omitempty"`
	Auth     Auth     `json:"auth,omitempty"`
	Address  string   `json:"address,omitempty"` // the owner's address, where Username isn't one
	Aliases  []string `json:"aliases,omitempty"` // further addresses the owner sends as

	// TokenSource is asked for an access token at each sign-in, and once more when the server refuses the one it gave: then
	// RefusedToken tells which. ctx ends with the sign-in: an oauth2.TokenSource that is kept is made with another. nil: Token is used.
	TokenSource func(ctx context.Context) (string, error) `json:"-"`
	// TLSConfig is cloned; nil: the system's roots, TLS 1.2 or newer.
	TLSConfig *tls.Config `json:"-"`
	// Dial opens the connection. A host that connects where its users say sets it to a dialguard.Guard's DialContext, which
	// refuses private addresses. nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) `json:"-"`

	PageSize     int           `json:"-"` // items a page, 0: 1000
	ContentLimit int64         `json:"-"` // bytes Content reads of a message, 0: 5 MiB
	WaitLimit    time.Duration `json:"-"` // Wait returns after this, so that other folders are looked at; 0: 5 minutes
	Stall        time.Duration `json:"-"` // a server silent for this long in a command, or when IDLE is renewed, is dead; 0: 1 minute

	place *place // where connections are counted, nil: nowhere
}

// LogValue keeps secrets out of logs.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("host", c.Host), slog.Int("port", c.Port), slog.String("security", string(c.Security)))
}

// String keeps secrets out of %v.
func (c Config) String() string {
	return fmt.Sprintf("imap.Config{%s:%d %s}", c.Host, c.Port, c.Security)
}

// GoString keeps secrets out of %#v.
func (c Config) GoString() string { return c.String() }

func (c Config) withDefaults() Config {
	if c.Security == "" {
		c.Security = TLS
	}
	if c.Port == 0 {
		c.Port = 993
		if c.Security != TLS {
			c.Port = 143
		}
	}
	if c.Auth == "" {
		c.Auth = Auto
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	if c.PageSize <= 0 {
		c.PageSize = 1000
	}
	if c.ContentLimit <= 0 {
		c.ContentLimit = 5 << 20
	}
	if c.WaitLimit <= 0 {
		c.WaitLimit = 5 * time.Minute
	}
	if c.Stall <= 0 {
		c.Stall = time.Minute
	}
	return c
}

// Options hold what is the same for every mailbox a Provider opens.
type Options struct {
	TLSConfig     *tls.Config
	Dial          func(ctx context.Context, network, addr string) (net.Conn, error)
	TokenSource   func(ctx context.Context, c Config) (string, error) // as Config's; nil: the credential's token is used
	PageSize      int
	ContentLimit  int64
	WaitLimit     time.Duration
	Stall         time.Duration
	AllowInsecure bool // credentials may ask for Insecure: for tests

	// PerServer bounds the connections of this Provider to one host and port at a time, PerMailbox those of one user there; 0 is no
	// limit. Servers count too: Dovecot allows a user 10 from one address by default, iCloud about 5 (facts 3.3). Connecting waits up
	// to ten seconds for a connection to end, in the order of asking, and is a provider.RateLimitError then. At most half of the
	// connections, rounded down, may be in Wait, which is ErrPolled beyond; with 1 none may.
	PerServer, PerMailbox int
}

// Provider opens IMAP mailboxes.
type Provider struct {
	opts   Options
	limits limits
}

// New returns a provider; nil options are the defaults.
func New(opts *Options) *Provider {
	p := &Provider{}
	if opts != nil {
		p.opts = *opts
	}
	p.limits.perServer, p.limits.perMailbox = p.opts.PerServer, p.opts.PerMailbox
	return p
}

func (p *Provider) Name() string { return "imap" }

// Open connects with a credential that is the JSON of a Config.
func (p *Provider) Open(ctx context.Context, credential []byte) (provider.Mailbox, error) {
	var c Config
	if err := json.Unmarshal(credential, &c); err != nil {
		// The decoder's error may quote what it read: leave it out.
		return nil, &provider.NeedsAction{Who: provider.Operator, Reason: "the stored IMAP credential is not readable: connect the mailbox again"}
	}
	if c.Security == Insecure && !p.opts.AllowInsecure {
		return nil, &provider.NeedsAction{Who: provider.User, Reason: "the mailbox is set up without encryption: choose TLS or STARTTLS"}
	}
	c.TLSConfig, c.Dial = p.opts.TLSConfig, p.opts.Dial
	c.PageSize, c.ContentLimit, c.WaitLimit, c.Stall = p.opts.PageSize, p.opts.ContentLimit, p.opts.WaitLimit, p.opts.Stall
	if src := p.opts.TokenSource; src != nil {
		stored := c
		c.TokenSource = func(ctx context.Context) (string, error) { return src(ctx, stored) }
	}
	c = c.withDefaults()
	c.place = p.limits.place(c)
	c.Dial = c.place.dial(c.Dial)
	m, err := Dial(ctx, c)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Mailbox is an open mailbox. One goroutine at a time may use it; Close may be called from any.
type Mailbox struct {
	cfg  Config
	news chan struct{} // the server spoke of mail that came or went in the selected folder

	mu         sync.Mutex         // guards what follows against Close and Polling
	connecting context.CancelFunc // ends the connecting under way, nil: none is
	conn       *watchedConn
	client     *imapclient.Client
	closed     bool
	job        *job   // the last that was begun; it is waited for before anything above or below is touched
	polling    string // why Wait is a pause, "" when it is not

	// Of this connection.
	connected   time.Time                   // since when
	caps        goimap.CapSet               // what the server offers
	gmail       bool                        // the server is Gmail's: \All holds everything, labels are folders
	selected    selection                   // what is selected
	plainList   bool                        // LIST takes no options, whatever the server says
	plainSelect bool                        // nor does EXAMINE
	namespaces  bool                        // prefixes are known
	prefixes    []string                    // of other people's folders
	personal    *goimap.NamespaceDescriptor // of the owner's, nil when it is not told
	listed      []*goimap.ListData          // what LIST answered last

	ignored []goimap.Cap      // for tests: capabilities that are not used
	folders []provider.Folder // what LIST told last
	opened  map[string]bool   // folders that could be opened, or told their state
	inbox   *mark             // how Changes left the inbox, nil before it looked
	slice   *slice            // the part of the history listed last

	ahead map[id]*message.Message // contents that were read before they were asked for
	early *early                  // so was this page of history
}

// Profile returns the owner as configured: IMAP knows none.
func (m *Mailbox) Profile(ctx context.Context) (provider.Profile, error) {
	addr := m.cfg.Address
	if addr == "" {
		addr = m.cfg.Username
	}
	return provider.Profile{Address: addr, Aliases: m.cfg.Aliases, Subject: m.cfg.Username + "@" + m.cfg.Host}, ctx.Err()
}

// Close ends the connection and any call under way.
func (m *Mailbox) Close() error {
	m.mu.Lock()
	connecting, conn, client, j := m.connecting, m.conn, m.client, m.job
	m.conn, m.client, m.closed = nil, nil, true
	m.mu.Unlock()
	if j != nil {
		j.cancel()
		defer func() { <-j.done }()
	}
	if connecting != nil {
		connecting()
	}
	if conn != nil {
		conn.abort()
		client.Close() //nolint:errcheck // the connection is gone either way
	}
	return nil
}

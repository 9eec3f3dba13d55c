package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"sync"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
)

// Dial connects and signs in.
func Dial(ctx context.Context, c Config) (*Mailbox, error) {
	c = c.withDefaults()
	switch {
	case c.Host == "":
		return nil, errors.New("imap: no host is set")
	case c.Username == "":
		return nil, errors.New("imap: no user name is set")
	case c.Security != TLS && c.Security != StartTLS && c.Security != Insecure:
		return nil, fmt.Errorf("imap: unknown security %q: use tls or starttls", c.Security)
	case c.Security == Insecure && !loopback(c.Host):
		return nil, fmt.Errorf("imap: refusing to sign in to %s in clear text: use tls or starttls", c.Host)
	}
	switch c.Auth {
	case Auto, Plain, Login, XOAuth2, OAuthBearer:
	default:
		return nil, fmt.Errorf("imap: unknown way to sign in %q: use auto", c.Auth)
	}
	m := &Mailbox{cfg: c, news: make(chan struct{}, 1), opened: map[string]bool{}}
	if err := m.connect(ctx); err != nil {
		return nil, m.wrap(ctx, "connecting", err)
	}
	return m, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// connect opens a connection and signs in; Close ends that. The error is raw.
func (m *Mailbox) connect(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	closed := m.closed
	m.connecting = cancel
	m.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	err := m.signedIn(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connecting = nil
	if m.closed {
		return net.ErrClosed
	}
	return err
}

// signedIn connects, with another token when the first is refused and there is one.
func (m *Mailbox) signedIn(ctx context.Context) error {
	if m.cfg.TokenSource == nil {
		return m.connectWith(ctx, m.cfg.Token)
	}
	token, err := m.cfg.TokenSource(ctx)
	if err != nil {
		return err
	}
	err = m.connectWith(ctx, token)
	if refused := (*tokenRefusal)(nil); errors.As(err, &refused) && ctx.Err() == nil {
		fresh, terr := m.cfg.TokenSource(context.WithValue(ctx, refusedKey{}, token))
		switch {
		case terr != nil:
			return terr
		case fresh != token:
			return m.connectWith(ctx, fresh)
		}
	}
	return err
}

func (m *Mailbox) connectWith(ctx context.Context, token string) error {
	raw, err := m.cfg.Dial(ctx, "tcp", net.JoinHostPort(m.cfg.Host, strconv.Itoa(m.cfg.Port)))
	if err != nil {
		return err
	}
	conn := &watchedConn{Conn: raw, stall: m.cfg.Stall}
	stop := context.AfterFunc(ctx, conn.abort)
	defer stop()
	conn.watch(true)
	defer conn.watch(false)
	open := false
	defer func() {
		if !open { // also where the host's TLSConfig panics: it has a seat
			conn.abort()
		}
	}()

	client, err := m.handshake(ctx, conn)
	if err == nil {
		before := client.Caps()
		if err = m.signIn(client, token); err == nil {
			m.caps, err = capabilities(client, before)
		}
		if err != nil {
			conn.abort()
			client.Close() //nolint:errcheck // the sign-in error is what matters
		}
	}
	if err != nil {
		return err
	}
	m.connected = time.Now()
	m.gmail = m.has("X-GM-EXT-1")
	m.selected, m.plainList, m.plainSelect, m.namespaces, m.prefixes, m.personal = selection{}, false, false, false, nil, nil
	polling := "the mail server has no IDLE: it is asked for new mail from time to time"
	if m.has(goimap.CapIdle) || m.has(goimap.CapIMAP4rev2) {
		polling = ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.polling = polling
	if m.closed {
		return net.ErrClosed
	}
	m.conn, m.client, open = conn, client, true
	return nil
}

// handshake brings the connection to where signing in is safe.
func (m *Mailbox) handshake(ctx context.Context, conn *watchedConn) (*imapclient.Client, error) {
	// go-imap's DebugWriter would see credentials: it stays unset.
	tell := func() {
		select {
		case m.news <- struct{}{}:
		default:
		}
	}
	opts := &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Expunge: func(uint32) { tell() },
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				tell()
			}
		},
	}}
	tc := &tls.Config{}
	if m.cfg.TLSConfig != nil {
		tc = m.cfg.TLSConfig.Clone()
	}
	if tc.ServerName == "" {
		tc.ServerName = m.cfg.Host
	}
	tc.MinVersion = max(tc.MinVersion, tls.VersionTLS12)

	var client *imapclient.Client
	switch m.cfg.Security {
	case TLS:
		tlsConn := tls.Client(conn, tc)
		if err := tlsConn.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		client = imapclient.New(tlsConn, opts)
	case StartTLS:
		opts.TLSConfig = tc
		var err error
		if client, err = imapclient.NewStartTLS(conn, opts); err != nil {
			// A refusal with a reason, or a greeting with BYE, is of the day.
			if se := (*goimap.Error)(nil); errors.As(err, &se) && se.Code == "" && se.Type != goimap.StatusResponseTypeBye && limited(se) == nil {
				return nil, &ConnectError{Reason: "the server does not offer STARTTLS, and the password is not sent in clear text: choose TLS", Err: err}
			}
			return nil, err
		}
	default:
		client = imapclient.New(conn, opts)
	}
	if err := greeting(client); err != nil {
		conn.abort()
		client.Close() //nolint:errcheck // the greeting error is what matters
		return nil, err
	}
	return client, nil
}

// greeting waits for the server's. Where that and the end of the connection are both there go-imap takes one of them by chance (imapclient, WaitGreeting), and a
// BYE says why it ended: it is asked until it would be a wonder.
func greeting(c *imapclient.Client) error {
	err := c.WaitGreeting()
	for try := 0; err != nil && asServerError(err) == nil && try < 64; try++ {
		err = c.WaitGreeting()
	}
	return err
}

// capabilities are what the server offers to who has signed in; before is what go-imap knew until then. They are asked for once a connection: of one that has
// ended go-imap tells them or none by chance (imapclient, Caps), and right after a sign-in whose answer has none it may still tell those of before.
func capabilities(c *imapclient.Client, before goimap.CapSet) (goimap.CapSet, error) {
	caps := c.Caps()
	if caps != nil && reflect.ValueOf(caps).Pointer() != reflect.ValueOf(before).Pointer() {
		return caps, nil
	}
	caps, err := c.Capability().Wait()
	if asServerError(err) != nil {
		return c.Caps(), nil // it won't say: then go-imap takes it to have none, and where it has no MOVE its Move expunges
	}
	return caps, err
}

// do runs f on a live connection. Cancelling ctx closes the connection; the next do opens another. A connection that
// had lain idle and turns out to be dead is replaced once, so f must bear being run twice.
func (m *Mailbox) do(ctx context.Context, verb string, f func(c *imapclient.Client) error) error {
	return m.wrap(ctx, verb, m.run(ctx, f))
}

func (m *Mailbox) run(ctx context.Context, f func(c *imapclient.Client) error) error {
	for {
		m.mu.Lock()
		reused := m.client != nil
		m.mu.Unlock()
		err := m.once(ctx, f)
		if err == nil || !reused || ctx.Err() != nil || !connectionDied(err) {
			return err
		}
	}
}

// once runs f without a second try.
func (m *Mailbox) once(ctx context.Context, f func(c *imapclient.Client) error) error {
	m.mu.Lock()
	missing := m.client == nil
	m.mu.Unlock()
	if missing {
		if err := m.connect(ctx); err != nil {
			return err
		}
	}
	m.mu.Lock()
	conn, client := m.conn, m.client
	m.mu.Unlock()
	if client == nil {
		return net.ErrClosed
	}
	// What is cancelled already is not begun: the connection might be quicker than its end.
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, conn.abort)
	conn.watch(true)
	panicked := true // then nothing is known of the connection
	var err error
	defer func() {
		conn.watch(false)
		stop()
		switch {
		case panicked:
			m.forget(conn, client)
			go client.Close() //nolint:errcheck // go-imap's reader may wait for whoever panicked, and Close for the reader
		case ctx.Err() != nil, err != nil && connectionDied(err):
			m.drop(conn, client)
		}
	}()
	err = f(client)
	panicked = false
	return err
}

// drop ends a connection.
func (m *Mailbox) drop(conn *watchedConn, client *imapclient.Client) {
	m.forget(conn, client)
	client.Close() //nolint:errcheck // it is broken already
}

// forget breaks a connection off. What go-imap has of it is to be closed.
func (m *Mailbox) forget(conn *watchedConn, client *imapclient.Client) {
	m.mu.Lock()
	if m.client == client {
		m.conn, m.client = nil, nil
	}
	m.mu.Unlock()
	m.selected = selection{}
	conn.abort()
}

// connectionDied reports whether err leaves the connection unusable: all but the server's own refusals and ours.
func connectionDied(err error) bool {
	var se *goimap.Error
	var own localError
	return !errors.As(err, &se) && !errors.As(err, &own) && !errors.Is(err, provider.ErrGone) && !errors.Is(err, provider.ErrUnsupported)
}

// localError is an error of this package with the connection in order.
type localError string

func (e localError) Error() string { return string(e) }

// watchedConn closes itself when a command gets no byte for a while: go-imap has no deadline between responses.
type watchedConn struct {
	net.Conn
	stall time.Duration

	mu    sync.Mutex // guards timer
	timer *time.Timer
}

func (c *watchedConn) abort() { c.Conn.Close() } //nolint:errcheck // nothing is left to save

func (c *watchedConn) watch(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if on {
		c.timer = time.AfterFunc(c.stall, c.abort)
	}
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.alive(n)
	return n, err
}

// Write counts as life too: a server says nothing while it is sent a large message.
func (c *watchedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.alive(n)
	return n, err
}

func (c *watchedConn) alive(n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Reset(c.stall)
	}
}

package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"
)

// patientConn gives every answer its own time: go-mail has one deadline for a whole message (facts 4).
type patientConn struct {
	net.Conn
	timeout time.Duration
}

func (c *patientConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *patientConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// connection is an encrypted and authenticated session.
type connection struct {
	*gosmtp.Client
	conn *patientConn
	stop func() bool
	out  bool // the end of the message was, or is being, sent: what the server says to it counts
}

// settle is how long an answer is waited for that decides whether a message was sent, when nobody waits any more.
const settle = 10 * time.Second

// patient waits for the next answer for as long as that, and where ctx ends for a little still. false: it has ended already, and the connection with it.
func (c *connection) patient(ctx context.Context, wait time.Duration) bool {
	if !c.stop() {
		return false
	}
	c.conn.timeout = wait
	late := make(chan struct{})
	ended := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(settle)
		defer timer.Stop()
		select {
		case <-timer.C:
			c.conn.Close()
		case <-late:
		}
	})
	c.stop = func() bool {
		close(late)
		return ended()
	}
	return true
}

// bye takes leave, without much patience: nothing depends on the answer.
func (c *connection) bye() {
	c.conn.timeout = min(c.conn.timeout, settle)
	_ = c.Quit()
}

func (c *connection) end() {
	c.stop()
	c.conn.Close()
}

// connect takes every step up to authentication. A cancelled context closes the connection, which ends whatever runs.
func connect(ctx context.Context, cfg Config) (*connection, *TestError) {
	raw, err := cfg.Dial(ctx, "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)))
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			return nil, failed(StepName, err)
		}
		return nil, failed(StepConnect, err)
	}
	c := &connection{conn: &patientConn{raw, cfg.Timeout}, stop: context.AfterFunc(ctx, func() { raw.Close() })}
	if e := c.open(ctx, cfg, c.conn); e != nil {
		c.end()
		if ctx.Err() != nil {
			e.Err = errors.Join(ctx.Err(), e.Err)
		}
		return nil, e
	}
	return c, nil
}

func (c *connection) open(ctx context.Context, cfg Config, conn net.Conn) *TestError {
	if cfg.Encryption == SSL {
		t := tls.Client(conn, cfg.TLSConfig)
		limited, cancel := context.WithTimeout(ctx, cfg.Timeout)
		defer cancel()
		if err := t.HandshakeContext(limited); err != nil {
			return failed(StepTLS, err)
		}
		conn = t
	}
	client, err := gosmtp.NewClient(conn, cfg.Host)
	if err != nil {
		return failed(StepGreeting, err)
	}
	c.Client = client
	if err := client.Hello(cfg.HELO); err != nil {
		return failed(StepGreeting, err)
	}
	if cfg.Encryption == TLS {
		if ok, _ := client.Extension("STARTTLS"); !ok {
			return failed(StepTLS, &unsupportedError{"encryption (STARTTLS)"})
		}
		if err := client.StartTLS(cfg.TLSConfig); err != nil {
			return failed(StepTLS, err)
		}
	}
	// Whatever happened above: no login and no mail in clear text.
	if state, ok := client.TLSConnectionState(); !ok || !state.HandshakeComplete {
		return failed(StepTLS, &unsupportedError{"encryption"})
	}
	if cfg.Username == "" {
		return nil
	}
	auth, err := mechanism(client, cfg)
	if err != nil {
		return failed(StepAuthentication, err)
	}
	if err := client.Auth(auth); err != nil {
		return failed(StepAuthentication, err)
	}
	return nil
}

// mechanism chooses how to log in. Our own order, because go-mail's prefers NTLM, which some Exchange servers
// advertise and break (facts 4). The link is encrypted, so PLAIN comes first: every server gets it right.
func mechanism(c *gosmtp.Client, cfg Config) (gosmtp.Auth, error) {
	_, params := c.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(params))
	if cfg.Token != "" {
		if !slices.Contains(offered, "XOAUTH2") {
			return nil, &unsupportedError{"login by token (XOAUTH2)"}
		}
		return gosmtp.XOAuth2Auth(cfg.Username, string(cfg.Token)), nil
	}
	user, password := cfg.Username, string(cfg.Password)
	for _, m := range []struct {
		name string
		auth gosmtp.Auth
	}{
		{"PLAIN", gosmtp.PlainAuth("", user, password, cfg.Host, false)},
		{"LOGIN", gosmtp.LoginAuth(user, password, cfg.Host, false)},
		{"SCRAM-SHA-256", gosmtp.ScramSHA256Auth(user, password)},
		{"SCRAM-SHA-1", gosmtp.ScramSHA1Auth(user, password)},
		{"CRAM-MD5", gosmtp.CRAMMD5Auth(user, password)},
	} {
		if slices.Contains(offered, m.name) {
			return m.auth, nil
		}
	}
	return nil, &unsupportedError{"a login by password"}
}

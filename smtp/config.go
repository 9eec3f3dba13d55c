// Package smtp sends mail through a user's own mail server. It is for hosts whose users send by SMTP: Sender sends
// what was composed, Test says which step of a configuration fails, and Compose renders a message,
// also one that the engine sends by Gmail or Graph.
//
// It never sends over a connection that is not encrypted, and it never repeats a message whose fate is unknown.
package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/intellicon/email-integration/message"
)

// Secret is a password or token. It prints as "redacted"; encoding/json writes it, for storage that is sealed.
type Secret string

func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "redacted") }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue("redacted") }

// Encryption says how the connection is encrypted. There is no way to send without.
type Encryption string

const (
	TLS Encryption = "tls" // STARTTLS, which the server must offer; port 587
	SSL Encryption = "ssl" // TLS from the first byte; port 465
)

// Config is how to reach a mail server. It is stored as JSON.
type Config struct {
	Host        string     `json:"host"`
	Port        int        `json:"port,omitempty"` // 0: 587 for TLS, 465 for SSL
	Encryption  Encryption `json:"encryption,omitempty"`
	Username    string     `json:"username,omitempty"` // "": no authentication
	Password    Secret     `json:"password,omitempty"`
	Token       Secret     `json:"token,omitempty"` // an OAuth access token, instead of a password
	FromAddress string     `json:"from_address"`
	FromName    string     `json:"from_name,omitempty"`
	HELO        string     `json:"helo,omitempty"` // "": the domain of FromAddress

	Timeout time.Duration `json:"timeout,omitempty"`  // for each answer of the server; 0: two minutes, and ten for that to the message
	MaxSize int           `json:"max_size,omitempty"` // bytes of a message; 0: 35 MiB

	TLSConfig *tls.Config `json:"-"` // nil: the system's roots. ServerName and TLS 1.2 are filled in.
	// Dial connects; nil is a net.Dialer. A host that takes server names from users sets it to a dialguard.Guard's DialContext,
	// which refuses private addresses.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// FieldError is a wrong field of a Config.
type FieldError = message.FieldError

// Validate names every wrong field in one error, each as a *FieldError.
func (c Config) Validate() error {
	var errs []error
	wrong := func(field, problem string) { errs = append(errs, &FieldError{Field: field, Problem: problem}) }
	if c.Host == "" {
		wrong("host", "the name of the mail server is missing")
	} else if net.ParseIP(c.Host) == nil && !isHostname(c.Host) {
		wrong("host", "this is not a host name; give it without scheme and port")
	}
	if c.Port < 0 || c.Port > 65535 {
		wrong("port", "a port is a number from 1 to 65535")
	}
	if c.Encryption != "" && c.Encryption != TLS && c.Encryption != SSL {
		wrong("encryption", `it is "tls" or "ssl"`)
	}
	if c.Username == "" && (c.Password != "" || c.Token != "") {
		wrong("username", "a password or token needs a user name")
	}
	if c.Username != "" && c.Password == "" && c.Token == "" {
		wrong("password", "a user name needs a password or a token")
	}
	if c.Password != "" && c.Token != "" {
		wrong("token", "give a password or a token, not both")
	}
	for field, v := range map[string]string{"username": c.Username, "password": string(c.Password), "token": string(c.Token), "from_name": c.FromName} {
		if hasControl(v) {
			wrong(field, "it holds control characters")
		}
	}
	if checkAddress(c.FromAddress) != nil {
		wrong("from_address", "this is not an email address")
	}
	if c.HELO != "" && !isHostname(strings.Trim(c.HELO, "[]")) && net.ParseIP(strings.Trim(c.HELO, "[]")) == nil {
		wrong("helo", "this is not a host name")
	}
	if c.Timeout < 0 {
		wrong("timeout", "it can't be negative")
	}
	if c.MaxSize < 0 {
		wrong("max_size", "it can't be negative")
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Encryption == "" {
		c.Encryption = TLS
		if c.Port == 465 {
			c.Encryption = SSL
		}
	}
	if c.Port == 0 {
		c.Port = map[Encryption]int{TLS: 587, SSL: 465}[c.Encryption]
	}
	if c.HELO == "" {
		c.HELO = domainOf(c.FromAddress)
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Minute
	}
	if c.MaxSize == 0 {
		c.MaxSize = 35 << 20
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	t := &tls.Config{}
	if c.TLSConfig != nil {
		t = c.TLSConfig.Clone()
	}
	if t.ServerName == "" {
		t.ServerName = c.Host
	}
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	c.TLSConfig = t
	return c
}

// LogValue implements slog.LogValuer: where, never who or with what.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("host", c.Host), slog.Int("port", c.Port), slog.String("encryption", string(c.Encryption)))
}

// Format implements fmt.Formatter for every verb, so that no secret prints.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "smtp.Config{%s:%d %s}", c.Host, c.Port, c.Encryption)
}

func isHostname(s string) bool {
	a, err := idna.Lookup.ToASCII(s)
	return err == nil && a != "" && len(a) <= 253 && !strings.ContainsAny(a, ":/@ ") && !hasControl(a)
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// checkAddress accepts a bare address only: what prints again exactly as it was written.
func checkAddress(a string) error {
	if len(a) > 254 || hasControl(a) {
		return errors.New("not an email address")
	}
	p, err := netmail.ParseAddress(a)
	if err != nil || p.Name != "" || p.String() != "<"+a+">" {
		return errors.New("not an email address")
	}
	return nil
}

// domainOf returns the domain of an address in A-labels.
func domainOf(a string) string {
	d := a[strings.LastIndexByte(a, '@')+1:]
	if ascii, err := idna.Lookup.ToASCII(d); err == nil {
		return ascii
	}
	return strings.ToLower(d)
}

// asciiDomain returns the address with its domain in A-labels.
func asciiDomain(a string) string { return a[:strings.LastIndexByte(a, '@')+1] + domainOf(a) }

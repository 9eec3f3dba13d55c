package mailworld

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Server is an embedded mail server on two loopback ports: IMAP and SMTP, both with implicit TLS by a certificate of its
// own. A mail sent through it by the owner is kept in Sent, as Gmail and Exchange do, and delivered where the recipient is
// the owner. It serves one mailbox and forgets everything when it ends.
type Server struct {
	IMAP, SMTP net.Addr
	Roots      *x509.CertPool // trust this to talk to it

	user  *imapmemserver.User
	news  news
	owner string
	imapd *imapserver.Server
	smtpd *smtp.Server
	ports []net.Listener
	done  sync.WaitGroup
	mu    sync.Mutex // guards sent
	sent  [][]byte

	// Kept is called for every mail that arrives through SMTP, before it is filed. May be nil; set it before use.
	Kept func(Mail) error
}

// Folders of the embedded mailbox, INBOX beside them.
// They are made in this order: the same mails have the same UIDs and
// UIDVALIDITYs in the next run.
var folders = []struct {
	name string
	attr imap.MailboxAttr
}{
	{"Sent", imap.MailboxAttrSent}, {"Archive", imap.MailboxAttrArchive}, {"Junk", imap.MailboxAttrJunk},
	{"Trash", imap.MailboxAttrTrash}, {"Drafts", imap.MailboxAttrDrafts},
}

// Serve starts a server for one mailbox with the given mails. Close ends it.
func Serve(owner, password string, mails []Mail) (*Server, error) {
	cert, roots, err := certificate()
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	s := &Server{Roots: roots, owner: owner, user: imapmemserver.NewUser(owner, password)}
	if err := s.user.Create("INBOX", nil); err != nil {
		return nil, err
	}
	for _, f := range folders {
		if err := s.user.Create(f.name, &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{f.attr}}); err != nil {
			return nil, err
		}
	}
	for _, m := range mails {
		if err := s.Deliver(m); err != nil {
			return nil, err
		}
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.imapd = imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &session{imapmemserver.NewUserSession(s.user), &s.news}, nil, nil
		},
		Caps: imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}, imap.CapMove: {}, imap.CapSpecialUse: {},
			imap.CapListStatus: {}, imap.CapESearch: {}, imap.CapNamespace: {}},
		Logger: quiet{},
	})
	il, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		return nil, err
	}
	sl, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		il.Close()
		return nil, err
	}
	s.IMAP, s.SMTP, s.ports = il.Addr(), sl.Addr(), []net.Listener{il, sl}
	s.smtpd = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &smtpSession{server: s, password: password}, nil
	}))
	s.smtpd.Domain = "localhost"
	s.smtpd.MaxMessageBytes = 32 << 20
	s.smtpd.ErrorLog = quiet{}
	s.done.Go(func() { s.imapd.Serve(il) })
	s.done.Go(func() { s.smtpd.Serve(sl) })
	return s, nil
}

// Deliver puts a mail into a folder.
func (s *Server) Deliver(m Mail) error {
	defer s.news.say()
	if _, err := s.user.Append(m.Folder, literal{bytes.NewReader(m.Raw)}, &imap.AppendOptions{Time: m.At}); err != nil {
		return fmt.Errorf("delivering to %s: %w", m.Folder, err)
	}
	return nil
}

// Sent returns the messages that left through SMTP.
func (s *Server) Sent() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.sent...)
}

// Close ends the server and waits for it.
func (s *Server) Close() error {
	err := errors.Join(s.imapd.Close(), s.smtpd.Close())
	for _, l := range s.ports {
		l.Close() //nolint:errcheck // closed already, unless its server has not begun to serve
	}
	s.done.Wait()
	return err
}

type literal struct{ *bytes.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

type smtpSession struct {
	server   *Server
	password string
	authed   bool
	to       []string
}

func (c *smtpSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *smtpSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		if user != c.server.owner || pass != c.password {
			return smtp.ErrAuthFailed
		}
		c.authed = true
		return nil
	}), nil
}

func (c *smtpSession) Mail(string, *smtp.MailOptions) error {
	if !c.authed {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (c *smtpSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.to = append(c.to, to)
	return nil
}

func (c *smtpSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.server.mu.Lock()
	c.server.sent = append(c.server.sent, raw)
	c.server.mu.Unlock()
	mails := []Mail{{"Sent", time.Now(), raw}}
	for _, to := range c.to {
		if strings.EqualFold(to, c.server.owner) {
			mails = append(mails, Mail{"INBOX", time.Now(), raw})
			break
		}
	}
	for _, m := range mails {
		if c.server.Kept != nil {
			if err := c.server.Kept(m); err != nil {
				return err
			}
		}
		if err := c.server.Deliver(m); err != nil {
			return err
		}
	}
	return nil
}

func (c *smtpSession) Reset()        { c.to = nil }
func (c *smtpSession) Logout() error { return nil }

func certificate() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "embedded mail server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots, nil
}

package smtp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/intellicon/email-integration/provider/providertest"
	"github.com/intellicon/email-integration/smtp"
)

// server is a mail server in the test: what it took and how it should misbehave.
type server struct {
	roots *x509.CertPool
	addr  *net.TCPAddr

	mu       sync.Mutex // guards what is below
	got      []providertest.Delivery
	commands int // MAIL commands
	rejectRcpt, rejectMail,
	rejectData *gosmtp.SMTPError
	lose      *providertest.Loss
	meanwhile func() // called at each RCPT
	mailing   func() // called at each MAIL
}

type session struct {
	s    *server
	conn net.Conn
	d    providertest.Delivery
	auth bool
}

func (s *session) Reset()                   { s.d = providertest.Delivery{} }
func (s *session) Logout() error            { return nil }
func (s *session) AuthMechanisms() []string { return []string{"PLAIN"} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "me" || password != "s3cret" {
			return gosmtp.ErrAuthFailed
		}
		s.auth = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *gosmtp.MailOptions) error {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.commands++
	if s.s.mailing != nil {
		s.s.mailing()
	}
	if !s.auth {
		return gosmtp.ErrAuthRequired
	}
	s.d.From = from
	return orNil(s.s.rejectMail)
}

func orNil(e *gosmtp.SMTPError) error {
	if e == nil {
		return nil
	}
	return e
}

func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	if s.s.meanwhile != nil {
		s.s.meanwhile()
	}
	if s.s.rejectRcpt != nil && to == "carl@sender.example" {
		return s.s.rejectRcpt
	}
	s.d.Recipients = append(s.d.Recipients, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	if s.s.rejectData != nil {
		return s.s.rejectData
	}
	if s.s.lose != nil {
		defer s.conn.Close()
		if *s.s.lose == providertest.LostBefore {
			return errors.New("lost")
		}
	}
	s.d.Raw = raw
	s.s.got = append(s.s.got, s.d)
	return nil
}

type quiet struct{}

func (quiet) Write(p []byte) (int, error) { return len(p), nil }

// certificate makes an authority and a certificate for a name, both for this test only.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, _ = x509.ParseCertificate(caDER)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, DNSNames: []string{name}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func newServer(t *testing.T, e smtp.Encryption, change func(*gosmtp.Server)) *server {
	t.Helper()
	cert, roots := certificate(t, "localhost")
	s := &server{roots: roots}
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(c *gosmtp.Conn) (gosmtp.Session, error) {
		return &session{s: s, conn: c.Conn()}, nil
	}))
	srv.Domain, srv.TLSConfig, srv.ErrorLog = "localhost", &tls.Config{Certificates: []tls.Certificate{cert}}, log.New(quiet{}, "", 0)
	if change != nil {
		change(srv)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().(*net.TCPAddr)
	if e == smtp.SSL {
		l = tls.NewListener(l, srv.TLSConfig)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { srv.Close(); l.Close(); wg.Wait() }) // Serve may not have begun
	return s
}

func (s *server) config(e smtp.Encryption) smtp.Config {
	return smtp.Config{
		Host: "localhost", Port: s.addr.Port, Encryption: e, Username: "me", Password: "s3cret",
		FromAddress: "me@acme.example", FromName: "Me", Timeout: time.Minute, TLSConfig: &tls.Config{RootCAs: s.roots},
	}
}

func (s *server) deliveries() []providertest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

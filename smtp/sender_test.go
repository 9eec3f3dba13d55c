package smtp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
	"github.com/intellicon/email-integration/smtp"
)

type harness struct {
	s *server
	e smtp.Encryption
}

func (h harness) Sender(t *testing.T) provider.Sender {
	s, err := smtp.New(h.s.config(h.e))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
func (h harness) Delivered(*testing.T) []providertest.Delivery { return h.s.deliveries() }
func (h harness) Lose(_ *testing.T, l providertest.Loss) bool {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.s.lose = &l
	return true
}

func TestSender(t *testing.T) {
	for _, e := range []smtp.Encryption{smtp.TLS, smtp.SSL} {
		t.Run(string(e), func(t *testing.T) {
			providertest.TestSender(t, func(t *testing.T) providertest.SenderHarness { return harness{newServer(t, e, nil), e} })
		})
	}
}

var raw = []byte("From: me@acme.example\r\nTo: ada@sender.example\r\nMessage-ID: <1@acme.example>\r\nSubject: x\r\n\r\n.dot\r\nend\r\n")

var options = provider.SendOptions{From: "me@acme.example", Recipients: []string{"ada@sender.example", "carl@sender.example"}, MessageID: "1@acme.example"}

func release(t *testing.T, c smtp.Config) (provider.Sent, error) {
	t.Helper()
	s, err := smtp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Stage(t.Context(), raw, options)
	if err != nil {
		t.Fatal(err)
	}
	return s.Release(t.Context(), st)
}

func TestReleaseSendsExactlyTheBytes(t *testing.T) {
	s := newServer(t, smtp.TLS, nil)
	if _, err := release(t, s.config(smtp.TLS)); err != nil {
		t.Fatal(err)
	}
	if got := s.deliveries()[0].Raw; !bytes.Equal(got, raw) {
		t.Errorf("got %q\nwant %q", got, raw)
	}
}

// Who is named in To and in Bcc gets the mail once: not every server looks.
func TestRecipientTwice(t *testing.T) {
	s := newServer(t, smtp.TLS, nil)
	sender, err := smtp.New(s.config(smtp.TLS))
	if err != nil {
		t.Fatal(err)
	}
	o := options
	o.Recipients = []string{"ada@sender.example", "Ada@sender.example", "ada@Sender.Example", "carl@sender.example", "ada@sender.example"}
	st, err := sender.Stage(t.Context(), raw, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Release(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	// Only the server knows whether Ada and ada are one.
	if got, want := s.deliveries()[0].Recipients, []string{"ada@sender.example", "Ada@sender.example", "carl@sender.example"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTypedErrors(t *testing.T) {
	s := newServer(t, smtp.TLS, nil)
	s.rejectRcpt = &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such carl@sender.example"}
	_, err := release(t, s.config(smtp.TLS))
	var refused *smtp.SendError
	if !errors.As(err, &refused) || refused.Temporary || refused.Code != 550 || refused.Enhanced != "5.1.1" || len(refused.Rejected) != 1 ||
		refused.Rejected[0].Recipient != "carl@sender.example" || strings.Contains(err.Error(), "carl") {
		t.Errorf("recipient: %v %+v", err, refused)
	}
	s.rejectRcpt, s.rejectData = nil, &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "later"}
	if _, err = release(t, s.config(smtp.TLS)); !errors.As(err, &refused) || !refused.Temporary || refused.Code != 451 {
		t.Errorf("temporary: %v", err)
	}
	s.rejectData = nil
	after := providertest.LostAfter
	s.lose = &after
	var unknown *smtp.UnknownOutcomeError
	if _, err = release(t, s.config(smtp.TLS)); !errors.As(err, &unknown) {
		t.Errorf("lost: %v", err)
	}
	c := s.config(smtp.TLS)
	c.Password = "wrong-pass"
	var action *provider.NeedsAction
	if _, err = release(t, c); !errors.As(err, &action) || action.Who != provider.User || strings.Contains(err.Error(), "wrong-pass") {
		t.Errorf("login: %v", err)
	}
}

// RFC 5321, 4.2.1: the first digit says whether a message was accepted. What is no yes and no no leaves it open.
func TestOddAnswersToTheMessage(t *testing.T) {
	s := newServer(t, smtp.TLS, nil)
	for code, sent := range map[int]bool{200: true, 251: true, 252: true, 354: false, 150: false} {
		s.rejectData = &gosmtp.SMTPError{Code: code, EnhancedCode: gosmtp.NoEnhancedCode, Message: "queued"}
		got, err := release(t, s.config(smtp.TLS))
		var unknown *smtp.UnknownOutcomeError
		switch {
		case sent && (err != nil || got.Response == ""):
			t.Errorf("%d: %+v, %v", code, got, err)
		case !sent && (!errors.As(err, &unknown) || errors.Is(err, provider.ErrNotSent)):
			t.Errorf("%d: %v", code, err)
		}
	}
}

// Whoever stops a release before the message is out knows that nothing was sent.
func TestStoppedReleaseWasNotSent(t *testing.T) {
	s := newServer(t, smtp.TLS, nil)
	for _, when := range []string{"before", "connecting", "recipients"} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := s.config(smtp.TLS)
		s.meanwhile = nil
		switch when {
		case "connecting":
			c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				cancel()
				return nil, ctx.Err()
			}
		case "recipients":
			s.meanwhile = cancel
		}
		sender, err := smtp.New(c)
		if err != nil {
			t.Fatal(err)
		}
		st, err := sender.Stage(ctx, raw, options)
		if err != nil {
			t.Fatal(err)
		}
		if when == "before" {
			cancel()
		}
		_, err = sender.Release(ctx, st)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, provider.ErrNotSent) || !errors.Is(err, provider.ErrTryLater) {
			t.Errorf("%s: %v", when, err)
		}
	}
	if n := len(s.deliveries()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestStageRefuses(t *testing.T) {
	s, err := smtp.New(smtp.Config{Host: "mail.acme.example", FromAddress: "me@acme.example", MaxSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"bcc":     "Bcc: x@y.example\r\n" + string(raw),
		"bare lf": string(raw) + "a\nb\r\n", "bare cr": string(raw) + "a\rb\r\n", "nul": string(raw) + "\x00",
		"smuggled": string(raw) + "\n.\nMAIL FROM:<evil@x.example>\r\n", "large": string(raw) + strings.Repeat("x", 500),
		"other id": strings.Replace(string(raw), "<1@", "<2@", 1), "no header": "hello",
	} {
		if _, err := s.Stage(t.Context(), []byte(bad), options); err == nil {
			t.Errorf("%s was staged", name)
		}
		if _, err := s.Release(t.Context(), provider.Staged{Raw: []byte(bad), Options: options}); err == nil {
			t.Errorf("%s was released", name)
		}
	}
}

func TestTestSteps(t *testing.T) {
	step := func(t *testing.T, c smtp.Config, want smtp.Step) {
		t.Helper()
		s, err := smtp.New(c)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Test(t.Context())
		var e *smtp.TestError
		if want == "" && err != nil || want != "" && (!errors.As(err, &e) || e.Step != want || e.Hint == "") {
			t.Errorf("got %v, want step %q", err, want)
		}
	}
	for _, enc := range []smtp.Encryption{smtp.TLS, smtp.SSL} {
		s := newServer(t, enc, nil)
		good := s.config(enc)
		step(t, good, "")
		c := good
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}
		step(t, c, smtp.StepName)
		c = good
		// A client's own port: nobody listens there, and while it is in use nobody else is given it.
		client, err := net.Dial("tcp", s.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		c.Port = client.LocalAddr().(*net.TCPAddr).Port
		step(t, c, smtp.StepConnect)
		c = good
		c.TLSConfig = nil // the test's authority is unknown to the system
		step(t, c, smtp.StepTLS)
		c = good
		c.Password = "no"
		step(t, c, smtp.StepAuthentication)
		c = good
		c.Password, c.Token = "", "t" // no XOAUTH2 here
		step(t, c, smtp.StepAuthentication)
		s.rejectMail = &gosmtp.SMTPError{Code: 553, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "not yours"}
		step(t, good, smtp.StepSender)
		if n := len(s.deliveries()); n != 0 {
			t.Errorf("Test sent %d messages", n)
		}
	}
	// A server that offers no STARTTLS sees neither login nor mail.
	s := newServer(t, smtp.TLS, func(srv *gosmtp.Server) { srv.TLSConfig = nil; srv.AllowInsecureAuth = true })
	step(t, s.config(smtp.TLS), smtp.StepTLS)
	if _, err := release(t, s.config(smtp.TLS)); err == nil || s.commands != 0 {
		t.Errorf("sent in clear text: %v, %d", err, s.commands)
	}
	// Something that is no mail server.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			conn.Close()
		}
	}()
	c := s.config(smtp.TLS)
	c.Port = l.Addr().(*net.TCPAddr).Port
	step(t, c, smtp.StepGreeting)
}

// ending says when it is closed.
type ending struct {
	net.Conn
	closed func()
}

func (e ending) Close() error {
	defer e.closed()
	return e.Conn.Close()
}

// Who stops a test hears of that, also where it was at its last step.
func TestStoppedTest(t *testing.T) {
	s := newServer(t, smtp.TLS, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	closed := make(chan struct{})
	s.mailing = func() { cancel(); <-closed }
	c := s.config(smtp.TLS)
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return ending{conn, sync.OnceFunc(func() { close(closed) })}, err
	}
	sender, err := smtp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Test(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c := smtp.Config{Host: "mail.acme.example", Username: "me", Password: "hunter2", FromAddress: "me@acme.example"}
	s, err := smtp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, v := range []any{c, &c, s, *s, c.Password, struct{ C smtp.Config }{c}} {
		fmt.Fprintf(&b, "%v %+v %#v %s %q %x\n", v, v, v, v, v, v)
	}
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "c", c, "p", &c, "s", s, "w", c.Password)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "c", c, "p", &c, "s", s, "w", c.Password)
	if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "68756e74657232") {
		t.Error(b.String())
	}
}

func TestValidateNamesEveryField(t *testing.T) {
	err := smtp.Config{Host: "smtp://x", Port: 70000, Encryption: "none", Password: "a\r\n", Token: "b", FromAddress: "me", HELO: "a b"}.Validate()
	for _, f := range []string{"host:", "port:", "encryption:", "username:", "password:", "token:", "from_address:", "helo:"} {
		if err == nil || !strings.Contains(err.Error(), f) {
			t.Errorf("%s is not in %v", f, err)
		}
	}
}

func TestPostfix(t *testing.T) {
	addr := os.Getenv("EMAILINT_POSTFIX") // host:port of a submission server; user, password and recipient as below
	if addr == "" {
		t.Skip("EMAILINT_POSTFIX is not set: host:port of a Postfix with STARTTLS, with EMAILINT_POSTFIX_USER, _PASSWORD and _TO")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	to := os.Getenv("EMAILINT_POSTFIX_TO")
	s, err := smtp.New(smtp.Config{Host: host, Port: n, Encryption: smtp.TLS, Username: os.Getenv("EMAILINT_POSTFIX_USER"),
		Password: smtp.Secret(os.Getenv("EMAILINT_POSTFIX_PASSWORD")), FromAddress: to})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Test(t.Context()); err != nil {
		t.Fatal(err)
	}
	me := message.NewAddress("", to)
	raw, id, err := smtp.Compose(smtp.Outgoing{From: me, To: []message.Address{me}, Subject: "test", Text: "test"})
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Stage(t.Context(), raw, provider.SendOptions{From: to, Recipients: []string{to}, MessageID: id})
	if err != nil {
		t.Fatal(err)
	}
	if sent, err := s.Release(t.Context(), st); err != nil || sent.Response == "" {
		t.Error(sent, err)
	}
}

package imap_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
)

// server is an IMAP server in memory that can be told to misbehave.
type server struct {
	user   *imapmemserver.User
	addr   *net.TCPAddr
	poison atomic.Uint32 // a header FETCH that covers this UID of the inbox gets bytes no client understands
	hang   atomic.Bool   // FETCH never answers
	logins atomic.Int32
}

type session struct {
	imapserver.Session
	s    *server
	conn *imapserver.Conn
	box  string
}

func (s *session) Login(user, password string) error {
	s.s.logins.Add(1)
	return s.Session.Login(user, password)
}

func (s *session) Select(name string, o *goimap.SelectOptions) (*goimap.SelectData, error) {
	if !o.ReadOnly {
		return nil, errors.New("only EXAMINE is expected")
	}
	s.box = name
	return s.Session.Select(name, o)
}

func (s *session) Fetch(w *imapserver.FetchWriter, set goimap.NumSet, o *goimap.FetchOptions) error {
	if s.s.hang.Load() {
		io.Copy(io.Discard, s.conn.NetConn()) //nolint:errcheck // until the client goes away
		return io.EOF
	}
	for _, b := range o.BodySection {
		if !b.Peek {
			return errors.New("only PEEK is expected")
		}
	}
	if p := s.s.poison.Load(); p != 0 && s.box == "INBOX" && len(o.BodySection) > 0 && set.(goimap.UIDSet).Contains(goimap.UID(p)) {
		s.conn.NetConn().Write([]byte("* 1 FETCH (UID 1 X-UNHEARD-OF 1)\r\n")) //nolint:errcheck // the client may be gone
	}
	return s.Session.Fetch(w, set, o)
}

func newServer(t *testing.T, folders ...string) *server {
	t.Helper()
	s := &server{user: imapmemserver.NewUser("ada@example.com", "secret")}
	mem := imapmemserver.New()
	mem.AddUser(s.user)
	for _, f := range folders {
		if err := s.user.Create(f, nil); err != nil {
			t.Fatal(err)
		}
	}
	srv := imapserver.New(&imapserver.Options{
		NewSession: func(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &session{Session: mem.NewSession(), s: s, conn: c}, nil, nil
		},
		Caps:         goimap.CapSet{goimap.CapIMAP4rev1: {}, goimap.CapIdle: {}, goimap.CapESearch: {}},
		InsecureAuth: true,
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().(*net.TCPAddr)
	go srv.Serve(ln) //nolint:errcheck // ends with Close
	t.Cleanup(func() { srv.Close() })
	return s
}

func (s *server) config() imap.Config {
	return imap.Config{Host: "127.0.0.1", Port: s.addr.Port, Username: "ada@example.com", Password: "secret", Security: imap.Insecure}
}

func (s *server) dial(t *testing.T, change func(*imap.Config)) *imap.Mailbox {
	t.Helper()
	c := s.config()
	if change != nil {
		change(&c)
	}
	m, err := imap.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

type literal struct {
	io.Reader
	size int64
}

func (l literal) Size() int64 { return l.size }

func (s *server) add(t *testing.T, folder string, at time.Time, raw string) {
	t.Helper()
	if _, err := s.user.Append(folder, literal{strings.NewReader(raw), int64(len(raw))}, &goimap.AppendOptions{Time: at}); err != nil {
		t.Fatal(err)
	}
}

func mail(n string) string {
	return "From: Bob <bob@example.org>\r\nTo: ada@example.com\r\nSubject: " + n + "\r\nMessage-ID: <" + n + "@example.org>\r\n\r\nHello " + n + ".\r\n"
}

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func subjects(items []provider.Item) string {
	var out []string
	for _, it := range items {
		s := it.Envelope.Subject
		if it.Err != nil {
			s = "!"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestStartThenChanges(t *testing.T) {
	s := newServer(t, "INBOX", "Sent", "Trash", "Spam", "Projects")
	s.add(t, "INBOX", noon, mail("old"))
	m := s.dial(t, func(c *imap.Config) { c.PageSize = 2 })
	cur, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.add(t, "INBOX", noon, mail("a"))
	s.add(t, "INBOX", noon, mail("b"))
	s.add(t, "Sent", noon, mail("c"))
	s.add(t, "Projects", noon, mail("d"))
	s.add(t, "Trash", noon, mail("no"))
	s.add(t, "Spam", noon, mail("no"))
	var got []string
	for range 10 {
		p, err := m.Changes(t.Context(), cur)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Items) > 2 {
			t.Errorf("a page of %d items, want at most 2", len(p.Items))
		}
		for _, it := range p.Items {
			got = append(got, it.Envelope.Subject)
			if it.Envelope.Sent != (it.Envelope.Subject == "c") {
				t.Errorf("%s: Sent = %v", it.Envelope.Subject, it.Envelope.Sent)
			}
			if !it.Envelope.Received.Equal(noon) || it.Size == 0 || len(it.Folders) != 1 {
				t.Errorf("incomplete item %+v", it)
			}
		}
		cur = p.Next
		if !p.More {
			break
		}
	}
	if s := strings.Join(got, " "); s != "a b c d" {
		t.Errorf("listed %q, want a b c d", s)
	}
	p, err := m.Changes(t.Context(), cur)
	if err != nil || len(p.Items) != 0 || p.More {
		t.Errorf("at the end: %v items, more %v, err %v", len(p.Items), p.More, err)
	}
}

func TestFoldersComeGoAndAreRenumbered(t *testing.T) {
	s := newServer(t, "INBOX", "Old", "Projects")
	s.add(t, "Projects", noon, mail("p1"))
	m := s.dial(t, func(c *imap.Config) { c.PageSize = 2 })
	cur, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.user.Delete("Old"), s.user.Delete("Projects"), s.user.Create("Projects", nil), s.user.Create("New", nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"p1", "p2", "p3"} {
		s.add(t, "Projects", noon, mail(n))
	}
	s.add(t, "New", noon, mail("n1"))
	var restarts, got []string
	for {
		p, err := m.Changes(t.Context(), cur)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range p.Restart {
			restarts = append(restarts, f.ID)
		}
		got = append(got, strings.Fields(subjects(p.Items))...)
		cur = p.Next
		if !p.More {
			break
		}
	}
	if s := strings.Join(restarts, " "); s != "Old Projects" {
		t.Errorf("restarted %q, want Old and Projects once each", s)
	}
	if s := strings.Join(got, " "); s != "n1 p1 p2 p3" {
		t.Errorf("listed %q", s)
	}
}

func TestHistoryIsNewestFirstAndResumes(t *testing.T) {
	s := newServer(t, "INBOX", "Sent", "Archive")
	// Moved mail: the order of UIDs is not the order of time.
	for i, f := range []string{"INBOX", "Sent", "Archive", "Archive", "INBOX", "Archive", "Sent"} {
		s.add(t, f, noon.Add(-time.Duration(i*i*i)*24*time.Hour), mail(fmt.Sprint("m", i)))
	}
	for i := range 5 {
		s.add(t, "Archive", noon.Add(-time.Duration(i+1)*time.Minute), mail(fmt.Sprint("x", i)))
	}
	s.add(t, "INBOX", time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), mail("ancient"))
	want := "m0 x0 x1 x2 x3 x4 m1 m2 m3 m4 m5 m6 ancient"
	list := func(w provider.Window) string {
		var got []string
		var cur provider.Cursor
		for {
			// A new connection for each page: all that is known is in the cursor.
			m := s.dial(t, func(c *imap.Config) { c.PageSize = 3 })
			p, err := m.History(t.Context(), w, cur)
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
			if p.Estimated == 0 || len(p.Items) > 3 {
				t.Errorf("estimated %d, %d items", p.Estimated, len(p.Items))
			}
			got = append(got, strings.Fields(subjects(p.Items))...)
			cur = p.Next
			if !p.More {
				return strings.Join(got, " ")
			}
		}
	}
	if got := list(provider.Window{}); got != want {
		t.Errorf("listed %q\nwant   %q", got, want)
	}
	// From is included, To excluded, both to the second.
	if got := list(provider.Window{From: noon.Add(-24 * time.Hour), To: noon}); got != "x0 x1 x2 x3 x4 m1" {
		t.Errorf("window listed %q", got)
	}
	m := s.dial(t, nil)
	n := 0
	for _, err := range m.Inventory(t.Context(), provider.Scope{Window: provider.Window{From: noon.Add(-24 * time.Hour), To: noon}}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 6 {
		t.Errorf("inventory of %d, want 6", n)
	}
}

func TestUnreadableMailIsIsolated(t *testing.T) {
	s := newServer(t, "INBOX")
	for i := range 20 {
		s.add(t, "INBOX", noon, mail(fmt.Sprint(i)))
	}
	m := s.dial(t, nil)
	s.poison.Store(7)
	p, err := m.History(t.Context(), provider.Window{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Items) != 20 {
		t.Fatalf("%d items, want 20", len(p.Items))
	}
	for _, it := range p.Items {
		bad := strings.Contains(string(it.ID), ".7.INBOX")
		if (it.Err != nil) != bad {
			t.Errorf("%s: err %v", it.ID, it.Err)
		}
		if it.Envelope.Received.IsZero() {
			t.Errorf("%s: no date", it.ID)
		}
	}
}

func TestOddMailIsListedAndRead(t *testing.T) {
	s := newServer(t, "INBOX")
	odd := []string{
		"",
		"no header at all",
		"\r\n\r\n",
		"From: \xff\xfe <a@b\r\nSubject: =?utf-8?q?\xe9=?= \x00\r\nno colon\r\n\r\nbody",
		"Subject: " + strings.Repeat("long ", 100_000) + "\r\n\r\nx",
		"Content-Type: multipart/mixed; boundary=\"\r\nSubject: (((\r\n\r\n--\r\n",
		"Message-ID: <a b c>\r\nTo: undisclosed-recipients:;, \"x\r\n",
	}
	for _, raw := range odd {
		s.add(t, "INBOX", noon, raw)
	}
	m := s.dial(t, nil)
	p, err := m.History(t.Context(), provider.Window{}, nil)
	if err != nil || len(p.Items) != len(odd) {
		t.Fatalf("%d items, err %v", len(p.Items), err)
	}
	for _, it := range p.Items {
		if it.Err != nil {
			t.Errorf("%s: %v", it.ID, it.Err)
		}
		if _, err := m.Content(t.Context(), it.ID); err != nil {
			t.Errorf("content of %s: %v", it.ID, err)
		}
	}
}

func TestContentAttachmentLocate(t *testing.T) {
	s := newServer(t, "INBOX", "Sent")
	payload := strings.Repeat("0123456789", 200_000)
	s.add(t, "Sent", noon, "From: ada@example.com\r\nMessage-ID: <whole@example.com>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHi\r\n"+
		"--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n"+
		base64Lines(payload)+"\r\n--b--\r\n")
	s.add(t, "INBOX", noon, strings.Replace(mail("x"), "x@example.org", "whole@example.com.other", 1))
	m := s.dial(t, nil)
	ids, err := m.Locate(t.Context(), "whole@example.com")
	if err != nil || len(ids) != 1 {
		t.Fatalf("located %v, %v", ids, err)
	}
	msg, err := m.Content(t.Context(), ids[0].ID)
	if err != nil || !strings.Contains(msg.Text, "Hi") || !msg.Sent || len(msg.Attachments) != 1 {
		t.Fatalf("content %+v, %v", msg, err)
	}
	r, err := m.Attachment(t.Context(), ids[0].ID, msg.Attachments[0].Part)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || string(b) != payload {
		t.Errorf("attachment of %d bytes, err %v, want %d", len(b), err, len(payload))
	}
	small := s.dial(t, func(c *imap.Config) { c.ContentLimit = 1000 })
	if msg, err = small.Content(t.Context(), ids[0].ID); err != nil || len(msg.Defects) == 0 || msg.Defects[len(msg.Defects)-1].Name != "truncated" {
		t.Errorf("a truncated message should say so: %v", err)
	}
	for _, gone := range []provider.ItemID{"1.999.INBOX", "77.1.INBOX", "1.1.Nowhere"} {
		if _, err := m.Content(t.Context(), gone); !errors.Is(err, provider.ErrGone) {
			t.Errorf("content of %s: %v, want ErrGone", gone, err)
		}
	}
	if _, err := m.Content(t.Context(), "nonsense"); err == nil {
		t.Error("a foreign id should be an error")
	}
}

func base64Lines(s string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var b strings.Builder
	for i := 0; i < len(s); i += 3 {
		var v, n uint32
		for j := range 3 {
			v <<= 8
			if i+j < len(s) {
				v |= uint32(s[i+j])
				n++
			}
		}
		for j := range n + 1 {
			b.WriteByte(letters[v>>(18-6*j)&63])
		}
		if i%57 == 54 {
			b.WriteString("\r\n")
		}
	}
	return b.String() // without padding, as some programs send
}

func TestCancelIsPromptAndTheMailboxRecovers(t *testing.T) {
	s := newServer(t, "INBOX")
	s.add(t, "INBOX", noon, mail("a"))
	m := s.dial(t, nil)
	s.hang.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := m.History(ctx, provider.Window{}, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 2*time.Second {
		t.Errorf("err %v after %s", err, time.Since(begin))
	}
	s.hang.Store(false)
	p, err := m.History(t.Context(), provider.Window{}, nil)
	if err != nil || len(p.Items) != 1 {
		t.Errorf("after a cancelled call: %d items, %v", len(p.Items), err)
	}
}

func TestSilentServerIsGivenUp(t *testing.T) {
	s := newServer(t, "INBOX")
	s.add(t, "INBOX", noon, mail("a"))
	m := s.dial(t, func(c *imap.Config) { c.Stall = 100 * time.Millisecond })
	id, err := m.Locate(t.Context(), "a@example.org")
	if err != nil || len(id) != 1 {
		t.Fatal(id, err)
	}
	s.hang.Store(true)
	var ce *imap.ConnectError
	if _, err := m.Content(t.Context(), id[0].ID); !errors.As(err, &ce) {
		t.Errorf("err %v, want a ConnectError", err)
	}
}

func TestWait(t *testing.T) {
	s := newServer(t, "INBOX")
	m := s.dial(t, func(c *imap.Config) { c.WaitLimit = 20 * time.Second })
	cur, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() {
		raw := mail("new")
		s.user.Append("INBOX", literal{strings.NewReader(raw), int64(len(raw))}, &goimap.AppendOptions{}) //nolint:errcheck // seen below
	})
	begin := time.Now()
	if err := m.Wait(t.Context()); err != nil || time.Since(begin) > 10*time.Second {
		t.Fatalf("wait: %v after %s", err, time.Since(begin))
	}
	p, err := m.Changes(t.Context(), cur)
	if err != nil || subjects(p.Items) != "new" {
		t.Errorf("changes %q, %v", subjects(p.Items), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled wait: %v", err)
	}
	s.add(t, "INBOX", noon, mail("between"))
	if err := m.Wait(t.Context()); err != nil {
		t.Errorf("wait with unread news: %v", err)
	}
}

func TestSignInErrors(t *testing.T) {
	s := newServer(t, "INBOX")
	c := s.config()
	c.Password = "wrong"
	var na *provider.NeedsAction
	if _, err := imap.Dial(t.Context(), c); !errors.As(err, &na) || na.Who != provider.User || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
	var ce *imap.ConnectError
	c = s.config()
	c.Security = imap.TLS
	if _, err := imap.Dial(t.Context(), c); !errors.As(err, &ce) {
		t.Errorf("TLS on a plain port: %v", err)
	}
	c.Security = imap.StartTLS
	n := s.logins.Load()
	if _, err := imap.Dial(t.Context(), c); !errors.As(err, &ce) || s.logins.Load() != n {
		t.Errorf("no STARTTLS: %v; the password should not be sent", err)
	}
	c = s.config()
	c.Host = "mail.example.com"
	if _, err := imap.Dial(t.Context(), c); err == nil || !strings.Contains(err.Error(), "clear text") {
		t.Errorf("clear text to a foreign host: %v", err)
	}
	if _, err := imap.New(nil).Open(t.Context(), []byte(`{"host":"127.0.0.1","username":"a","security":"insecure"}`)); !errors.As(err, &na) {
		t.Errorf("insecure credential: %v", err)
	}
	if out := fmt.Sprintf("%v %+v %#v", s.config(), s.config(), s.config()); strings.Contains(out, "secret") {
		t.Errorf("the password can be printed: %s", out)
	}
	m := s.dial(t, nil)
	m.Close()
	if _, err := m.Start(t.Context()); err == nil {
		t.Error("a closed mailbox should stay closed")
	}
}

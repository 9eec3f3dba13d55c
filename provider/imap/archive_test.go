package imap_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

func open(t *testing.T, c imap.Config) *imap.Mailbox {
	t.Helper()
	m, err := imap.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// target is what names a message of the inbox.
func target(t *testing.T, m *imap.Mailbox, mid string) provider.Target {
	t.Helper()
	found, err := m.Locate(t.Context(), mid)
	if err != nil || len(found) == 0 {
		t.Fatalf("locating: %d, %v", len(found), err)
	}
	return provider.Target{Item: found[0].ID, MessageID: mid}
}

const midA = "a@sender.example"

// Reading opens folders with EXAMINE; a change opens one with SELECT, leaves it again, and never expunges more than its own.
func TestChangesSendNoCommandTooMany(t *testing.T) {
	for _, without := range [][]goimap.Cap{nil, {goimap.CapMove}, {goimap.CapMove, goimap.CapUnselect}, {goimap.CapUIDPlus}} {
		srv := imaptest.Start(t, &imaptest.Options{Without: without})
		srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
		m := open(t, srv.Config())
		cur, err := m.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		to := target(t, m, midA)
		srv.Commands()
		did, err := m.Label(t.Context(), to, "Acme")
		if err == nil {
			err = m.Unlabel(t.Context(), to, did)
		}
		if err == nil {
			did, err = m.Archive(t.Context(), to)
		}
		if err == nil {
			_, err = m.Unarchive(t.Context(), to, did)
		}
		if err != nil {
			t.Fatal(err)
		}
		cs := srv.Commands()
		open := ""
		for _, c := range cs {
			name, box, _ := strings.Cut(c, " ")
			switch {
			case name == "SELECT":
				open = box
			case name == "EXAMINE", name == "UNSELECT":
				open = ""
			case name == "EXPUNGE", name == "CLOSE":
				t.Errorf("without %v: %s in %q", without, name, cs)
			}
		}
		if open != "" {
			t.Errorf("without %v: %s is left open for writing: %q", without, open, cs)
		}
		// The memory server refuses STATUS of the open folder.
		if _, err := m.Changes(t.Context(), cur); err != nil {
			t.Errorf("without %v: reading after it: %v", without, err)
		}
		for _, c := range srv.Commands() {
			if strings.HasPrefix(c, "SELECT") {
				t.Errorf("without %v: reading sent %s", without, c)
			}
		}
	}
}

func TestArchiveIsRefusedWhereItIsNotSafe(t *testing.T) {
	srv := imaptest.Start(t, &imaptest.Options{Without: []goimap.Cap{goimap.CapMove, goimap.CapUIDPlus}})
	h := srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	m := open(t, srv.Config())
	_, err := m.Archive(t.Context(), target(t, m, midA))
	if !errors.Is(err, provider.ErrUnsupported) || !strings.Contains(err.Error(), "UIDPLUS") {
		t.Errorf("without MOVE and UIDPLUS: %v", err)
	}
	if got := srv.Folders(h); !slices.Equal(got, []string{"INBOX"}) {
		t.Errorf("it lies in %v", got)
	}
}

// An id of another UIDVALIDITY names another message now: it must not be the one that is archived.
func TestArchiveAfterRenumbering(t *testing.T) {
	srv := imaptest.Start(t, nil)
	a := srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	b := srv.Deliver(providertest.Mail("b", "b"), noon, provider.RoleInbox)
	m := open(t, srv.Config())
	to := target(t, m, midA)
	srv.ResetFolder(provider.RoleInbox) // a and b have changed numbers
	if _, err := m.Archive(t.Context(), provider.Target{Item: to.Item}); !errors.Is(err, provider.ErrGone) {
		t.Errorf("by the id alone: %v", err)
	}
	if did, err := m.Archive(t.Context(), to); err != nil || did.How != "move" {
		t.Errorf("by the Message-ID: %+v, %v", did, err)
	}
	if x, y := srv.Folders(a), srv.Folders(b); !slices.Equal(x, []string{"Archive"}) || !slices.Equal(y, []string{"INBOX"}) {
		t.Errorf("a lies in %v, b in %v", x, y)
	}
	if _, err := m.Archive(t.Context(), provider.Target{Item: "nonsense", MessageID: midA}); err == nil || errors.Is(err, provider.ErrGone) {
		t.Errorf("an id that is none: %v", err)
	}
}

// Message-IDs are reused: another mail in the archive is no copy of this one, nor is one that is about to be expunged.
func TestArchiveByHandKeepsWhatIsNotACopy(t *testing.T) {
	other := strings.Replace(string(providertest.Mail("a", "a")), "Hello", "Howdy", 1) // the same size and header but for a letter
	other = strings.Replace(other, "Subject: a", "Subject: b", 1)
	for name, prepare := range map[string]func(*imaptest.Server){
		"another mail": func(s *imaptest.Server) { s.Deliver([]byte(other), noon, provider.RoleArchive) },
		"another body": func(s *imaptest.Server) {
			s.Deliver(append(providertest.Mail("a", "a"), "P.S.\r\n"...), noon, provider.RoleArchive)
		},
		"thrown away": func(s *imaptest.Server) {
			s.Flag(s.Deliver(providertest.Mail("a", "a"), noon, provider.RoleArchive), goimap.FlagDeleted)
		},
	} {
		srv := imaptest.Start(t, &imaptest.Options{Without: []goimap.Cap{goimap.CapMove}})
		srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
		m := open(t, srv.Config())
		to := target(t, m, midA)
		prepare(srv)
		if did, err := m.Archive(t.Context(), to); err != nil || did.How != "copy and expunge" {
			t.Fatalf("%s: %+v, %v", name, did, err)
		}
		n := 0
		for it, err := range m.Inventory(t.Context(), provider.Scope{Folder: "Archive"}) {
			if err != nil {
				t.Fatal(it, err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%s: the archive holds %d messages, want that one and ours", name, n)
		}
	}
}

// A connection that dies after the effect is replaced, and what was done is told, so that it can be undone.
func TestChangesSurviveADyingConnection(t *testing.T) {
	for _, c := range []struct {
		without []goimap.Cap
		lost    string // the command whose answer is lost
		how     string
	}{
		{nil, "UID MOVE", "move"},
		{[]goimap.Cap{goimap.CapMove}, "UID COPY", "copy and expunge"},
		{[]goimap.Cap{goimap.CapMove}, "UID EXPUNGE", "copy and expunge"},
	} {
		srv := imaptest.Start(t, &imaptest.Options{Without: c.without})
		h := srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
		m := open(t, srv.Config())
		to := target(t, m, midA)
		srv.LoseAnswer(c.lost)
		did, err := m.Archive(t.Context(), to)
		if err != nil || did.How != c.how || did.To != "Archive" || did.From != "INBOX" || did.Item != target(t, m, midA).Item {
			t.Errorf("archiving, %s lost: %+v, %v", c.lost, did, err)
		}
		srv.LoseAnswer(c.lost)
		back, err := m.Unarchive(t.Context(), to, did)
		if err != nil || back.How != c.how || back.Item != target(t, m, midA).Item {
			t.Errorf("bringing back, %s lost: %+v, %v", c.lost, back, err)
		}
		if got := srv.Folders(h); !slices.Equal(got, []string{"INBOX"}) {
			t.Errorf("%s lost: it lies in %v", c.lost, got)
		}
	}
	for _, lost := range []string{"UID STORE", "UID COPY"} {
		srv := imaptest.Start(t, nil)
		h := srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
		m := open(t, srv.Config())
		want := []string{"INBOX"}
		if lost == "UID COPY" {
			m.Ignore("KEYWORDS")
			want = []string{"Acme", "INBOX"}
		}
		to := target(t, m, midA)
		srv.LoseAnswer(lost)
		did, err := m.Label(t.Context(), to, "Acme")
		if err != nil || did.How == "" || did.Item == "" {
			t.Errorf("labelling, %s lost: %+v, %v", lost, did, err)
		}
		if got := srv.Folders(h); !slices.Equal(got, want) {
			t.Errorf("%s lost: it lies in %v", lost, got)
		}
		if err := m.Unlabel(t.Context(), to, did); err != nil || !slices.Equal(srv.Folders(h), []string{"INBOX"}) {
			t.Errorf("taking it off: %v, it lies in %v", err, srv.Folders(h))
		}
	}
}

// The message is moved away by its owner right before our command arrives.
func TestArchiveMeetsItsOwner(t *testing.T) {
	for _, without := range [][]goimap.Cap{{goimap.CapMove}, {goimap.CapMove, goimap.CapUnselect}} {
		srv := imaptest.Start(t, &imaptest.Options{Without: without})
		h := srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
		m := open(t, srv.Config())
		to := target(t, m, midA)
		srv.Before("UID STORE", func() { srv.Move(h, provider.RoleTrash) })
		if _, err := m.Archive(t.Context(), to); err != nil {
			t.Logf("it answers %v", err)
		}
		if got := srv.Folders(h); !slices.Contains(got, "Trash") || slices.Contains(got, "INBOX") {
			t.Errorf("it lies in %v", got)
		}
	}
}

func TestCancelDuringAChange(t *testing.T) {
	srv := imaptest.Start(t, nil)
	h := srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	m := open(t, srv.Config())
	to := target(t, m, midA)
	for name, call := range map[string]func(context.Context) error{
		"UID MOVE":  func(ctx context.Context) error { _, err := m.Archive(ctx, to); return err },
		"UID STORE": func(ctx context.Context) error { _, err := m.Label(ctx, to, "Acme"); return err },
		"APPEND": func(ctx context.Context) error {
			_, err := m.FileSent(ctx, providertest.Mail("b", "b"), noon)
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		arrived := srv.Hang(name)
		done := make(chan error, 1)
		go func() { done <- call(ctx) }()
		<-arrived
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if did, err := m.Archive(t.Context(), to); err != nil || did.How != "move" || !slices.Equal(srv.Folders(h), []string{"Archive"}) {
		t.Errorf("after it: %+v, %v", did, err)
	}
}

func TestArchiveFolderIsMade(t *testing.T) {
	for _, with := range [][]goimap.Cap{nil, {goimap.CapCreateSpecialUse}} {
		srv := imaptest.Start(t, &imaptest.Options{Bare: true, With: with})
		h := srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
		m := open(t, srv.Config())
		if did, err := m.Archive(t.Context(), target(t, m, midA)); err != nil || did.To != "Archive" {
			t.Fatalf("%+v, %v", did, err)
		}
		if _, err := m.FileSent(t.Context(), providertest.Mail("b", "b"), noon); err != nil {
			t.Fatal(err)
		}
		if got := srv.Folders(h); !slices.Equal(got, []string{"Archive"}) {
			t.Errorf("it lies in %v", got)
		}
		var roles []string
		for _, d := range listAll(t, srv.Config()) {
			roles = append(roles, d.Mailbox)
			for _, a := range d.Attrs {
				roles = append(roles, string(a))
			}
		}
		want := `Archive \Subscribed INBOX Sent \Subscribed`
		if with != nil {
			want = `Archive \Archive \Subscribed INBOX Sent \Sent \Subscribed`
		}
		if got := strings.Join(roles, " "); got != want {
			t.Errorf("folders %s, want %s", got, want)
		}
	}
}

func listAll(t *testing.T, c imap.Config) []*goimap.ListData {
	t.Helper()
	client, err := imapclient.DialInsecure(c.Host+":"+portOf(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Login(c.Username, c.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	list, err := client.List("", "*", &goimap.ListOptions{ReturnSubscribed: true, ReturnSpecialUse: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Where all folders lie below the inbox a new one does, too: told by NAMESPACE, learned from the list, or by a refusal.
func TestFoldersBelowTheInbox(t *testing.T) {
	for name, c := range map[string]struct {
		namespace bool
		have      []string
	}{"namespace": {true, nil}, "list": {false, []string{"INBOX.Kunden"}}, "refusal": {false, nil}} {
		o := startOdd(t, &odd{namespace: c.namespace, dropKeywords: true})
		for _, n := range c.have {
			o.names = append(o.names, n)
			if err := o.user.Create(n, nil); err != nil {
				t.Fatal(err)
			}
		}
		o.add(t, "INBOX", mail("a"))
		o.add(t, "INBOX", mail("b"))
		m := o.dial(t)
		did, err := m.Archive(t.Context(), target(t, m, "a@example.org"))
		if err != nil || did.To != "INBOX.Archive" || o.count("INBOX.Archive") != 1 || !slices.Equal(o.subscribed, []string{"INBOX.Archive"}) {
			t.Errorf("%s: %+v, %v, subscribed %v", name, did, err, o.subscribed)
		}
		// Exchange takes the keyword and drops it: the label is a copy.
		did, err = m.Label(t.Context(), target(t, m, "b@example.org"), "Deals/Acme 1.5")
		if err != nil || did.How != "folder copy" || !strings.HasPrefix(did.To, "INBOX.Deals.Acme 1_5 ") || o.count(did.To) != 1 || o.count("INBOX") != 1 {
			t.Errorf("%s: labelled %+v, %v", name, did, err)
		}
	}
}

// Facts 3.3: on Gmail labels are folders, and \All holds everything. The memory server knows nothing of that; what is sent counts.
func TestGmail(t *testing.T) {
	srv := imaptest.Start(t, &imaptest.Options{With: []goimap.Cap{"X-GM-EXT-1", goimap.CapCreateSpecialUse}, Bare: true})
	srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	c, err := imapclient.DialInsecure("127.0.0.1:"+portOf(srv.Config()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(srv.Config().Username, srv.Config().Password).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Create("[Gmail]/All Mail", &goimap.CreateOptions{SpecialUse: []goimap.MailboxAttr{goimap.MailboxAttrAll}}).Wait(); err != nil {
		t.Fatal(err)
	}
	m := open(t, srv.Config())
	to := target(t, m, midA)
	label, err := m.Label(t.Context(), to, "Deals/Acme")
	if err != nil || label.How != "label" || label.To != "Deals/Acme" {
		t.Fatalf("%+v, %v", label, err)
	}
	did, err := m.Archive(t.Context(), to)
	if err != nil || did.How != "move" || did.To != "[Gmail]/All Mail" {
		t.Fatalf("%+v, %v", did, err)
	}
	back, err := m.Unarchive(t.Context(), provider.Target{Item: did.Item, MessageID: midA}, did)
	if err != nil || back.How != "label" || back.To != "INBOX" {
		t.Fatalf("%+v, %v", back, err)
	}
	if again, err := m.Unarchive(t.Context(), provider.Target{Item: did.Item, MessageID: midA}, did); err != nil || !again.Already {
		t.Errorf("again: %+v, %v", again, err)
	}
	srv.Commands()
	if err := m.Unlabel(t.Context(), to, label); err != nil {
		t.Fatal(err)
	}
	if cs := srv.Commands(); !slices.Contains(cs, "SELECT Deals/Acme") || !slices.Contains(cs, "UID EXPUNGE 1") {
		t.Errorf("taking the label off sent %q", cs)
	}
}

// forgetful is a connection to a server that says, when it is asked to open a folder for a change, that it has no MOVE.
type forgetful struct {
	net.Conn
	now atomic.Bool
}

func (f *forgetful) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(" SELECT ")) {
		f.now.Store(true)
	}
	return f.Conn.Write(p)
}

func (f *forgetful) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	const says = "* CAPABILITY IMAP4rev1 UNSELECT\r\n"
	if err == nil && p[0] == '*' && n+len(says) <= len(p) && f.now.CompareAndSwap(true, false) {
		copy(p[len(says):], p[:n])
		n += copy(p, says)
	}
	return n, err
}

// Of a server that has no MOVE any more nothing is expunged that others have marked.
func TestMoveThatIsNoMore(t *testing.T) {
	s := imaptest.Start(t, nil)
	s.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	box := dial(t, s, func(c *imap.Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &forgetful{Conn: conn}, err
		}
	})
	at := target(t, box, midA)
	s.Commands()
	_, err := box.Archive(t.Context(), at)
	for _, c := range s.Commands() {
		if strings.HasPrefix(c, "EXPUNGE") {
			t.Errorf("it sent %s, %v", c, err)
		}
	}
}

package imaptest_test

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// These tests drive the server by go-imap's client alone: what the server does is seen without our own reading.

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func connect(t *testing.T, m *imaptest.Mailbox, opts *imapclient.Options) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(addr(m), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func addr(m *imaptest.Mailbox) string {
	c := m.Config()
	return net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
}

func client(t *testing.T, m *imaptest.Mailbox, opts *imapclient.Options) *imapclient.Client {
	t.Helper()
	c := connect(t, m, opts)
	if err := c.Login(m.Config().Username, m.Config().Password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

func examine(t *testing.T, c *imapclient.Client, name string) *goimap.SelectData {
	t.Helper()
	d, err := c.Select(name, &goimap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func subjectOf(t *testing.T, c *imapclient.Client, uid goimap.UID) string {
	t.Helper()
	ms, err := c.Fetch(goimap.UIDSetNum(uid), &goimap.FetchOptions{UID: true, Envelope: true}).Collect()
	if err != nil || len(ms) != 1 {
		t.Fatalf("fetching %d: %d messages, %v", uid, len(ms), err)
	}
	return ms[0].Envelope.Subject
}

func code(err error) string {
	if e := (*goimap.Error)(nil); errors.As(err, &e) {
		return string(e.Type) + " " + string(e.Code)
	}
	return "no answer"
}

func TestMessagesMoveAndFoldersRenumber(t *testing.T) {
	s := imaptest.Start(t, nil)
	c := client(t, s.Mailbox, nil)
	a := s.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	s.Deliver(providertest.Mail("b", "b"), noon, provider.RoleInbox)
	before := examine(t, c, "INBOX")
	if before.NumMessages != 2 || before.UIDNext != 3 || subjectOf(t, c, 1) != "a" {
		t.Fatalf("inbox: %+v", before)
	}
	s.ResetFolder(provider.RoleInbox)
	<-c.Closed() // the folder was open
	c = client(t, s.Mailbox, nil)
	after := examine(t, c, "INBOX")
	if after.UIDValidity == before.UIDValidity || after.NumMessages != 2 || subjectOf(t, c, 1) != "b" {
		t.Errorf("after a reset: %+v; another message should have UID 1", after)
	}
	s.Move(a, provider.RoleArchive)
	if d := examine(t, c, "INBOX"); d.NumMessages != 1 || d.UIDNext != 3 {
		t.Errorf("the inbox after a move: %+v", d)
	}
	if got := s.Folders(a); !slices.Equal(got, []string{"Archive"}) {
		t.Errorf("a lies in %v", got)
	}
	cp := s.Copy(a, "")
	if got := s.Folders(a); !slices.Equal(got, []string{"Archive", "Customers"}) {
		t.Errorf("after a copy a lies in %v", got)
	}
	s.Delete(cp)
	if d := examine(t, c, "Archive"); d.NumMessages != 1 || subjectOf(t, c, 1) != "a" {
		t.Errorf("the archive: %+v", d)
	}
	// What a client moves is found again.
	if _, err := c.Select("Archive", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Move(goimap.UIDSetNum(1), "Sent").Wait(); err != nil {
		t.Fatal(err)
	}
	s.Move(a, provider.RoleTrash)
	if got := s.Folders(a); !slices.Equal(got, []string{"Trash"}) {
		t.Errorf("after a client's move and ours a lies in %v", got)
	}
}

func TestFoldersAreMadeRenamedAndDeleted(t *testing.T) {
	s := imaptest.Start(t, &imaptest.Options{Folders: []string{"Deals/2026/March"}})
	c := client(t, s.Mailbox, nil)
	list := func() string {
		t.Helper()
		ds, err := c.List("", "*", &goimap.ListOptions{ReturnSpecialUse: true, ReturnStatus: &goimap.StatusOptions{UIDValidity: true}}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, d := range ds {
			n := d.Mailbox
			for _, a := range d.Attrs {
				n += string(a)
			}
			if d.Status == nil {
				n += "?"
			}
			out = append(out, n)
		}
		return strings.Join(out, " ")
	}
	if got, want := list(), `Archive\Archive Customers Deals\Noselect? Deals/2026\Noselect? Deals/2026/March Drafts\Drafts INBOX Junk\Junk Sent\Sent Trash\Trash`; got != want {
		t.Errorf("listed %s\nwant   %s", got, want)
	}
	first := examine(t, c, "Deals/2026/March").UIDValidity
	s.RenameFolder("Deals/2026", "Deals/Old")
	c = client(t, s.Mailbox, nil)
	if d := examine(t, c, "Deals/Old/March"); d.UIDValidity != first {
		t.Errorf("renamed: UIDVALIDITY %d, want it kept at %d", d.UIDValidity, first)
	}
	s.DeleteFolder("Deals/Old/March")
	c = client(t, s.Mailbox, nil)
	s.CreateFolder("Deals/Old/March")
	if d := examine(t, c, "Deals/Old/March"); d.UIDValidity == first {
		t.Error("a folder that came back should have another UIDVALIDITY")
	}
	if _, err := c.Select("Deals", nil).Wait(); code(err) != "NO NONEXISTENT" {
		t.Errorf("selecting a name without a folder: %v", err)
	}
}

func TestWhatIsNotOfferedIsRefused(t *testing.T) {
	s := imaptest.Start(t, &imaptest.Options{With: []goimap.Cap{"X-GM-EXT-1"}, Without: []goimap.Cap{goimap.CapIdle, goimap.CapESearch, goimap.CapListStatus,
		goimap.CapListExtended, goimap.CapNamespace, goimap.CapMove, goimap.CapUIDPlus, goimap.CapUnselect}})
	s.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	c := client(t, s.Mailbox, nil)
	for _, cap := range []goimap.Cap{goimap.CapIdle, goimap.CapESearch, goimap.CapListStatus, goimap.CapNamespace, goimap.CapUnselect, goimap.CapMove} {
		if c.Caps().Has(cap) {
			t.Errorf("%s should not be offered", cap)
		}
	}
	if !c.Caps().Has("X-GM-EXT-1") || !c.Caps().Has(goimap.CapSpecialUse) {
		t.Errorf("capabilities %v", c.Caps())
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"IDLE": func() error { _, err := c.Idle(); return err },
		"LIST RETURN": func() error {
			_, err := c.List("", "*", &goimap.ListOptions{ReturnSpecialUse: true}).Collect()
			return err
		},
		"SEARCH RETURN": func() error {
			_, err := c.UIDSearch(&goimap.SearchCriteria{}, &goimap.SearchOptions{ReturnAll: true}).Wait()
			return err
		},
		"NAMESPACE":   func() error { _, err := c.Namespace().Wait(); return err },
		"UNSELECT":    func() error { return c.Unselect().Wait() },
		"UID EXPUNGE": func() error { return c.UIDExpunge(goimap.UIDSetNum(1)).Close() },
		"CONDSTORE": func() error {
			_, err := c.Select("INBOX", &goimap.SelectOptions{CondStore: true}).Wait()
			return err
		},
	} {
		if got := code(f()); got != "BAD " {
			t.Errorf("%s: %s, want BAD", name, got)
		}
	}
	// Without UIDPLUS nobody tells the new UID; without LIST-EXTENDED roles come unasked (RFC 6154, 2).
	d, err := c.Copy(goimap.UIDSetNum(1), "Sent").Wait()
	if err != nil || d.UIDValidity != 0 {
		t.Errorf("COPY told %+v, %v", d, err)
	}
	ds, err := c.List("", "Sent", nil).Collect()
	if err != nil || len(ds) != 1 || !slices.Contains(ds[0].Attrs, goimap.MailboxAttrSent) {
		t.Errorf("LIST told %v, %v", ds, err)
	}
	if _, err := c.Status("INBOX", &goimap.StatusOptions{UIDNext: true}).Wait(); code(err) != "NO " {
		t.Errorf("STATUS of the open folder: %v", err)
	}
}

func TestExamineChangesNothing(t *testing.T) {
	s := imaptest.Start(t, nil)
	a := s.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	s.Flag(a, goimap.FlagDeleted)
	c := client(t, s.Mailbox, nil)
	examine(t, c, "INBOX")
	if err := c.Expunge().Close(); code(err) != "NO READ-ONLY" {
		t.Errorf("EXPUNGE: %v", err)
	}
	if err := c.UnselectAndExpunge().Wait(); err != nil {
		t.Errorf("CLOSE: %v", err)
	}
	if d := examine(t, c, "INBOX"); d.NumMessages != 1 {
		t.Error("CLOSE of an examined folder should expunge nothing")
	}
}

func TestSignInTroubles(t *testing.T) {
	s := imaptest.Start(t, &imaptest.Options{Mechanisms: []string{"PLAIN", "XOAUTH2"}})
	bob := s.AddMailbox("bob@example.com")
	login := func(m *imaptest.Mailbox, pass string) string {
		return code(connect(t, m, nil).Login(m.Config().Username, pass).Wait())
	}
	if got := login(bob, "wrong"); got != "NO AUTHENTICATIONFAILED" {
		t.Errorf("wrong password: %s", got)
	}
	s.RefuseSignIns(1, goimap.ResponseCodeUnavailable)
	s.RefuseSignIns(1, "")
	for _, want := range []string{"NO UNAVAILABLE", "NO "} {
		if got := login(bob, "secret"); got != want {
			t.Errorf("refused with %s, want %s", got, want)
		}
	}
	s.LimitConnections(1)
	client(t, s.Mailbox, nil)
	client(t, bob, nil)
	err := connect(t, bob, nil).Login("bob@example.com", "secret").Wait()
	if code(err) != "NO LIMIT" || !strings.Contains(err.Error(), "Maximum number of connections") {
		t.Errorf("a second connection of one user: %v", err)
	}
	s.GreetBye(1, "going down")
	if err := connect(t, bob, nil).WaitGreeting(); code(err) != "BYE " {
		t.Errorf("greeting: %v", err)
	}
	// Owners don't see each other's mail.
	s.LimitConnections(0)
	bob.Deliver(providertest.Mail("b", "b"), noon, provider.RoleInbox)
	if n := examine(t, client(t, s.Mailbox, nil), "INBOX").NumMessages; n != 0 {
		t.Errorf("ada sees %d messages of bob", n)
	}
	for _, line := range s.Commands() {
		if strings.Contains(line, "secret") || strings.Contains(line, "wrong") {
			t.Errorf("a password is kept: %q", line)
		}
	}
}

func TestIdleTellsWhatCameBefore(t *testing.T) {
	s := imaptest.Start(t, nil)
	news := make(chan uint32, 10)
	c := client(t, s.Mailbox, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				news <- *d.NumMessages
			}
		}}})
	examine(t, c, "INBOX")
	s.Before("IDLE", func() { s.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox) })
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	if n := <-news; n != 1 {
		t.Errorf("told of %d messages", n)
	}
	s.Deliver(providertest.Mail("b", "b"), noon, provider.RoleInbox)
	if n := <-news; n != 2 {
		t.Errorf("told of %d messages", n)
	}
	if err := errors.Join(idle.Close(), idle.Wait()); err != nil {
		t.Error(err)
	}
}

func TestConnectionsBreak(t *testing.T) {
	s := imaptest.Start(t, nil)
	a := s.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	c := client(t, s.Mailbox, nil)
	s.CutAt("NOOP")
	if err := c.Noop().Wait(); err == nil {
		t.Error("the connection should be cut")
	}
	c = client(t, s.Mailbox, nil)
	s.LoseAnswer("CREATE")
	if err := c.Create("Made", nil).Wait(); err == nil {
		t.Error("the answer should be lost")
	}
	c = client(t, s.Mailbox, nil)
	examine(t, c, "Made") // and yet it was carried out
	arrived := s.Hang("NOOP")
	cmd := c.Noop()
	<-arrived
	c.Close()
	if err := cmd.Wait(); err == nil {
		t.Error("nothing should have been answered")
	}
	c = client(t, s.Mailbox, nil)
	s.Silence()
	cmd = c.Noop()
	select {
	case <-c.Closed():
		t.Error("a dead connection should look alive")
	default:
	}
	c.Close()
	if err := cmd.Wait(); err == nil {
		t.Error("nothing should have been answered")
	}
	c = client(t, s.Mailbox, nil)
	examine(t, c, "INBOX")
	s.Poison(a)
	all := &goimap.FetchOptions{BodySection: []*goimap.FetchItemBodySection{{Peek: true}}}
	if _, err := c.Fetch(goimap.UIDSetNum(1), all).Collect(); err == nil {
		t.Error("a poisoned message should break the connection")
	}
	s.Heal()
	c = client(t, s.Mailbox, nil)
	examine(t, c, "INBOX")
	if ms, err := c.Fetch(goimap.UIDSetNum(1), all).Collect(); err != nil || len(ms) != 1 {
		t.Errorf("healed: %d messages, %v", len(ms), err)
	}
	s.HideUIDNext(true)
	if d := examine(t, c, "INBOX"); d.UIDNext != 0 || d.NumMessages != 1 {
		t.Errorf("UIDNEXT should be hidden: %+v", d)
	}
	if d, err := c.Status("Sent", &goimap.StatusOptions{UIDNext: true, UIDValidity: true}).Wait(); err != nil || d.UIDNext != 0 || d.UIDValidity == 0 {
		t.Errorf("UIDNEXT should be hidden in STATUS: %+v, %v", d, err)
	}
	s.RefuseFolder("Sent", goimap.ResponseCodeNoPerm)
	if _, err := c.Select("Sent", nil).Wait(); code(err) != "NO NOPERM" {
		t.Errorf("a refused folder: %v", err)
	}
}

// A message keeps its handle through every renumbering, also where one that is gone had the UID that it has now.
func TestHandlesOutliveRenumbering(t *testing.T) {
	for range 20 {
		s := imaptest.Start(t, nil)
		gone := s.Deliver(providertest.Mail("gone", "gone"), noon, provider.RoleInbox)
		a := s.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
		s.Delete(gone)
		s.Copy(a, provider.RoleArchive)
		s.ResetFolder(provider.RoleInbox) // a has UID 1
		s.ResetFolder(provider.RoleInbox)
		s.Move(a, provider.RoleTrash)
		if got := s.Folders(a); !slices.Equal(got, []string{"Archive", "Trash"}) {
			t.Fatalf("it was moved from the inbox, and lies in %v", got)
		}
		s.Close()
	}
}

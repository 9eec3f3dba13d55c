package imap_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// harness drives the suite over any IMAP server by a client of its own. A message is known by its Message-ID.
type harness struct {
	cfg     imap.Config
	admin   *imapclient.Client
	folders map[provider.Role]string
	ignore  []goimap.Cap
}

func (h *harness) Open(t *testing.T) provider.Mailbox {
	m, err := imap.Dial(t.Context(), h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Ignore(h.ignore...)
	return m
}

func (h *harness) Deliver(t *testing.T, raw []byte, at time.Time, role provider.Role) providertest.Handle {
	put(t, h.admin, h.folders[role], at, string(raw))
	return providertest.Handle(message.ParseHeader(raw).MessageID)
}

// find selects the folder in which the message lies.
func (h *harness) find(t *testing.T, id providertest.Handle) goimap.UIDSet {
	for _, f := range h.folders {
		if _, err := h.admin.Select(f, nil).Wait(); err != nil {
			t.Fatal(err)
		}
		d, err := h.admin.UIDSearch(&goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: string(id)}}}, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if uids := d.AllUIDs(); len(uids) > 0 {
			return goimap.UIDSetNum(uids...)
		}
	}
	t.Fatalf("no message %s", id)
	return nil
}

func (h *harness) Move(t *testing.T, id providertest.Handle, to provider.Role) {
	if _, err := h.admin.Move(h.find(t, id), h.folders[to]).Wait(); err != nil {
		t.Fatal(err)
	}
}

func (h *harness) Delete(t *testing.T, id providertest.Handle) {
	h.expunge(t, h.find(t, id))
}

func (h *harness) expunge(t *testing.T, set goimap.NumSet) {
	if err := h.admin.Store(set, &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: []goimap.Flag{goimap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.admin.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
}

// Reset gives the inbox another UIDVALIDITY, by Dovecot's own tool. (Rewriting its files under processes that have them open makes
// those fail for as long as they live.)
func (h *harness) Reset(t *testing.T, role provider.Role) bool {
	if role != provider.RoleInbox {
		return false
	}
	if h.admin.State() == goimap.ConnStateSelected { // Dovecot throws out whoever has it open
		if err := h.admin.Unselect().Wait(); err != nil {
			t.Fatal(err)
		}
	}
	status, err := h.admin.Status("INBOX", &goimap.StatusOptions{UIDValidity: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("doveadm", "-c", os.Getenv("EMAILINT_DOVECOT_CONF"), "mailbox", "update", "-u", h.cfg.Username,
		"--uid-validity", fmt.Sprint(status.UIDValidity+1), "INBOX").CombinedOutput()
	if err != nil {
		t.Fatalf("doveadm: %v: %s", err, out)
	}
	return true
}

// memory drives the suite over imaptest.
type memory struct {
	*imaptest.Server
}

func (h memory) Open(t *testing.T) provider.Mailbox {
	return dial(t, h.Server, func(c *imap.Config) { c.PageSize = 2 })
}

func (h memory) Deliver(_ *testing.T, raw []byte, at time.Time, r provider.Role) providertest.Handle {
	return h.Server.Deliver(raw, at, r)
}
func (h memory) Move(_ *testing.T, m providertest.Handle, to provider.Role) { h.Server.Move(m, to) }
func (h memory) Delete(_ *testing.T, m providertest.Handle)                 { h.Server.Delete(m) }
func (h memory) Reset(_ *testing.T, r provider.Role) bool                   { h.ResetFolder(r); return true }

// A server may lack whatever RFC 3501 does not ask for, and all of it.
func TestSuiteOverMemoryServer(t *testing.T) {
	bare := &imaptest.Options{Without: imaptest.Default}
	for name, c := range map[string]struct {
		opts   *imaptest.Options
		change func(*imaptest.Server)
	}{
		"modern":               {},
		"bare":                 {opts: bare},
		"bare, UIDNEXT untold": {opts: bare, change: func(s *imaptest.Server) { s.HideUIDNext(true) }},
		"no LIST-STATUS":       {opts: without(goimap.CapListStatus)},
		"no SPECIAL-USE":       {opts: without(goimap.CapSpecialUse)},
		"no ESEARCH":           {opts: without(goimap.CapESearch)},
		"no IDLE":              {opts: without(goimap.CapIdle)},
		"no NAMESPACE":         {opts: without(goimap.CapNamespace)},
		"no UNSELECT":          {opts: without(goimap.CapUnselect)},
		"UIDNEXT untold":       {change: func(s *imaptest.Server) { s.HideUIDNext(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			providertest.TestMailbox(t, func(t *testing.T) providertest.MailboxHarness {
				s := imaptest.Start(t, c.opts)
				if c.change != nil {
					c.change(s)
				}
				return memory{s}
			})
		})
	}
}

func without(caps ...goimap.Cap) *imaptest.Options { return &imaptest.Options{Without: caps} }

// Dovecot has CONDSTORE and LIST-STATUS; without them the same server shows the plain way.
func TestSuiteOverDovecot(t *testing.T) {
	for name, ignore := range map[string][]goimap.Cap{
		"all":          nil,
		"no CONDSTORE": {goimap.CapCondStore},
		"bare":         append([]goimap.Cap{goimap.CapCondStore}, imaptest.Default...),
	} {
		t.Run(name, func(t *testing.T) { suiteOverDovecot(t, ignore) })
	}
}

func suiteOverDovecot(t *testing.T, ignore []goimap.Cap) {
	providertest.TestMailbox(t, func(t *testing.T) providertest.MailboxHarness {
		cfg, admin := dovecot(t)
		cfg.PageSize = 2
		h := &harness{cfg: cfg, admin: admin, ignore: ignore, folders: map[provider.Role]string{provider.RoleInbox: "INBOX"}}
		list, err := admin.List("", "*", &goimap.ListOptions{ReturnSpecialUse: true}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			for _, a := range f.Attrs {
				switch a {
				case goimap.MailboxAttrSent:
					h.folders[provider.RoleSent] = f.Mailbox
				case goimap.MailboxAttrArchive:
					h.folders[provider.RoleArchive] = f.Mailbox
				case goimap.MailboxAttrTrash:
					h.folders[provider.RoleTrash] = f.Mailbox
				}
			}
		}
		for role, name := range map[provider.Role]string{provider.RoleArchive: "Archive", provider.RoleTrash: "Trash", provider.RoleSent: "Sent"} {
			if h.folders[role] == "" {
				if err := admin.Create(name, nil).Wait(); err != nil {
					t.Fatal(err)
				}
				h.folders[role] = name
			}
		}
		for _, f := range h.folders {
			sel, err := admin.Select(f, nil).Wait()
			if err != nil {
				t.Fatal(err)
			}
			if sel.NumMessages > 0 {
				h.expunge(t, goimap.SeqSet{goimap.SeqRange{Start: 1, Stop: 0}})
			}
		}
		return h
	})
}

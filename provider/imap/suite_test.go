package imap_test

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/providertest"
)

// harness drives the suite over any IMAP server by a client of its own. A message is known by its Message-ID.
type harness struct {
	cfg     imap.Config
	admin   *imapclient.Client
	folders map[provider.Role]string
	reset   func() bool
}

func (h *harness) Open(t *testing.T) provider.Mailbox {
	m, err := imap.Dial(t.Context(), h.cfg)
	if err != nil {
		t.Fatal(err)
	}
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

func (h *harness) Reset(_ *testing.T, role provider.Role) bool {
	return role == provider.RoleInbox && h.reset != nil && h.reset()
}

// plain is a memory server without our traps, whose inbox can be renumbered.
type plain struct {
	imapserver.Session
	epoch *atomic.Uint32
}

func (s *plain) Select(name string, o *goimap.SelectOptions) (*goimap.SelectData, error) {
	d, err := s.Session.Select(name, o)
	if err == nil && strings.EqualFold(name, "INBOX") {
		d.UIDValidity += 1000 * s.epoch.Load()
	}
	return d, err
}

func (s *plain) Status(name string, o *goimap.StatusOptions) (*goimap.StatusData, error) {
	d, err := s.Session.Status(name, o)
	if err == nil && o.UIDValidity && strings.EqualFold(name, "INBOX") {
		d.UIDValidity += 1000 * s.epoch.Load()
	}
	return d, err
}

func TestSuiteOverMemoryServer(t *testing.T) {
	providertest.TestMailbox(t, func(t *testing.T) providertest.MailboxHarness {
		user := imapmemserver.NewUser("ada@example.com", "secret")
		mem := imapmemserver.New()
		mem.AddUser(user)
		h := &harness{folders: map[provider.Role]string{provider.RoleInbox: "INBOX", provider.RoleSent: "Sent",
			provider.RoleArchive: "Archive", provider.RoleTrash: "Trash"}}
		for _, f := range h.folders {
			if err := user.Create(f, nil); err != nil {
				t.Fatal(err)
			}
		}
		var epoch atomic.Uint32
		srv := imapserver.New(&imapserver.Options{
			NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
				return &plain{mem.NewSession(), &epoch}, nil, nil
			},
			Caps:         goimap.CapSet{goimap.CapIMAP4rev1: {}, goimap.CapIdle: {}, goimap.CapUIDPlus: {}},
			InsecureAuth: true,
		})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go srv.Serve(ln) //nolint:errcheck // ends with Close
		t.Cleanup(func() { srv.Close() })
		h.cfg = imap.Config{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, Username: "ada@example.com", Password: "secret", Security: imap.Insecure, PageSize: 2}
		h.reset = func() bool { epoch.Add(1); return true }
		if h.admin, err = imapclient.DialInsecure(ln.Addr().String(), nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.admin.Close() })
		if err := h.admin.Login("ada@example.com", "secret").Wait(); err != nil {
			t.Fatal(err)
		}
		return h
	})
}

// The reset case is skipped here: Dovecot renumbers a folder only when its files are touched. TestDovecot renumbers one by
// deleting and making it.
func TestSuiteOverDovecot(t *testing.T) {
	providertest.TestMailbox(t, func(t *testing.T) providertest.MailboxHarness {
		cfg, admin := dovecot(t)
		cfg.PageSize = 2
		h := &harness{cfg: cfg, admin: admin, folders: map[provider.Role]string{provider.RoleInbox: "INBOX"}}
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

package imap_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// spy dials for a mailbox, and reads its commands along to let the answer of one get lost.
type spy struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu     sync.Mutex // guards what follows
	armed  bool
	when   providertest.Loss
	noMove bool // the next change takes more than one command
	refuse int  // dials

}

var errLost = errors.New("the answer is lost")

func (s *spy) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	refuse := s.refuse > 0
	if refuse {
		s.refuse--
	}
	s.mu.Unlock()
	if refuse {
		return nil, errLost
	}
	c, err := s.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &spied{Conn: c, spy: s}, nil
}

type spied struct {
	net.Conn
	spy *spy

	mu  sync.Mutex // guards what follows
	tag string     // its answer is lost
	got []byte
}

// effects are the commands that change something.
var effects = []string{"UID MOVE", "UID COPY", "UID STORE", "UID EXPUNGE", "APPEND"}

// Write looks for the command whose answer is lost. Of a move by hand it is the first one before, the STORE between, the
// EXPUNGE after.
func (c *spied) Write(b []byte) (int, error) {
	tag, cmd, _ := strings.Cut(string(b), " ")
	i := slices.IndexFunc(effects, func(e string) bool { return strings.HasPrefix(cmd, e+" ") })
	s := c.spy
	s.mu.Lock()
	lose, when := false, s.when
	if s.armed && i >= 0 {
		byHand := s.noMove && when != providertest.LostBefore
		switch {
		case byHand && when == providertest.LostBetween && effects[i] == "UID STORE":
			lose, when = true, providertest.LostBefore
		case byHand && (effects[i] == "UID COPY" || strings.Contains(cmd, `\Deleted`)):
		default:
			lose = true
		}
		if lose {
			s.armed = false
			if effects[i] != "APPEND" {
				s.refuse = 1 // the mailbox would try again at once
			}
		}
	}
	s.mu.Unlock()
	if lose && when == providertest.LostBefore {
		c.Conn.Close()
		return 0, errLost
	}
	if lose {
		c.mu.Lock()
		c.tag = tag
		c.mu.Unlock()
	}
	return c.Conn.Write(b)
}

func (c *spied) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tag != "" {
		c.got = append(c.got, b[:n]...)
		if bytes.HasPrefix(c.got, []byte(c.tag+" ")) || bytes.Contains(c.got, []byte("\n"+c.tag+" ")) {
			c.Conn.Close()
			return 0, errLost
		}
	}
	return n, err
}

// mutHarness drives the suites of changes over a real server by a client of its own, over ours by its back door.
type mutHarness struct {
	cfg     imap.Config
	spy     *spy
	admin   *imapclient.Client
	mem     *imaptest.Server // nil: a real one
	roles   map[string]provider.Role
	without []goimap.Cap
}

func (h *mutHarness) Open(t *testing.T) provider.Mailbox {
	m, err := imap.Dial(t.Context(), h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Ignore(h.without...)
	return m
}

func (h *mutHarness) folder(role provider.Role) string {
	for name, r := range h.roles {
		if r == role {
			return name
		}
	}
	return "INBOX"
}

func (h *mutHarness) Deliver(t *testing.T, raw []byte, at time.Time, role provider.Role) providertest.Handle {
	if h.mem != nil {
		return h.mem.Deliver(raw, at, role)
	}
	put(t, h.admin, h.folder(role), at, string(raw))
	return providertest.Handle(message.ParseHeader(raw).MessageID)
}

// find opens the first folder with the message, for writing.
func (h *mutHarness) find(t *testing.T, id string) goimap.UIDSet {
	for _, f := range h.list(t) {
		if _, err := h.admin.Select(f.Mailbox, nil).Wait(); err != nil {
			t.Fatal(err)
		}
		if uids := h.search(t, id); len(uids) > 0 {
			return goimap.UIDSetNum(uids...)
		}
	}
	t.Fatalf("no message %s", id)
	return nil
}

func (h *mutHarness) search(t *testing.T, id string) []goimap.UID {
	d, err := h.admin.UIDSearch(&goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: "<" + id + ">"}}}, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return d.AllUIDs()
}

func (h *mutHarness) list(t *testing.T) (out []*goimap.ListData) {
	list, err := h.admin.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if !slices.Contains(d.Attrs, goimap.MailboxAttrNoSelect) {
			out = append(out, d)
		}
	}
	return out
}

func (h *mutHarness) Move(t *testing.T, m providertest.Handle, to provider.Role) {
	if h.mem != nil {
		h.mem.Move(m, to)
		return
	}
	if _, err := h.admin.Move(h.find(t, string(m)), h.folder(to)).Wait(); err != nil {
		t.Fatal(err)
	}
}

func (h *mutHarness) Delete(t *testing.T, m providertest.Handle) {
	if h.mem != nil {
		h.mem.Delete(m)
		return
	}
	set := h.find(t, string(m))
	h.deleted(t, set)
	if err := h.admin.UIDExpunge(set).Close(); err != nil {
		t.Fatal(err)
	}
}

func (h *mutHarness) deleted(t *testing.T, set goimap.NumSet) {
	if err := h.admin.Store(set, &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: []goimap.Flag{goimap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
}

func (h *mutHarness) Reset(*testing.T, provider.Role) bool { return false } // these suites reset nothing

func (h *mutHarness) Discard(t *testing.T, m providertest.Handle) bool {
	if h.mem != nil {
		h.mem.Flag(m, goimap.FlagDeleted)
	} else {
		h.deleted(t, h.find(t, string(m)))
	}
	return true
}

func (h *mutHarness) Look(t *testing.T, id string) (out []providertest.Sight) {
	for _, d := range h.list(t) {
		sel, err := h.admin.Select(d.Mailbox, &goimap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if sel.NumMessages == 0 {
			continue
		}
		uids := h.search(t, id)
		if len(uids) == 0 {
			continue
		}
		whole := &goimap.FetchItemBodySection{Peek: true}
		ms, err := h.admin.Fetch(goimap.UIDSetNum(uids...), &goimap.FetchOptions{UID: true, Flags: true, InternalDate: true,
			BodySection: []*goimap.FetchItemBodySection{whole}}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			s := providertest.Sight{Folders: []provider.Folder{{ID: d.Mailbox, Name: d.Mailbox, Role: h.roles[d.Mailbox]}},
				Raw: m.FindBodySection(whole), At: m.InternalDate.UTC()}
			for _, f := range m.Flags {
				switch {
				case strings.EqualFold(string(f), `\Recent`):
				case strings.HasPrefix(string(f), `\`):
					// The memory server writes them in lower case.
					s.Flags = append(s.Flags, map[string]string{`\seen`: `\Seen`, `\deleted`: `\Deleted`}[strings.ToLower(string(f))])
				default:
					s.Labels = append(s.Labels, string(f))
				}
			}
			if h.roles[d.Mailbox] == "" {
				s.Labels = append(s.Labels, d.Mailbox)
			}
			out = append(out, s)
		}
	}
	return out
}

func (h *mutHarness) Lose(_ *testing.T, l providertest.Loss) bool {
	h.spy.mu.Lock()
	defer h.spy.mu.Unlock()
	h.spy.armed, h.spy.when, h.spy.noMove = true, l, slices.Contains(h.without, goimap.CapMove)
	return true
}

// overMemory is a server in memory that truly lacks what the mailbox is to go without.
func overMemory(t *testing.T, opts imaptest.Options) *mutHarness {
	h := overSame(t, imaptest.Start(t, &opts))
	h.without = opts.Without
	return h
}

func overSame(t *testing.T, srv *imaptest.Server) *mutHarness {
	h := &mutHarness{cfg: srv.Config(), mem: srv, spy: &spy{dial: (&net.Dialer{}).DialContext}, roles: map[string]provider.Role{
		"INBOX": provider.RoleInbox, "Sent": provider.RoleSent, "Archive": provider.RoleArchive, "Drafts": provider.RoleDrafts,
		"Junk": provider.RoleJunk, "Trash": provider.RoleTrash}}
	h.cfg.Dial = h.spy.Dial
	var err error
	if h.admin, err = imapclient.DialInsecure(net.JoinHostPort(h.cfg.Host, portOf(h.cfg)), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.admin.Close() })
	if err := h.admin.Login(h.cfg.Username, h.cfg.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	return h
}

// overDovecot is the real server, emptied, with its own folders only.
func overDovecot(t *testing.T, without ...goimap.Cap) *mutHarness {
	cfg, admin := dovecot(t)
	h := &mutHarness{cfg: cfg, admin: admin, without: without, roles: map[string]provider.Role{"INBOX": provider.RoleInbox}}
	// The spy speaks TLS, so that it sees what the mailbox says in clear.
	addr, tc := os.Getenv("EMAILINT_DOVECOT_TLS"), cfg.TLSConfig
	h.spy = &spy{dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: tc}).DialContext(ctx, "tcp", addr)
	}}
	h.cfg.Security, h.cfg.Dial = imap.Insecure, h.spy.Dial
	list, err := admin.List("", "*", &goimap.ListOptions{ReturnSpecialUse: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	of := map[goimap.MailboxAttr]provider.Role{goimap.MailboxAttrSent: provider.RoleSent, goimap.MailboxAttrArchive: provider.RoleArchive,
		goimap.MailboxAttrDrafts: provider.RoleDrafts, goimap.MailboxAttrJunk: provider.RoleJunk, goimap.MailboxAttrTrash: provider.RoleTrash}
	for _, d := range list {
		for _, a := range d.Attrs {
			if of[a] != "" {
				h.roles[d.Mailbox] = of[a]
			}
		}
	}
	for _, d := range slices.Backward(list) { // children first
		if h.roles[d.Mailbox] == "" {
			admin.Delete(d.Mailbox).Wait() //nolint:errcheck // a name that only has children goes with them
			continue
		}
		sel, err := admin.Select(d.Mailbox, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if sel.NumMessages > 0 {
			h.deleted(t, goimap.SeqSet{goimap.SeqRange{Start: 1, Stop: 0}})
			if err := admin.Expunge().Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return h
}

var ways = []struct {
	name    string
	without []goimap.Cap
}{
	{"modern", nil},
	{"no MOVE", []goimap.Cap{goimap.CapMove}},
	{"no UIDPLUS", []goimap.Cap{goimap.CapUIDPlus}},
	{"no UNSELECT", []goimap.Cap{goimap.CapUnselect}},
	{"no keywords", []goimap.Cap{"KEYWORDS"}},
}

func suites(t *testing.T, over func(t *testing.T, without []goimap.Cap) *mutHarness, but ...string) {
	for _, w := range ways {
		if slices.Contains(but, w.name) {
			continue
		}
		newHarness := func(t *testing.T) providertest.MutatorHarness { return over(t, w.without) }
		t.Run(w.name+"/archiver", func(t *testing.T) { providertest.TestArchiver(t, newHarness) })
		t.Run(w.name+"/labeler", func(t *testing.T) { providertest.TestLabeler(t, newHarness) })
		t.Run(w.name+"/filer", func(t *testing.T) { providertest.TestSentFiler(t, newHarness) })
	}
}

func TestMutatorsOverMemoryServer(t *testing.T) {
	suites(t, func(t *testing.T, without []goimap.Cap) *mutHarness {
		return overMemory(t, imaptest.Options{Without: without})
	})
}

// What is left out differs in nothing that the server would notice.
func TestMutatorsOverDovecot(t *testing.T) {
	suites(t, func(t *testing.T, without []goimap.Cap) *mutHarness { return overDovecot(t, without...) }, "no UNSELECT")
}

func portOf(c imap.Config) string { return strconv.Itoa(c.Port) }

package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// MailboxHarness is the service behind the mailbox that is tested: an empty mailbox, made anew for each case. Its
// methods end the test themselves when they fail.
type MailboxHarness interface {
	// Open opens the mailbox; the harness closes it in t.Cleanup or leaves that to the suite.
	Open(t *testing.T) provider.Mailbox
	// Deliver puts a message, with its received time in whole seconds, into the folder of a role. The suite uses
	// RoleInbox, RoleSent, RoleArchive and RoleTrash.
	Deliver(t *testing.T, raw []byte, at time.Time, role provider.Role) Handle
	Move(t *testing.T, h Handle, to provider.Role)
	Delete(t *testing.T, h Handle)
	// Reset makes the service forget where cursors stood in that folder (UIDVALIDITY, 410, an expired history). It
	// returns false where the service can't be made to.
	Reset(t *testing.T, role provider.Role) bool
}

// TestMailbox says what a provider.Mailbox should do, over a fresh harness for each case.
func TestMailbox(t *testing.T, newHarness func(t *testing.T) MailboxHarness) {
	for _, c := range mailboxCases {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t)
			s := &mailboxRun{t: t, h: h, box: h.Open(t)}
			defer s.box.Close()
			err := c.run(t.Context(), s)
			if errors.Is(err, errNotHere) {
				t.Skip("this service can't be brought to it")
			}
			if err != nil {
				t.Errorf("a mailbox should %s\nit did not: %v", c.should, err)
			}
		})
	}
}

var errNotHere = errors.New("not possible here")

type mailboxCase struct {
	name, should string
	run          func(ctx context.Context, s *mailboxRun) error
}

// The base of all times: whole seconds, in the past.
var day0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

var mailboxCases = []mailboxCase{
	{"start", "return from Start a cursor after which only later mail shows", caseStart},
	{"empty", "answer Changes without news with an empty page, no More, and a cursor that still works", caseEmpty},
	{"paging", "bring every message of a burst by following Next while More", caseBurst},
	{"restartable", "give the same news again when Changes is called with an old cursor", caseOldCursor},
	{"envelope", "show what Envelope.Has promises, and leave the rest out", caseEnvelope},
	{"history", "list in History exactly the mail of the window, From included and To excluded, newest first", caseWindow},
	{"history-resume", "continue History from any page's cursor, also on a mailbox opened later, without loss", caseResume},
	{"history-folders", "list mail of sent and archive folders and leave out trash", caseFolders},
	{"inventory", "list in Inventory exactly the ids that History lists", caseInventory},
	{"content", "return text, header and attachment list from Content", caseContent},
	{"attachment", "return from Attachment the decoded bytes of the part that Content named", caseAttachment},
	{"locate", "find a message by Message-ID and answer none, without error, for an unknown one", caseLocate},
	{"gone", "answer ErrGone to Content and Attachment of a deleted message", caseGone},
	{"sent", "mark mail in Sent as Sent, and mail in the inbox with an own From not", caseSent},
	{"move", "report a move as a removal from the old folder, or its recount, and an item in the new one, never silently", caseMove},
	{"trash", "report a move to trash as a removal, or a recount, and still locate the message", caseTrash},
	{"delete", "report a deletion as a removal, or a recount, and locate the message no more", caseDelete},
	{"reset", "announce a reset folder in Restart and list all its mail again, losing none", caseReset},
	{"cancel", "return the context's error promptly from every call when it is cancelled", caseCancel},
	{"foreign-cursor", "answer a cursor it never made with an error, not with a page", caseForeign},
	{"profile", "return a profile with the mailbox's address", caseProfile},
}

type mailboxRun struct {
	t   *testing.T
	h   MailboxHarness
	box provider.Mailbox
}

// Mail returns a small message for harness tests: its Message-ID is id@sender.example.
func Mail(id, subject string) []byte {
	return fmt.Appendf(nil, "From: Ada <ada@sender.example>\r\nTo: bob@acme.example\r\nSubject: %s\r\n"+
		"Date: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <%s@sender.example>\r\n"+
		"In-Reply-To: <parent@acme.example>\r\nReferences: <root@acme.example> <parent@acme.example>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\n\r\nHello from %s.\r\n", subject, id, id)
}

var attached = []byte("\x00\x01 the order as bytes \xff")

func mailWithAttachment(id string) []byte {
	return fmt.Appendf(nil, "From: ada@sender.example\r\nTo: bob@acme.example\r\nSubject: order\r\nMessage-ID: <%s@sender.example>\r\n"+
		"Date: Mon, 02 Mar 2026 09:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n"+
		"--b1\r\nContent-Type: text/plain\r\n\r\nSee the order.\r\n"+
		"--b1\r\nContent-Type: application/octet-stream; name=order.bin\r\nContent-Disposition: attachment; filename=order.bin\r\n"+
		"Content-Transfer-Encoding: base64\r\n\r\nAAEgdGhlIG9yZGVyIGFzIGJ5dGVzIP8=\r\n--b1--\r\n", id)
}

func (s *mailboxRun) deliver(id string, at time.Time, role provider.Role) Handle {
	s.t.Helper()
	return s.h.Deliver(s.t, Mail(id, "about "+id), at, role)
}

// name returns the local part of an item's Message-ID; where the listing has none, Content does.
func (s *mailboxRun) name(ctx context.Context, it provider.Item) (string, error) {
	id := it.Envelope.MessageID
	if id == "" {
		m, err := s.box.Content(ctx, it.ID)
		if err != nil {
			return "", fmt.Errorf("Content of a listed id: %w", err)
		}
		id = m.MessageID
	}
	return string(bytes.TrimSuffix([]byte(id), []byte("@sender.example"))), nil
}

const maxPages = 500

type news struct {
	items   []provider.Item
	left    []provider.Removal
	restart []provider.Folder
	recount []provider.Folder
	next    provider.Cursor
}

func (s *mailboxRun) changes(ctx context.Context, c provider.Cursor) (news, error) {
	var n news
	for range maxPages {
		p, err := s.box.Changes(ctx, c)
		if err != nil {
			return n, fmt.Errorf("Changes: %w", err)
		}
		if len(p.Next) == 0 {
			return n, errors.New("Changes returned no Next")
		}
		n.items, n.left, n.restart = append(n.items, p.Items...), append(n.left, p.Left...), append(n.restart, p.Restart...)
		n.recount = append(n.recount, p.Recount...)
		c, n.next = p.Next, p.Next
		if !p.More {
			return n, nil
		}
	}
	return n, fmt.Errorf("Changes still said More after %d pages", maxPages)
}

// names returns the names of items, once each, in order of first appearance.
func (s *mailboxRun) names(ctx context.Context, items []provider.Item) ([]string, error) {
	var out []string
	for _, it := range items {
		if it.Err != nil {
			return nil, fmt.Errorf("item with error: %w", it.Err)
		}
		n, err := s.name(ctx, it)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out, nil
}

func (s *mailboxRun) history(ctx context.Context, w provider.Window, c provider.Cursor) ([]provider.Page, error) {
	var ps []provider.Page
	for range maxPages {
		p, err := s.box.History(ctx, w, c)
		if err != nil {
			return nil, fmt.Errorf("History: %w", err)
		}
		ps = append(ps, p)
		if len(p.Next) == 0 {
			return nil, errors.New("History returned no Next")
		}
		c = p.Next
		if !p.More {
			return ps, nil
		}
	}
	return nil, fmt.Errorf("History still said More after %d pages", maxPages)
}

func (s *mailboxRun) wantSet(ctx context.Context, items []provider.Item, want ...string) error {
	got, err := s.names(ctx, items)
	if err != nil {
		return err
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("listed %q, want %q", got, want)
	}
	return nil
}

func readAll(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func caseProfile(ctx context.Context, s *mailboxRun) error {
	p, err := s.box.Profile(ctx)
	if err == nil && !message.AddressKey(p.Address).IsAddress() {
		err = fmt.Errorf("address %q", p.Address)
	}
	return err
}

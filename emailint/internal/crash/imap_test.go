package crash

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// imapService is provider/imap over a server in memory, and plain SMTP, which files no copy and has nowhere to look.
type imapService struct {
	t       testing.TB
	srv     *imaptest.Server
	box     *imaptest.Mailbox
	handles map[string]providertest.Handle // by Message-ID

	mu   sync.Mutex // guards below
	sent []providertest.Delivery
	lose []providertest.Loss
	// of filing in Sent; other changes of a mailbox can be asked for again
	loseMutations []providertest.Loss
}

// overIMAP returns mailboxes each on a server of its own: the second lacks MOVE, UIDPLUS and more.
func overIMAP(t testing.TB) func(address string, now func() time.Time) Service {
	return func(address string, _ func() time.Time) Service {
		o := &imaptest.Options{}
		if address == "bob@own.example" {
			o.Without = []goimap.Cap{goimap.CapMove, goimap.CapUIDPlus, goimap.CapESearch, goimap.CapListStatus}
		}
		srv := imaptest.Start(t, o)
		return &imapService{t: t, srv: srv, box: srv.AddMailbox(address), handles: map[string]providertest.Handle{}}
	}
}

func (s *imapService) Open(ctx context.Context) (provider.Mailbox, error) {
	m, err := imap.Dial(ctx, s.box.Config())
	if err != nil {
		return nil, err
	}
	return &losingMailbox{m, s}, nil
}

// losingMailbox loses the answer of what files a copy in Sent.
type losingMailbox struct {
	*imap.Mailbox
	s *imapService
}

func (m *losingMailbox) FileSent(ctx context.Context, raw []byte, at time.Time) (id provider.ItemID, err error) {
	m.s.mu.Lock()
	lost, loss := len(m.s.loseMutations) > 0, providertest.LostAfter
	if lost {
		loss, m.s.loseMutations = m.s.loseMutations[0], m.s.loseMutations[1:]
	}
	m.s.mu.Unlock()
	if !lost || loss == providertest.LostAfter {
		id, err = m.Mailbox.FileSent(ctx, raw, at)
	}
	if lost {
		return "", errors.New("connection lost while filing")
	}
	return id, err
}

func (s *imapService) Close() error { s.srv.Close(); return nil }

func (s *imapService) Deliver(raw []byte, at time.Time, role provider.Role) providertest.Handle {
	h := s.box.Deliver(raw, at, role)
	s.handles[message.ParseHeader(raw).MessageID] = h
	return h
}

func (s *imapService) Move(h providertest.Handle, to provider.Role) { s.box.Move(h, to) }
func (s *imapService) Delete(h providertest.Handle) {
	if h != "" { // in an empty mailbox there is no victim
		s.box.Delete(h)
	}
}
func (s *imapService) Reset(role provider.Role)                   { s.box.ResetFolder(role) }
func (s *imapService) ItemID(providertest.Handle) provider.ItemID { return "" }
func (s *imapService) Forget()                                    {} // IMAP asks for what is there, not for what happened
func (s *imapService) Proof() Proof                               { return Nothing }
func (s *imapService) Sender() provider.Sender                    { return s }

func (s *imapService) Look(messageID string) (out []providertest.Sight) {
	var names []string
	if h, ok := s.handles[messageID]; ok {
		names = s.box.Folders(h)
	} else if m, err := s.Open(s.t.Context()); err == nil { // what was sent
		defer m.Close()
		items, err := m.Locate(s.t.Context(), messageID)
		must(err)
		for _, it := range items {
			names = append(names, folderNames(it.Folders)...)
		}
	}
	for _, n := range names {
		out = append(out, providertest.Sight{Folders: []provider.Folder{{ID: n, Name: n}}})
	}
	return out
}

func (s *imapService) Lose(l providertest.Loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = append(s.lose, l)
}

func (s *imapService) LoseMutation(l providertest.Loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseMutations = append(s.loseMutations, l)
}

func (s *imapService) Sent() []providertest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

func (s *imapService) Stage(_ context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	return provider.Staged{Raw: raw, Options: o}, nil
}

func (s *imapService) Release(_ context.Context, st provider.Staged) (provider.Sent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost, loss := len(s.lose) > 0, providertest.LostAfter
	if lost {
		loss, s.lose = s.lose[0], s.lose[1:]
	}
	if !lost || loss == providertest.LostAfter {
		s.sent = append(s.sent, providertest.Delivery{Raw: st.Raw, From: st.Options.From, Recipients: st.Options.Recipients, MessageID: st.Options.MessageID})
	}
	if lost {
		return provider.Sent{}, errors.New("connection lost while sending")
	}
	return provider.Sent{MessageID: st.Options.MessageID}, nil
}

func (s *imapService) Lookup(context.Context, provider.Staged) (provider.Outcome, provider.Sent, error) {
	return provider.OutcomeUnknown, provider.Sent{}, nil
}

func TestCrashOverIMAP(t *testing.T) {
	t.Parallel()
	Run(t, Config{Store: memory, Service: overIMAP(t)}, sampled(t, 3, 60))
}

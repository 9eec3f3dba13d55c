package mailworld

import (
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// session is go-imap's own but for IDLE. Seen in practice (go-imap v2.0.0-beta.8, imapserver/tracker.go Idle): a mail that arrives
// between SELECT and IDLE, or while IDLE is being set up, is told of only when the next one arrives. RFC 2177, 3: an idling client may
// expect to hear of new mail at once.
type session struct {
	*imapmemserver.UserSession
	news *news
}

var _ imapserver.SessionIMAP4rev2 = (*session)(nil)

// Idle tells what is new already, and then whatever comes, until stop is closed.
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	said, end := s.news.listen()
	defer end()
	for {
		if err := s.Poll(w, true); err != nil {
			return err
		}
		select {
		case <-said:
		case <-stop:
			return nil
		}
	}
}

func (s *session) Append(name string, r imap.LiteralReader, o *imap.AppendOptions) (*imap.AppendData, error) {
	defer s.news.say()
	return s.UserSession.Append(name, r, o)
}

func (s *session) Copy(set imap.NumSet, dest string) (*imap.CopyData, error) {
	defer s.news.say()
	return s.UserSession.Copy(set, dest)
}

func (s *session) Move(w *imapserver.MoveWriter, set imap.NumSet, dest string) error {
	defer s.news.say()
	return s.UserSession.Move(w, set, dest)
}

func (s *session) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	defer s.news.say()
	return s.UserSession.Expunge(w, uids)
}

func (s *session) Store(w *imapserver.FetchWriter, set imap.NumSet, f *imap.StoreFlags, o *imap.StoreOptions) error {
	defer s.news.say()
	return s.UserSession.Store(w, set, f, o)
}

// news tells idling sessions that a mailbox changed; the zero value is ready.
type news struct {
	mu        sync.Mutex // guards listeners
	listeners map[chan struct{}]bool
}

// listen returns what receives after every change from now on; end stops it.
func (n *news) listen() (said <-chan struct{}, end func()) {
	ch := make(chan struct{}, 1) // one is enough: whoever hears it looks at everything
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[chan struct{}]bool{}
	}
	n.listeners[ch] = true
	return ch, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, ch)
	}
}

func (n *news) say() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for ch := range n.listeners {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

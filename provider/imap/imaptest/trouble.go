package imaptest

import (
	"fmt"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/provider/providertest"
)

// trouble is what the server was told to do wrong. Guarded by Server.mu.
type trouble struct {
	refusals []goimap.ResponseCode
	byes     int
	byeText  string
	maxConns int
	token    string
	noNext   bool
	poison   []poison
	undated  []poison
	hooks    []hook
}

type poison struct {
	mailbox *Mailbox
	handle  handle
}

// RefuseSignIns refuses the next n sign-ins, right or wrong, with a response code: AUTHENTICATIONFAILED, UNAVAILABLE, or "" for a
// server that gives no reason (facts 8: one AUTHENTICATIONFAILED is no proof of a changed password).
func (s *Server) RefuseSignIns(n int, code goimap.ResponseCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.trouble.refusals = append(s.trouble.refusals, code)
	}
}

// signIn answers the next refusal. The caller holds Server.mu.
func (t *trouble) signIn() error {
	if len(t.refusals) == 0 {
		return nil
	}
	code := t.refusals[0]
	t.refusals = t.refusals[1:]
	return &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: code, Text: "Sign-in refused."}
}

// SetToken sets the access token that XOAUTH2 and OAUTHBEARER take.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble.token = token
}

// GreetBye greets the next n connections with BYE and that text, as servers do that are overloaded or going down.
func (s *Server) GreetBye(n int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble.byes, s.trouble.byeText = n, text
}

// LimitConnections refuses sign-ins to a mailbox that has n connections already; 0 is no limit.
func (s *Server) LimitConnections(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble.maxConns = n
}

// tooMany is what Dovecot says, whose default is 10 for a user from one address (facts 3.3).
func tooMany(n int) error {
	return &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: goimap.ResponseCodeLimit,
		Text: fmt.Sprintf("Maximum number of connections from user+IP exceeded (mail_max_userip_connections=%d)", n)}
}

// HideUIDNext leaves UIDNEXT out of STATUS and SELECT: RFC 3501, 6.3.1 lets it be missing for servers older than itself.
func (s *Server) HideUIDNext(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble.noNext = on
}

// Stick makes the connections that are open now refuse a folder for as long as they live, and no others. Seen in practice with
// Dovecot, when a folder's index is replaced under its processes.
func (m *Mailbox) Stick(folder string) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	for w := range m.server.wires {
		if w.owner == m {
			w.stuck = folder
		}
	}
}

func (s *Server) isStuck(w *wire, folder string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.stuck != "" && w.stuck == folder
}

// Poison makes a message break the connection of whoever fetches its header or body: a response no client understands.
func (m *Mailbox) Poison(h providertest.Handle) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	m.server.trouble.poison = append(m.server.trouble.poison, poison{m, h})
}

// Undate makes the server tell an INTERNALDATE for a message that is none, which no client can read.
func (m *Mailbox) Undate(h providertest.Handle) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	m.server.trouble.undated = append(m.server.trouble.undated, poison{m, h})
}

// Heal undoes every Poison and Undate, and forgets what was to happen when a command arrives.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble.poison, s.trouble.undated, s.trouble.hooks = nil, nil, nil
}

func (s *Server) poisoned(m *Mailbox, folder string, uids goimap.UIDSet) bool {
	s.mu.Lock()
	ps := s.trouble.poison
	s.mu.Unlock()
	return covers(ps, m, folder, uids)
}

func (s *Server) undated(m *Mailbox, folder string, uids goimap.UIDSet) bool {
	s.mu.Lock()
	ps := s.trouble.undated
	s.mu.Unlock()
	return covers(ps, m, folder, uids)
}

func covers(ps []poison, m *Mailbox, folder string, uids goimap.UIDSet) bool {
	if len(ps) == 0 {
		return false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, p := range ps {
		if x := m.mails[p.handle]; p.mailbox == m && x != nil && x.folder == folder && uids.Contains(goimap.UID(x.uid)) {
			return true
		}
	}
	return false
}

// deed is what happens when a command arrives.
type deed int

const (
	run  deed = iota // f runs, then the command
	hang             // no answer, to this or anything after
	cut              // the connection is closed
	lose             // the command is carried out, and the connection closed without an answer
)

type hook struct {
	command string
	deed    deed
	f       func()
}

func (s *Server) hook(h hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble.hooks = append(s.trouble.hooks, h)
}

// Before runs f once, when the next command arrives that begins so ("UID SEARCH", "EXAMINE Sent", "IDLE", as Commands shows
// them), and before it is carried out. So a test knows where a client is, and changes the world right there.
func (s *Server) Before(command string, f func()) { s.hook(hook{command, run, f}) }

// Hang gives no answer to the next command that begins so, nor to anything after it on that connection, which stays open: a
// server that is stuck. The channel is closed when the command has arrived.
func (s *Server) Hang(command string) <-chan struct{} {
	arrived := make(chan struct{})
	s.hook(hook{command, hang, func() { close(arrived) }})
	return arrived
}

// CutAt closes the connection when the next command arrives that begins so; it has no effect.
func (s *Server) CutAt(command string) { s.hook(hook{command, cut, func() {}}) }

// LoseAnswer carries out the next command that begins so, and closes the connection instead of answering.
func (s *Server) LoseAnswer(command string) { s.hook(hook{command, lose, func() {}}) }

// Silence makes the connections that are open now dead without a word (no FIN, as when a NAT has forgotten them): what is sent
// either way is lost. New connections work.
func (s *Server) Silence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.wires {
		w.dead.Store(true)
	}
}

// Cut closes all connections that are open.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.wires {
		w.Conn.Close() //nolint:errcheck // it is to be gone
	}
}

// cutSelected closes the connections that have a folder open.
func (s *Server) cutSelected(m *Mailbox, folder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.wires {
		if name, _ := w.selected.Load().(string); w.owner == m && name == folder {
			w.Conn.Close() //nolint:errcheck // it is to be gone
		}
	}
}

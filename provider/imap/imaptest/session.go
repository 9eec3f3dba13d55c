package imaptest

import (
	"encoding/json"
	"errors"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
)

var (
	_ imapserver.SessionMove      = (*session)(nil)
	_ imapserver.SessionNamespace = (*session)(nil)
	_ imapserver.SessionSASL      = (*session)(nil)
)

var errNoFolder = &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: goimap.ResponseCodeNonExistent, Text: "Mailbox doesn't exist"}

// session is a client's connection.
type session struct {
	*imapmemserver.UserSession // nil until signed in
	server                     *Server
	wire                       *wire
	mailbox                    *Mailbox
}

func (s *Server) newSession(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
	w, ok := c.NetConn().(*wire)
	if !ok {
		return nil, nil, errors.New("not a connection of ours")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble.byes > 0 {
		s.trouble.byes--
		return nil, nil, &goimap.Error{Type: goimap.StatusResponseTypeBye, Text: s.trouble.byeText}
	}
	return &session{server: s, wire: w}, nil, nil
}

func (s *session) Login(user, pass string) error {
	return s.signIn(user, func(*Mailbox) bool { return pass == password })
}

func (s *session) signIn(user string, right func(*Mailbox) bool) error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	m := s.server.mailboxes[user]
	if err := s.server.trouble.signIn(); err != nil {
		return err
	}
	if m == nil || !right(m) {
		return imapserver.ErrAuthFailed
	}
	if max := s.server.trouble.maxConns; max > 0 {
		n := 0
		for w := range s.server.wires {
			if w.owner == m {
				n++
			}
		}
		if n >= max {
			return tooMany(max)
		}
	}
	s.mailbox, s.wire.owner = m, m
	s.UserSession = imapmemserver.NewUserSession(m.mem)
	return nil
}

func (s *session) AuthenticateMechanisms() []string {
	if s.server.opts.Mechanisms == nil {
		return []string{sasl.Plain}
	}
	return s.server.opts.Mechanisms
}

func (s *session) Authenticate(mech string) (sasl.Server, error) {
	for _, m := range s.AuthenticateMechanisms() {
		switch {
		case m != mech:
		case m == sasl.Plain:
			return sasl.NewPlainServer(func(_, user, pass string) error { return s.Login(user, pass) }), nil
		case m == "XOAUTH2", m == sasl.OAuthBearer:
			return &bearer{session: s}, nil
		}
	}
	return nil, &goimap.Error{Type: goimap.StatusResponseTypeNo, Text: "Unsupported authentication mechanism."}
}

// bearer takes access tokens. Facts 3.2: a refused one is answered with JSON, and after the client's next line with NO.
type bearer struct {
	session *session
	refused error
}

func (b *bearer) Next(response []byte) ([]byte, bool, error) {
	if b.refused != nil {
		return nil, false, b.refused
	}
	if response == nil {
		return []byte{}, false, nil
	}
	var user, token string
	for part := range strings.SplitSeq(string(response), "\x01") {
		// RFC 7628, 3.1: n,a=user,^Ahost=…^Aauth=Bearer token^A^A; XOAUTH2: user=…^Aauth=Bearer token^A^A.
		if u, ok := strings.CutPrefix(part, "user="); ok {
			user = u
		} else if _, u, ok := strings.Cut(part, ",a="); ok {
			user = strings.TrimSuffix(u, ",")
		}
		if t, ok := strings.CutPrefix(part, "auth=Bearer "); ok {
			token = t
		}
	}
	err := b.session.signIn(user, func(*Mailbox) bool { return token != "" && token == b.session.server.trouble.token })
	if err == nil {
		return nil, true, nil
	}
	b.refused = err
	challenge, merr := json.Marshal(map[string]string{"status": "401", "schemes": "bearer", "scope": "mail"})
	return challenge, false, merr
}

// closed says whether a folder refuses to be opened. The caller holds the mailbox's mu.
func (s *session) closed(name string) error {
	if s.server.isStuck(s.wire, name) {
		return &goimap.Error{Type: goimap.StatusResponseTypeNo, Text: "Mailbox was deleted under us"}
	}
	if code, ok := s.mailbox.refused[name]; ok {
		return &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: code, Text: "Mailbox can't be opened"}
	}
	if f := s.mailbox.folders[name]; f == nil || f.noselect {
		return errNoFolder
	}
	return nil
}

func (s *session) Select(name string, o *goimap.SelectOptions) (*goimap.SelectData, error) {
	s.mailbox.mu.RLock()
	defer s.mailbox.mu.RUnlock()
	s.wire.selected.Store("")
	if err := s.closed(name); err != nil {
		return nil, err
	}
	d, err := s.UserSession.Select(name, o)
	if err == nil {
		s.wire.selected.Store(name)
	}
	return d, err
}

func (s *session) Unselect() error {
	s.wire.selected.Store("")
	return s.UserSession.Unselect()
}

func (s *session) Status(name string, o *goimap.StatusOptions) (*goimap.StatusData, error) {
	s.mailbox.mu.RLock()
	defer s.mailbox.mu.RUnlock()
	if err := s.closed(name); err != nil {
		return nil, err
	}
	return s.UserSession.Status(name, o)
}

// List names the folders, in byte order as Dovecot does, with their children's parents that are names only.
func (s *session) List(w *imapserver.ListWriter, ref string, patterns []string, o *goimap.ListOptions) error {
	if len(patterns) == 0 {
		return w.WriteList(&goimap.ListData{Attrs: []goimap.MailboxAttr{goimap.MailboxAttrNoSelect}, Delim: '/'})
	}
	s.mailbox.mu.RLock()
	defer s.mailbox.mu.RUnlock()
	// RFC 6154, 2: the attributes come when they are asked for; a server without LIST-EXTENDED gives them unasked.
	uses := s.server.caps.Has(goimap.CapSpecialUse) && (o.ReturnSpecialUse || o.SelectSpecialUse || !s.server.caps.Has(goimap.CapListExtended))
	for _, name := range s.mailbox.names() {
		f := s.mailbox.folders[name]
		match := false
		for _, p := range patterns {
			match = match || imapserver.MatchList(name, '/', ref, p)
		}
		if !match || o.SelectSubscribed && !f.subscribed || o.SelectSpecialUse && f.attr == "" {
			continue
		}
		d := goimap.ListData{Mailbox: name, Delim: '/'}
		if f.noselect {
			d.Attrs = append(d.Attrs, goimap.MailboxAttrNoSelect)
		}
		if f.attr != "" && uses {
			d.Attrs = append(d.Attrs, f.attr)
		}
		if f.subscribed && (o.ReturnSubscribed || o.SelectSubscribed) {
			d.Attrs = append(d.Attrs, goimap.MailboxAttrSubscribed)
		}
		// RFC 5819, 2: no STATUS for what can't be selected, or when its state can't be had.
		if o.ReturnStatus != nil && s.closed(name) == nil {
			st, err := s.UserSession.Status(name, o.ReturnStatus)
			if err != nil {
				return err
			}
			d.Status = st
		}
		if err := w.WriteList(&d); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) Namespace() (*goimap.NamespaceData, error) {
	d := &goimap.NamespaceData{Personal: []goimap.NamespaceDescriptor{{Delim: '/'}}}
	if p := s.server.opts.Foreign; p != "" {
		d.Other = []goimap.NamespaceDescriptor{{Prefix: p, Delim: '/'}}
	}
	return d, nil
}

func (s *session) Create(name string, o *goimap.CreateOptions) error {
	s.mailbox.mu.Lock()
	defer s.mailbox.mu.Unlock()
	var attr goimap.MailboxAttr
	if o != nil && len(o.SpecialUse) > 0 {
		attr = o.SpecialUse[0]
	}
	return s.mailbox.createFolder(name, attr)
}

func (s *session) Delete(name string) error {
	s.mailbox.mu.Lock()
	defer s.mailbox.mu.Unlock()
	return s.mailbox.delete(name)
}

func (s *session) Rename(name, to string, _ *goimap.RenameOptions) error {
	s.mailbox.mu.Lock()
	defer s.mailbox.mu.Unlock()
	return s.mailbox.rename(name, to)
}

func (s *session) subscribe(name string, on bool) error {
	s.mailbox.mu.Lock()
	defer s.mailbox.mu.Unlock()
	f := s.mailbox.folders[name]
	if f == nil {
		return errNoFolder
	}
	f.subscribed = on
	return nil
}

func (s *session) Subscribe(name string) error   { return s.subscribe(name, true) }
func (s *session) Unsubscribe(name string) error { return s.subscribe(name, false) }

func (s *session) Append(name string, r goimap.LiteralReader, o *goimap.AppendOptions) (*goimap.AppendData, error) {
	s.mailbox.mu.RLock()
	defer s.mailbox.mu.RUnlock()
	if s.closed(name) != nil {
		return nil, &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: goimap.ResponseCodeTryCreate, Text: "Mailbox doesn't exist"}
	}
	defer s.mailbox.notify()
	return s.UserSession.Append(name, r, o)
}

func (s *session) Store(w *imapserver.FetchWriter, set goimap.NumSet, f *goimap.StoreFlags, o *goimap.StoreOptions) error {
	if s.wire.readOnly.Load() {
		return errReadOnly
	}
	defer s.mailbox.notify()
	return s.UserSession.Store(w, set, f, o)
}

func (s *session) Expunge(w *imapserver.ExpungeWriter, uids *goimap.UIDSet) error {
	if s.wire.readOnly.Load() {
		return nil // RFC 3501, 6.4.2: CLOSE of an examined folder removes nothing; EXPUNGE is refused by the wire
	}
	defer s.mailbox.notify()
	return s.UserSession.Expunge(w, uids)
}

func (s *session) Copy(set goimap.NumSet, dest string) (*goimap.CopyData, error) {
	s.mailbox.mu.RLock()
	defer s.mailbox.mu.RUnlock()
	defer s.mailbox.notify()
	return s.UserSession.Copy(set, dest)
}

func (s *session) Move(w *imapserver.MoveWriter, set goimap.NumSet, dest string) error {
	if s.wire.readOnly.Load() {
		return errReadOnly
	}
	s.mailbox.mu.RLock()
	defer s.mailbox.mu.RUnlock()
	defer s.mailbox.notify()
	return s.UserSession.Move(w, set, dest)
}

var errReadOnly = &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: "READ-ONLY", Text: "The mailbox was opened read-only"}

// Idle tells also of what happened before it was asked, as Dovecot does: nothing may fall between EXAMINE and IDLE.
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	for {
		next := s.mailbox.next()
		if err := s.UserSession.Poll(w, true); err != nil {
			return err
		}
		select {
		case <-next:
		case <-stop:
			return nil
		}
	}
}

func (s *session) Poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	if s.UserSession == nil {
		return nil
	}
	return s.UserSession.Poll(w, allowExpunge)
}

func (s *session) Fetch(w *imapserver.FetchWriter, set goimap.NumSet, o *goimap.FetchOptions) error {
	for _, b := range o.BodySection {
		if !b.Peek && s.wire.readOnly.Load() {
			// It would set \Seen, and can't: RFC 3501, 6.3.2.
			b.Peek = true
		}
	}
	name, _ := s.wire.selected.Load().(string)
	if uids, ok := set.(goimap.UIDSet); ok && len(o.BodySection) > 0 && s.server.poisoned(s.mailbox, name, uids) {
		s.wire.raw("* 1 FETCH (UID 1 X-UNHEARD-OF 1)\r\n")
	}
	if uids, ok := set.(goimap.UIDSet); ok && o.InternalDate && s.server.undated(s.mailbox, name, uids) {
		s.wire.raw("* 1 FETCH (UID 1 INTERNALDATE \"yesterday\")\r\n")
	}
	return s.UserSession.Fetch(w, set, o)
}

package imap_test

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/intellicon/email-integration/provider/imap"
)

// odd is a server that differs from a modern one in what concerns changes. Folders lie below "INBOX." and nowhere else.
type odd struct {
	user         *imapmemserver.User
	port         int
	namespace    bool // it tells so
	permanent    []goimap.Flag
	dropKeywords bool // takes keywords and keeps none, as Exchange does (facts 3.3)
	copyRefusal  goimap.ResponseCode
	limit        uint32 // of APPEND
	statusLimit  bool   // the limit is asked for by STATUS

	mu         sync.Mutex // guards what follows
	names      []string
	subscribed []string
	appended   int
}

type oddSession struct {
	*imapmemserver.UserSession
	o *odd
}

// limited is a session with one limit for all folders (RFC 7889).
type limited struct{ *oddSession }

func (s limited) AppendLimit() uint32 { return s.o.limit }

func startOdd(t *testing.T, o *odd, caps ...goimap.Cap) *odd {
	t.Helper()
	o.user = imapmemserver.NewUser("ada@example.com", "secret")
	o.names = []string{"INBOX"}
	if err := o.user.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	set := goimap.CapSet{goimap.CapIMAP4rev1: {}, goimap.CapUIDPlus: {}}
	if o.namespace {
		set[goimap.CapNamespace] = struct{}{}
	}
	for _, c := range caps {
		set[c] = struct{}{}
	}
	srv := imapserver.New(&imapserver.Options{Caps: set, InsecureAuth: true, NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
		s := &oddSession{imapmemserver.NewUserSession(o.user), o}
		if o.limit > 0 && !o.statusLimit {
			return limited{s}, nil, nil
		}
		return s, nil, nil
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.port = ln.Addr().(*net.TCPAddr).Port
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }() //nolint:errcheck // ends with Close
	t.Cleanup(func() { srv.Close(); <-done })
	return o
}

func (o *odd) dial(t *testing.T) *imap.Mailbox {
	t.Helper()
	m, err := imap.Dial(t.Context(), imap.Config{Host: "127.0.0.1", Port: o.port, Username: "ada@example.com", Password: "secret", Security: imap.Insecure})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

type literal struct{ *strings.Reader }

func (o *odd) add(t *testing.T, folder, raw string) {
	t.Helper()
	if _, err := o.user.Append(folder, literal{strings.NewReader(raw)}, &goimap.AppendOptions{Time: noon}); err != nil {
		t.Fatal(err)
	}
}

// count returns how many messages a folder holds, -1 when there is none.
func (o *odd) count(folder string) int {
	d, err := o.user.Status(folder, &goimap.StatusOptions{NumMessages: true})
	if err != nil {
		return -1
	}
	return int(*d.NumMessages)
}

func (s *oddSession) Create(name string, opts *goimap.CreateOptions) error {
	if !strings.HasPrefix(name, "INBOX.") || strings.ContainsFunc(name, func(r rune) bool { return r > '~' }) {
		return &goimap.Error{Type: goimap.StatusResponseTypeNo, Text: "Invalid mailbox name"} // as Courier says it
	}
	err := s.UserSession.Create(name, opts)
	if err == nil {
		s.o.mu.Lock()
		defer s.o.mu.Unlock()
		s.o.names = append(s.o.names, name)
	}
	return err
}

func (s *oddSession) Subscribe(name string) error {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	s.o.subscribed = append(s.o.subscribed, name)
	return nil
}

func (s *oddSession) List(w *imapserver.ListWriter, ref string, patterns []string, _ *goimap.ListOptions) error {
	s.o.mu.Lock()
	names := slices.Clone(s.o.names)
	s.o.mu.Unlock()
	for _, n := range names {
		if slices.ContainsFunc(patterns, func(p string) bool { return imapserver.MatchList(n, '.', ref, p) }) {
			if err := w.WriteList(&goimap.ListData{Mailbox: n, Delim: '.'}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *oddSession) Namespace() (*goimap.NamespaceData, error) {
	return &goimap.NamespaceData{Personal: []goimap.NamespaceDescriptor{{Prefix: "INBOX.", Delim: '.'}}}, nil
}

func (s *oddSession) Select(name string, opts *goimap.SelectOptions) (*goimap.SelectData, error) {
	d, err := s.UserSession.Select(name, opts)
	if err == nil && s.o.permanent != nil {
		d.PermanentFlags = s.o.permanent
	}
	return d, err
}

func (s *oddSession) Store(w *imapserver.FetchWriter, set goimap.NumSet, flags *goimap.StoreFlags, opts *goimap.StoreOptions) error {
	if s.o.dropKeywords {
		flags.Flags = slices.DeleteFunc(flags.Flags, func(f goimap.Flag) bool { return !strings.HasPrefix(string(f), `\`) })
		if len(flags.Flags) == 0 {
			return nil
		}
	}
	return s.UserSession.Store(w, set, flags, opts)
}

func (s *oddSession) Copy(set goimap.NumSet, dest string) (*goimap.CopyData, error) {
	if s.o.copyRefusal != "" {
		return nil, &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: s.o.copyRefusal, Text: "no"}
	}
	return s.UserSession.Copy(set, dest)
}

func (s *oddSession) Append(name string, r goimap.LiteralReader, opts *goimap.AppendOptions) (*goimap.AppendData, error) {
	s.o.mu.Lock()
	s.o.appended++
	s.o.mu.Unlock()
	return s.UserSession.Append(name, r, opts)
}

func (s *oddSession) Status(name string, opts *goimap.StatusOptions) (*goimap.StatusData, error) {
	d, err := s.UserSession.Status(name, opts)
	if err == nil && opts.AppendLimit {
		d.AppendLimit = &s.o.limit
	}
	return d, err
}

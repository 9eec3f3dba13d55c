// Package imaptest is an IMAP server in memory, for tests of what reads mail over IMAP: this module's own suites, and those of
// hosts. It serves one or more mailboxes on loopback, in clear text, as imap.Insecure wants it.
//
//	srv := imaptest.Start(t, nil)
//	mail := srv.Deliver(raw, time.Now(), provider.RoleInbox)
//	box, err := imap.Dial(t.Context(), srv.Config())
//	…
//	srv.Move(mail, provider.RoleArchive)
//
// It is go-imap's server with what real ones have besides: roles, folders that can't be selected, a UIDVALIDITY that changes,
// connections that die without a word. What it does not offer (Options.Without) it refuses, so that a client that asks all the
// same is found out. It has no CONDSTORE: go-imap's server can't write MODSEQ.
//
// A Server and its Mailboxes are safe for concurrent use. Their methods end the test when they can't do what they are told.
package imaptest

import (
	"context"
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

// Owner is the address of the mailbox a Server begins with.
const Owner = "ada@example.com"

// Default are the capabilities a Server offers beside those without which there is no IMAP.
var Default = []goimap.Cap{goimap.CapIdle, goimap.CapUIDPlus, goimap.CapMove, goimap.CapSpecialUse, goimap.CapListExtended,
	goimap.CapListStatus, goimap.CapESearch, goimap.CapNamespace, goimap.CapUnselect, goimap.CapEnable}

// Options of a Server; nil, or the zero value, is a modern server.
type Options struct {
	Without []goimap.Cap // capabilities of Default it lacks
	With    []goimap.Cap // capabilities it names besides, such as X-GM-EXT-1; nothing is done for them
	Folders []string     // folders every mailbox has besides the usual ones, "/" between levels
	// Foreign is the prefix of other users' folders, as NAMESPACE tells it (RFC 2342): "Other Users/".
	Foreign string
	// Pipe serves over net.Pipe instead of a socket, for a bubble of testing/synctest: Config says how to dial.
	Pipe bool
	// Bare leaves out the usual folders but INBOX.
	Bare bool
	// Mechanisms are the ways to sign in beside LOGIN: PLAIN, XOAUTH2, OAUTHBEARER; nil: PLAIN.
	Mechanisms []string
}

// Server is an IMAP server with a first mailbox, whose methods it has. Close is called when the test ends.
type Server struct {
	*Mailbox
	tb      testing.TB
	opts    Options
	caps    goimap.CapSet
	port    int
	pipes   chan net.Conn // nil unless Options.Pipe
	imapd   *imapserver.Server
	serving sync.WaitGroup

	mu        sync.Mutex // guards everything below
	mailboxes map[string]*Mailbox
	wires     map[*wire]struct{}
	trouble   trouble
	commands  []string
	closed    bool
}

// Start starts a server that ends with the test.
func Start(tb testing.TB, opts *Options) *Server {
	tb.Helper()
	s := &Server{tb: tb, mailboxes: map[string]*Mailbox{}, wires: map[*wire]struct{}{}}
	if opts != nil {
		s.opts = *opts
	}
	s.caps = goimap.CapSet{goimap.CapIMAP4rev1: {}}
	for _, c := range append(slices.Clone(Default), s.opts.With...) {
		if !slices.Contains(s.opts.Without, c) {
			s.caps[c] = struct{}{}
		}
	}
	s.Mailbox = s.AddMailbox(Owner)
	s.imapd = imapserver.New(&imapserver.Options{NewSession: s.newSession, Caps: s.caps, InsecureAuth: true, Logger: logger{s}})
	var ln net.Listener
	if s.opts.Pipe {
		s.pipes, s.port = make(chan net.Conn), 143
		ln = &pipes{s.pipes, make(chan struct{})}
	} else {
		var err error
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			tb.Fatalf("imaptest: %v", err)
		}
		s.port = ln.Addr().(*net.TCPAddr).Port
	}
	s.serving.Go(func() { s.imapd.Serve(listener{ln, s}) }) //nolint:errcheck // ends with Close
	tb.Cleanup(s.Close)
	return s
}

// AddMailbox adds a mailbox of another owner. The password is the same.
func (s *Server) AddMailbox(owner string) *Mailbox {
	s.tb.Helper()
	m := &Mailbox{server: s, owner: owner, mem: imapmemserver.NewUser(owner, password), folders: map[string]*folder{},
		mails: map[handle]*mail{}, refused: map[string]goimap.ResponseCode{}, changed: make(chan struct{})}
	usual := usualFolders
	if s.opts.Bare {
		usual = usual[:1]
	}
	for _, f := range usual {
		m.create(f.name, f.attr)
	}
	for _, name := range s.opts.Folders {
		m.create(name, "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mailboxes[owner] = m
	return m
}

const password = "secret"

// Config reaches the mailbox. Its JSON is a credential for imap.New(&imap.Options{AllowInsecure: true}).
func (m *Mailbox) Config() imap.Config {
	c := imap.Config{Host: "127.0.0.1", Port: m.server.port, Username: m.owner, Password: password, Security: imap.Insecure}
	if m.server.pipes != nil {
		c.Dial = m.server.pipe
	}
	return c
}

func (s *Server) pipe(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case s.pipes <- ours:
		return theirs, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipes is a listener for them.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// Close ends the server and all connections.
func (s *Server) Close() {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if !was {
		s.imapd.Close() //nolint:errcheck // the listener is closed either way
		s.Cut()
		s.serving.Wait()
	}
}

// Commands returns what clients have sent since the last call, in order of arrival, without tags and quotation marks: "EXAMINE INBOX".
// Of what is sent to sign in only the command is kept, and literals are left out.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.commands
	s.commands = nil
	return out
}

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.wires)
}

// logger passes on that the server itself went wrong; that clients go away is the tests' business.
type logger struct{ s *Server }

func (l logger) Printf(format string, args ...any) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if !l.s.closed && strings.HasPrefix(format, "panic") {
		l.s.tb.Errorf("imaptest: "+format, args...)
	}
}

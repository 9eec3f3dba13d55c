package imap_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// idler is a mailbox in a bubble, whose Changes has seen all: time stands still until everybody waits.
type idler struct {
	*imap.Mailbox
	srv  *imaptest.Server
	cur  provider.Cursor
	mail map[string]providertest.Handle
}

// limit is shorter than what a server lets a client be silent for (RFC 3501, 5.4: 30 minutes).
const limit = 20 * time.Minute

func bubble(t *testing.T, opts imaptest.Options, f func(t *testing.T, b *idler)) {
	synctest.Test(t, func(t *testing.T) {
		opts.Pipe = true
		b := &idler{srv: imaptest.Start(t, &opts), mail: map[string]providertest.Handle{}}
		b.put("old")
		b.Mailbox = dial(t, b.srv, func(c *imap.Config) { c.WaitLimit = limit })
		var err error
		if b.cur, err = b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.changes(t)
		f(t, b)
		b.Mailbox.Close()
		b.srv.Close()
	})
}

func (b *idler) put(name string) {
	b.mail[name] = b.srv.Deliver([]byte(mail(name)), noon, provider.RoleInbox)
}

func (b *idler) changes(t *testing.T) provider.Page {
	t.Helper()
	p, err := b.Changes(t.Context(), b.cur)
	if err != nil {
		t.Fatal(err)
	}
	b.cur = p.Next
	return p
}

// wait begins to wait, runs f when everything stands still, and returns how long it took by the bubble's clock.
func (b *idler) wait(t *testing.T, f func()) time.Duration {
	t.Helper()
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- b.Wait(t.Context()) }()
	synctest.Wait()
	if f != nil {
		f()
	}
	if err := <-done; err != nil {
		t.Errorf("wait: %v", err)
	}
	return time.Since(begin)
}

func TestWaitHearsOfMailThatComesAndGoes(t *testing.T) {
	bubble(t, imaptest.Options{}, func(t *testing.T, b *idler) {
		if d := b.wait(t, func() { b.put("new") }); d != 0 {
			t.Errorf("new mail took %s", d)
		}
		if p := b.changes(t); subjects(p.Items) != "new" {
			t.Errorf("changes: %q", subjects(p.Items))
		}
		if d := b.wait(t, func() { b.srv.Delete(b.mail["old"]) }); d != 0 {
			t.Errorf("a removal took %s", d)
		}
		if p := b.changes(t); len(p.Recount) != 1 {
			t.Errorf("recounts: %v", p.Recount)
		}
		// Nothing happens: IDLE is renewed, on one connection, and the limit ends it.
		b.srv.Commands()
		if d := b.wait(t, nil); d != limit {
			t.Errorf("without news it took %s, want the limit", d)
		}
		idles := 0
		for _, cmd := range b.srv.Commands() {
			if cmd == "IDLE" {
				idles++
			}
		}
		if want := int(limit / imap.Renewal); idles != want {
			t.Errorf("%d IDLEs, want %d", idles, want)
		}
		// Facts 3.3: restart every 5 to 9 minutes.
		if imap.Renewal < 5*time.Minute || imap.Renewal > 9*time.Minute {
			t.Errorf("IDLE is renewed every %s", imap.Renewal)
		}
		if b.Polling() != "" {
			t.Errorf("polling: %s", b.Polling())
		}
	})
}

func TestWaitReturnsAtOnceWhenTheInboxChangedBefore(t *testing.T) {
	for name, change := range map[string]func(b *idler){
		"one came":      func(b *idler) { b.put("new") },
		"one went":      func(b *idler) { b.srv.Delete(b.mail["old"]) },
		"one each":      func(b *idler) { b.srv.Delete(b.mail["old"]); b.put("new") },
		"renumbered":    func(b *idler) { b.srv.ResetFolder(provider.RoleInbox) },
		"before IDLE":   func(b *idler) { b.srv.Before("IDLE", func() { b.put("new") }) },
		"gone by IDLE":  func(b *idler) { b.srv.Before("IDLE", func() { b.srv.Delete(b.mail["old"]) }) },
		"while renewed": func(b *idler) { b.srv.Before("IDLE", func() { b.srv.Before("IDLE", func() { b.put("new") }) }) },
	} {
		for _, untold := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				bubble(t, imaptest.Options{}, func(t *testing.T, b *idler) {
					b.srv.HideUIDNext(untold)
					b.changes(t)
					change(b)
					want := time.Duration(0)
					if name == "while renewed" {
						want = imap.Renewal
					}
					if d := b.wait(t, nil); d != want {
						t.Errorf("UIDNEXT untold %v: it took %s, want %s", untold, d, want)
					}
				})
			})
		}
	}
}

func TestWaitWhenChangesHasMoreToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := imaptest.Start(t, &imaptest.Options{Pipe: true})
		defer s.Close()
		m := dial(t, s, func(c *imap.Config) { c.PageSize = 1 })
		defer m.Close()
		cur, err := m.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Deliver([]byte(mail("a")), noon, provider.RoleInbox)
		s.Deliver([]byte(mail("b")), noon, provider.RoleInbox)
		if p, err := m.Changes(t.Context(), cur); err != nil || !p.More {
			t.Fatalf("more %v, %v", p.More, err)
		}
		begin := time.Now()
		if err := m.Wait(t.Context()); err != nil || time.Since(begin) != 0 {
			t.Errorf("wait: %v after %s", err, time.Since(begin))
		}
	})
}

func TestWaitNoticesADeadConnection(t *testing.T) {
	bubble(t, imaptest.Options{}, func(t *testing.T, b *idler) {
		// Dead while idling, and then mail comes: found when IDLE is renewed and not answered.
		d := b.wait(t, func() { b.srv.Silence(); b.put("new") })
		if d != imap.Renewal+time.Minute {
			t.Errorf("it took %s, want the renewal and Stall", d)
		}
		if p := b.changes(t); subjects(p.Items) != "new" {
			t.Errorf("changes: %q", subjects(p.Items))
		}
		// Dead without any news: the connection is replaced and the waiting goes on.
		d = b.wait(t, func() { b.srv.Silence() })
		if d < limit || d > limit+time.Minute {
			t.Errorf("it took %s, want the limit", d)
		}
		// Dead before: Stall is the bound in any command.
		b.srv.Silence()
		begin := time.Now()
		b.put("more")
		if p := b.changes(t); subjects(p.Items) != "more" || time.Since(begin) != time.Minute {
			t.Errorf("changes over a dead connection: %q after %s", subjects(p.Items), time.Since(begin))
		}
		// Stuck in the middle of a command, and again on a new connection: an error, not a third try.
		b.srv.Hang("UID SEARCH")
		b.srv.Hang("UID SEARCH")
		begin = time.Now()
		if _, err := b.Locate(t.Context(), "more@example.org"); kind(err) != "unreachable" || time.Since(begin) != 2*time.Minute {
			t.Errorf("a stuck server: %v after %s", err, time.Since(begin))
		}
		if found, err := b.Locate(t.Context(), "more@example.org"); err != nil || len(found) != 1 {
			t.Errorf("after that: located %v, %v", found, err)
		}
		// The server ends it, as after a time limit of its own: the waiting goes on.
		b.changes(t)
		if d := b.wait(t, func() { b.srv.Cut(); b.put("after") }); d != 0 {
			t.Errorf("mail after a cut took %s", d)
		}
	})
}

func TestWaitWithoutIdleIsAPauseAndSaysSo(t *testing.T) {
	bubble(t, imaptest.Options{Without: []goimap.Cap{goimap.CapIdle}}, func(t *testing.T, b *idler) {
		if d := b.wait(t, func() { b.put("new") }); d != limit {
			t.Errorf("it took %s, want the limit", d)
		}
		if !strings.Contains(b.Polling(), "IDLE") {
			t.Errorf("polling: %q", b.Polling())
		}
		if cmds := b.srv.Commands(); slices.Contains(cmds, "IDLE") {
			t.Errorf("it asked for what is not offered: %v", cmds)
		}
		// What came meanwhile ends the next Wait at once.
		if d := b.wait(t, nil); d != 0 {
			t.Errorf("it took %s", d)
		}
	})
}

func TestCancelIsPromptAndTheMailboxRecovers(t *testing.T) {
	bubble(t, imaptest.Options{}, func(t *testing.T, b *idler) {
		for command, call := range map[string]func(ctx context.Context) error{
			"IDLE":      b.Wait,
			"UID FETCH": func(ctx context.Context) error { _, err := b.History(ctx, provider.Window{}, nil); return err },
			"LIST":      func(ctx context.Context) error { _, err := b.Start(ctx); return err },
			"EXAMINE": func(ctx context.Context) error {
				for _, err := range b.Inventory(ctx, provider.Scope{}) {
					return err
				}
				return nil
			},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			arrived := b.srv.Hang(command)
			begin := time.Now()
			done := make(chan error, 1)
			go func() { done <- call(ctx) }()
			<-arrived
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) || time.Since(begin) != 0 {
				t.Errorf("cancelled in %s: %v after %s", command, err, time.Since(begin))
			}
		}
		b.put("new")
		if p := b.changes(t); subjects(p.Items) != "new" {
			t.Errorf("after cancelled calls: %q", subjects(p.Items))
		}
		// Close ends a Wait.
		done := make(chan error, 1)
		go func() { done <- b.Wait(t.Context()) }()
		synctest.Wait()
		b.Mailbox.Close()
		if err := <-done; err == nil {
			t.Error("a closed mailbox should not wait")
		}
	})
}

func TestAFolderThatGoesOnRefusingIsTriedOnANewConnectionNowAndThen(t *testing.T) {
	bubble(t, imaptest.Options{}, func(t *testing.T, b *idler) {
		b.srv.RefuseFolder("Archive", "")
		b.changes(t) // it was open before: a new connection at once
		signIns := func() (n int) {
			b.changes(t)
			for _, c := range b.srv.Commands() {
				if c == "AUTHENTICATE" {
					n++
				}
			}
			return n
		}
		signIns()
		for i, want := range []int{0, 0, 1, 0, 0, 1} {
			time.Sleep(6 * time.Minute) // the bubble's
			if got := signIns(); got != want {
				t.Errorf("after %d minutes: %d new connections, want %d", (i+1)*6, got, want)
			}
		}
		b.srv.AllowFolder("Archive")
		b.srv.Deliver([]byte(mail("kept")), noon, provider.RoleArchive)
		if p := b.changes(t); subjects(p.Items) != "kept" {
			t.Errorf("listed %q when it opened again", subjects(p.Items))
		}
	})
}

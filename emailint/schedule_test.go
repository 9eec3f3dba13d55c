package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// scheduled runs an engine in a bubble, on a mailbox that tells nothing by itself.
func scheduled(t *testing.T, s emailint.Settings, f func(t *testing.T, w *emailinttest.World)) {
	synctest.Test(t, func(t *testing.T) {
		w := emailinttest.New(t, emailinttest.WithPersonality(providertest.Gmail), emailinttest.WithClock(time.Now), emailinttest.WithSettings(s))
		w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Engine.Run(ctx) }()
		time.Sleep(3 * time.Second) // the first pass, as it was connected
		f(t, w)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func mail(from, to, id string) string {
	return fmt.Sprintf("From: %s\nTo: %s\nSubject: %s\nMessage-ID: <%s@x>\nDate: Mon, 2 Mar 2026 09:00:00 +0000\n\nhello\n", from, to, id, id)
}

// Inbound hourly and outbound every five minutes: what the user sent elsewhere is linked by minute 5, what others sent by the hour.
func TestInboundAndOutboundApart(t *testing.T) {
	s := emailint.DefaultSettings()
	s.Sync.InboundMinutes, s.Sync.OutboundMinutes = 60, 5
	scheduled(t, s, func(t *testing.T, w *emailinttest.World) {
		linked := func() string {
			var in, out int
			for _, e := range w.CRM.Emails(emailinttest.Org) {
				if e.Outbound {
					out++
				} else {
					in++
				}
			}
			return fmt.Sprintf("%d in, %d out", in, out)
		}
		w.Fake.Deliver([]byte(mail("ada@customer.example", emailinttest.Owner, "in")), w.Now(), provider.RoleInbox)
		w.Fake.Deliver([]byte(mail(emailinttest.Owner, "ada@customer.example", "out")), w.Now(), provider.RoleSent)
		for minute := 1; minute <= 60; minute++ {
			time.Sleep(time.Minute)
			want := "0 in, 1 out"
			switch {
			case minute < 4:
				want = "0 in, 0 out"
			case minute == 4, minute >= 53 && minute < 60: // up to a tenth early
				continue
			case minute == 60:
				want = "1 in, 1 out"
			}
			if got := linked(); got != want {
				t.Fatalf("minute %d: %s, want %s", minute, got, want)
			}
		}
	})
}

// A change of the schedule takes effect at once.
func TestAnotherPaceHoldsAtOnce(t *testing.T) {
	s := emailint.DefaultSettings()
	s.Sync.InboundMinutes, s.Sync.OutboundMinutes = 60, 60
	scheduled(t, s, func(t *testing.T, w *emailinttest.World) {
		had := w.Fake.Calls().Open
		passes := func(d time.Duration) int { // since it was asked last
			time.Sleep(d)
			before := had
			had = w.Fake.Calls().Open
			return had - before
		}
		if n := passes(20 * time.Minute); n != 0 {
			t.Errorf("%d passes in twenty minutes", n)
		}
		if _, _, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"sync": {"inbound_minutes": 5}}`), 1); err != nil {
			t.Fatal(err)
		}
		if n := passes(3 * time.Second); n != 1 {
			t.Errorf("%d passes after the change, want one", n)
		}
		if n := passes(20 * time.Minute); n != 4 {
			t.Errorf("%d passes in the next twenty minutes, want four", n)
		}
	})
}

// What is real time in one direction is so in that alone, where the service tells of news.
func TestRealTimeInOneDirection(t *testing.T) {
	for _, c := range []struct {
		in, out int
		want    string
	}{{0, 0, "in out"}, {0, 5, "in out"}, {60, 0, "out"}, {60, 5, ""}} {
		synctest.Test(t, func(t *testing.T) {
			s := emailint.DefaultSettings()
			s.Sync.InboundMinutes, s.Sync.OutboundMinutes = c.in, c.out
			w := emailinttest.New(t, emailinttest.WithClock(time.Now), emailinttest.WithSettings(s))
			w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Engine.Run(ctx) }()
			time.Sleep(3 * time.Second)
			w.Fake.Deliver([]byte(mail("ada@customer.example", emailinttest.Owner, "in")), w.Now(), provider.RoleInbox)
			w.Fake.Deliver([]byte(mail(emailinttest.Owner, "ada@customer.example", "out")), w.Now(), provider.RoleSent)
			time.Sleep(3 * time.Second)
			got := ""
			for _, id := range []string{"in", "out"} {
				for _, e := range w.CRM.Emails(emailinttest.Org) {
					if e.Message.Subject == id {
						got = strings.TrimSpace(got + " " + id)
					}
				}
			}
			if got != c.want {
				t.Errorf("inbound %d, outbound %d: linked at once is %q, want %q", c.in, c.out, got, c.want)
			}
			cancel()
			<-done
		})
	}
}

// The window of the import has its edges where it says, and one that becomes wider is read later.
func TestTheWindowOfTheImport(t *testing.T) {
	fates := func(w *emailinttest.World) string {
		var out string
		for _, id := range []string{"29d23h", "30d1h", "59d23h", "60d1h"} {
			x, err := w.Engine.Explain(t.Context(), emailinttest.Org, id+"@x")
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case len(x.Copies) == 0 || x.Copies[0].Fate == state.FateUnread:
				out += "-"
			default:
				out += "x"
			}
		}
		return out
	}
	for _, c := range []struct {
		days, then  int
		first, last string
	}{
		{30, 30, "x---", "x---"},
		{30, 60, "x---", "xxx-"},
		{60, 30, "xxx-", "xxx-"},
		{0, 0, "----", "----"},
		{0, 30, "----", "x---"},
		{30, -1, "x---", "xxxx"},
		{-1, 0, "xxxx", "xxxx"},
	} {
		s := emailint.DefaultSettings()
		s.Sync.ImportDays = c.days
		w := emailinttest.New(t, emailinttest.WithSettings(s))
		w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
		for id, age := range map[string]time.Duration{"29d23h": 30*24*time.Hour - time.Hour, "30d1h": 30*24*time.Hour + time.Hour, "59d23h": 60*24*time.Hour - time.Hour, "60d1h": 60*24*time.Hour + time.Hour} {
			w.Fake.Deliver([]byte(mail("ada@customer.example", emailinttest.Owner, id)), w.Connection.ConnectedAt.Add(-age), provider.RoleInbox)
		}
		if err := w.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := fates(w); got != c.first {
			t.Errorf("%d days: %s, want %s", c.days, got, c.first)
		}
		w.Advance(100 * time.Hour) // the window is that of the day on which it was connected
		if _, _, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, fmt.Appendf(nil, `{"sync": {"import_days": %d}}`, c.then), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := fates(w); got != c.last {
			t.Errorf("%d days and then %d: %s, want %s", c.days, c.then, got, c.last)
		}
	}
}

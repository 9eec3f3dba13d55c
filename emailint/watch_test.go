package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// watching is signingIn at a service that can tell of news, as Graph (each mailbox by itself) or Gmail.
func watching(t *testing.T, apart bool) (*house, *emailinttest.Watching) {
	t.Helper()
	h := signingIn(t, emailinttest.AuthGoogle)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	w := h.opts.Providers[1].(*emailinttest.AuthProvider).Watching(apart)
	h.opts.Providers[1] = w
	h.again()
	return h, w
}

// again starts another process over the same state.
func (h *house) again() {
	h.t.Helper()
	var err error
	if h.Engine, err = emailint.New(h.opts); err != nil {
		h.t.Fatal(err)
	}
}

// One watch stands from the first pass on, is renewed long before it ends, and goes on while renewing fails; when it has ended it is made anew. The mailbox
// knows nothing of all that.
func TestWatch(t *testing.T) {
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprint("each by itself: ", apart), func(t *testing.T) {
			h, w := watching(t, apart)
			c := h.connection(h.connect("ann-1", "").Get("connected"))
			pass := func(after time.Duration, asked int) state.Connection {
				t.Helper()
				h.Advance(after)
				if err := h.sync(c); err != nil {
					t.Fatal(err)
				}
				if n, _ := w.Asked(); n != asked {
					t.Errorf("after %s it was asked for %d times, want %d", after, n, asked)
				}
				return h.connection(fmt.Sprint(c.ID))
			}
			got := pass(0, 1)
			stand := w.Standing()
			if len(stand) != 1 || !got.Watch.Expires.Equal(stand[0].Expires) || string(got.Watch.Handle) != stand[0].Handle || got.RealTime != "told by the service" {
				t.Fatalf("%+v stands, and the connection says %+v, %q", stand, got.Watch, got.RealTime)
			}
			pass(time.Minute, 1)
			h.again() // it is remembered
			pass(11*time.Hour, 1)
			got = pass(time.Hour, 2)
			if now := w.Standing(); len(now) != 1 || now[0].Handle != stand[0].Handle || !now[0].Expires.After(stand[0].Expires) {
				t.Errorf("it was not gone on with: %+v, before %+v", now, stand)
			}
			// It fails for two days: tried ever more seldom, and news comes all the same.
			for range 100 {
				w.Fail(errors.New("503"))
			}
			pass(12*time.Hour, 3)
			pass(time.Second, 3)
			got = pass(time.Minute, 4)
			if got.State != state.Connected || got.Reason != "" || got.RealTime != "told by the service" || got.Watch.Tries != 2 {
				t.Errorf("while renewing fails the mailbox is %s (%s), %s, %+v", got.State, got.Reason, got.RealTime, got.Watch)
			}
			pass(time.Minute, 4)
			pass(time.Minute, 5)
			h.Advance(8 * 24 * time.Hour)
			got = pass(0, 6)
			if len(w.Standing()) != 0 || !strings.Contains(got.RealTime, "polling: 503") {
				t.Errorf("it has ended, %v stands, and the user is told %q", w.Standing(), got.RealTime)
			}
			// A week later the service is there again.
			h.again()
			for len(w.Standing()) == 0 {
				h.Advance(2 * time.Hour)
				if err := h.sync(c); err != nil {
					t.Fatal(err)
				}
			}
			got = h.connection(fmt.Sprint(c.ID))
			if got.RealTime != "told by the service" || got.Watch.Tries != 0 || apart && w.Standing()[0].Handle == stand[0].Handle {
				t.Errorf("made anew: %+v, %q, %+v", got.Watch, got.RealTime, w.Standing())
			}
		})
	}
}

// A short life is renewed by its half, a limit of rate is obeyed, and who must act is told, without the mailbox being stopped.
func TestWatchesThatAreShortOrRefused(t *testing.T) {
	h, w := watching(t, true)
	w.Life(45 * time.Minute) // facts 2.4
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	next := func() (state.Connection, time.Duration) {
		t.Helper()
		if err := h.sync(c); err != nil {
			t.Fatal(err)
		}
		got := h.connection(fmt.Sprint(c.ID))
		return got, got.Watch.Next.Sub(h.Now())
	}
	if _, wait := next(); wait != 22*time.Minute+30*time.Second {
		t.Errorf("renewed in %s", wait)
	}
	h.Advance(time.Hour)
	w.Fail(&provider.RateLimitError{RetryAfter: 3 * time.Hour})
	if _, wait := next(); wait != 3*time.Hour {
		t.Errorf("tried again in %s", wait)
	}
	h.Advance(3 * time.Hour)
	w.Fail(&provider.NeedsAction{Who: provider.Operator, Reason: "give Gmail the right to publish to the topic"}) // facts 1.3
	if got, _ := next(); got.State != state.Connected || got.RealTime != "polling: give Gmail the right to publish to the topic" {
		t.Errorf("the mailbox is %s, %q", got.State, got.RealTime)
	}
}

// It ends with the connection, while there is a token still for saying so; where a person and app have one for all, with the last mailbox that lives by it.
func TestTheEndOfAWatch(t *testing.T) {
	end := map[string]func(h *house, id int64) error{
		"disconnect": func(h *house, id int64) error {
			_, err := h.Engine.Disconnect(h.t.Context(), emailinttest.Org, id)
			return err
		},
		"erase": func(h *house, id int64) error {
			_, err := h.Engine.Erase(h.t.Context(), emailinttest.Org, id)
			return err
		},
	}
	for how, end := range end {
		for _, apart := range []bool{false, true} {
			t.Run(fmt.Sprint(how, ", each by itself: ", apart), func(t *testing.T) {
				h, w := watching(t, apart)
				first := h.connection(h.connect("ann-1", "").Get("connected"))
				second := h.connection(h.connect("bob-1", "").Get("connected")) // the same account
				stand := func(want int) {
					t.Helper()
					if got := w.Standing(); len(got) != want {
						t.Errorf("%+v stand, want %d", got, want)
					}
				}
				if err := errors.Join(h.sync(first), h.sync(second)); err != nil {
					t.Fatal(err)
				}
				two := map[bool]int{false: 1, true: 2}[apart]
				stand(two)
				h.Advance(2 * time.Hour) // the token has to be refreshed for it
				if err := end(h, first.ID); err != nil {
					t.Fatal(err)
				}
				stand(1)
				if err := h.sync(second); err != nil {
					t.Errorf("the other mailbox: %v", err)
				}
				if err := end(h, second.ID); err != nil {
					t.Fatal(err)
				}
				stand(0)
				if n := h.auth.Count(emailinttest.AuthRevoke); n != 1 {
					t.Errorf("%d accesses were revoked, want the one when nobody lived by it any more", n)
				}
			})
		}
	}
}

// losing has a mailbox disconnected between what the service said and the note of it.
type losing struct {
	state.Store
	do func()
}

func (s *losing) SetWatch(ctx context.Context, l state.Lease, w state.Watch) error {
	if s.do != nil {
		s.do()
		s.do = nil
	}
	return s.Store.SetWatch(ctx, l, w)
}

// What was made for a mailbox that is disconnected at that moment is ended again.
func TestAWatchThatComesTooLate(t *testing.T) {
	h, w := watching(t, true)
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	store := &losing{Store: h.opts.State}
	h.opts.State = store
	h.again()
	// The access stands, so that it can still be ended.
	store.do = func() {
		if err := store.Store.SetState(t.Context(), emailinttest.Org, c.ID, state.Disconnected, "meanwhile"); err != nil {
			t.Error(err)
		}
	}
	if err := h.sync(c); !errors.Is(err, state.ErrStale) {
		t.Errorf("Sync = %v", err)
	}
	if watched, ended := w.Asked(); watched != 1 || ended != 1 || len(w.Standing()) != 0 {
		t.Errorf("asked for %d times, ended %d times, %v stands", watched, ended, w.Standing())
	}
}

// stopped is a service that answers in the moment in which the process is told to stop.
type stopped struct {
	*emailinttest.Watching
	stop func()
}

func (s *stopped) Watch(ctx context.Context, tokens oauth2.TokenSource, had []byte) (provider.Watch, error) {
	got, err := s.Watching.Watch(ctx, tokens, had)
	s.stop()
	return got, err
}

// What was made in the moment in which the process is told to stop is known to the next: it makes no second.
func TestToldToStopWhileAWatchIsMade(t *testing.T) {
	h, w := watching(t, true)
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	ctx, cancel := context.WithCancel(t.Context())
	h.opts.Providers[1] = &stopped{w, cancel}
	h.again()
	if err := h.Engine.Sync(ctx, emailinttest.Org, c.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("Sync = %v", err)
	}
	h.opts.Providers[1] = w
	h.again()
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	if stand := w.Standing(); len(stand) != 1 || string(h.connection(fmt.Sprint(c.ID)).Watch.Handle) != stand[0].Handle {
		t.Errorf("%+v stand", stand)
	}
}

// A copy of production takes nobody's news away, and where nothing is wanted in real time no news is sent.
func TestWhoIsNotWatching(t *testing.T) {
	h, w := watching(t, false)
	h.opts.Deployment = "production"
	h.again()
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	production := h.Engine
	if err := production.AdoptState(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.opts.Deployment = "laptop"
	h.again()
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	if n, _ := w.Asked(); n != 0 {
		t.Errorf("the copy asked %d times", n)
	}
	h.Engine = production
	if err := h.sync(c); err != nil || len(w.Standing()) != 1 {
		t.Fatalf("production: %v, %v", err, w.Standing())
	}
	h.Advance(24 * time.Hour)
	h.again()
	if err := h.sync(c); err != nil && !errors.Is(err, emailint.ErrObserving) { // the token is over, and it refreshes none
		t.Fatal(err)
	}
	if _, err := h.Engine.Disconnect(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Fatal(err)
	}
	if watched, ended := w.Asked(); watched != 1 || ended != 0 {
		t.Errorf("the copy asked, %d, or ended, %d", watched, ended)
	}
	h.Engine = production
	c = h.connection(h.connect("ann-1", "").Get("connected"))
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	_, version, err := h.Engine.Settings(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"sync":{"inbound_minutes":15,"outbound_minutes":5}}`), version); err != nil {
		t.Fatal(err)
	}
	if err := h.sync(c); err != nil || len(w.Standing()) != 0 {
		t.Errorf("nothing is wanted in real time, and %v stands: %v", w.Standing(), err)
	}
	if got := h.connection(fmt.Sprint(c.ID)); got.RealTime != "polling: no mail is wanted in real time" || !got.Watch.Expires.IsZero() {
		t.Errorf("the connection says %q, %+v", got.RealTime, got.Watch)
	}
}

// What a service says of the end of a watch has it renewed before its time, once.
func TestRewatch(t *testing.T) {
	h, w := watching(t, true)
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	if err := h.opts.State.Rewatch(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.sync(c); err != nil {
			t.Fatal(err)
		}
		if n, _ := w.Asked(); n != 2 || len(w.Standing()) != 1 {
			t.Errorf("asked for %d times, %v stands", n, w.Standing())
		}
	}
}

// A service that says of its watch that it is over already, or never says until when it stands, is asked ever more seldom, and nobody is told that it tells.
func TestAWatchThatIsOverAlready(t *testing.T) {
	for _, life := range []time.Duration{0, -24 * time.Hour} {
		h, w := watching(t, true)
		c := h.connection(h.connect("ann-1", "").Get("connected"))
		w.Life(life)
		for range 10 {
			if err := h.sync(c); err != nil {
				t.Fatal(err)
			}
			h.Advance(10 * time.Second)
		}
		if n, _ := w.Asked(); n > 2 {
			t.Errorf("a watch of %s was asked for %d times in 100 seconds", life, n)
		}
		if got := h.connection(fmt.Sprint(c.ID)).RealTime; !strings.HasPrefix(got, "polling") {
			t.Errorf("with a watch of %s the user is told %q", life, got)
		}
	}
}

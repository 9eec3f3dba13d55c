package emailinttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
)

// Watching is an AuthProvider whose service can be asked to tell of news. Safe for concurrent use.
type Watching struct {
	*AuthProvider
	handles bool

	mu      sync.Mutex // guards below
	serial  int
	stand   []StandingWatch
	fails   []error
	life    time.Duration
	asked   int
	stopped int
}

var _ provider.Watcher = (*Watching)(nil)

// StandingWatch is one that was made and has not ended.
type StandingWatch struct {
	Subject string
	Handle  string // "" where the service has one for a person and app
	Expires time.Time
}

// Watching is the service with that power, which lasts for a week (facts 1.3, 2.4). With handles each watch is one by itself, as Graph's subscriptions are: what
// is renewed after it ended is made anew (facts 2.4). Without, a person and app have one, and to ask again extends it (facts 1.3).
func (p *AuthProvider) Watching(handles bool) *Watching {
	return &Watching{AuthProvider: p, handles: handles, life: 7 * 24 * time.Hour}
}

// Life says how long a watch lasts from now on: Graph's may be shorter (facts 2.4).
func (w *Watching) Life(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life = d
}

// Fail makes the next calls fail, one for each error.
func (w *Watching) Fail(errs ...error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails = append(w.fails, errs...)
}

// Standing returns the watches that have not ended, the oldest first.
func (w *Watching) Standing() []StandingWatch {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire()
	return slices.Clone(w.stand)
}

// Asked returns how often a watch was asked for, and how often one was ended by a call.
func (w *Watching) Asked() (watch, unwatch int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked, w.stopped
}

func (w *Watching) expire() {
	now := w.server.now()
	w.stand = slices.DeleteFunc(w.stand, func(s StandingWatch) bool { return !s.Expires.After(now) })
}

// enter takes a token, as every call of the service needs one, and the next error. The lock is not held while tokens are refreshed.
func (w *Watching) enter(ctx context.Context, tokens oauth2.TokenSource) (string, error) {
	b := &tokenMailbox{p: w.AuthProvider, tokens: tokens}
	subject, err := b.holder(ctx, w.read)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire()
	if len(w.fails) > 0 && err == nil {
		err, w.fails = w.fails[0], w.fails[1:]
	}
	return subject, err
}

// Watch implements provider.Watcher.
func (w *Watching) Watch(ctx context.Context, tokens oauth2.TokenSource, had []byte) (provider.Watch, error) {
	subject, err := w.enter(ctx, tokens)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if err != nil {
		return provider.Watch{}, err
	}
	expires := w.server.now().Add(w.life)
	i := slices.IndexFunc(w.stand, func(s StandingWatch) bool { return s.Subject == subject && s.Handle == string(had) })
	if i < 0 {
		handle := ""
		if w.handles {
			w.serial++
			handle = fmt.Sprintf("watch-%d", w.serial)
		}
		i = len(w.stand)
		w.stand = append(w.stand, StandingWatch{Subject: subject, Handle: handle})
	}
	w.stand[i].Expires = expires
	out := provider.Watch{Expires: expires}
	if w.handles {
		out.Handle = []byte(w.stand[i].Handle)
	}
	return out, nil
}

// Unwatch implements provider.Watcher.
func (w *Watching) Unwatch(ctx context.Context, tokens oauth2.TokenSource, handle []byte) error {
	subject, err := w.enter(ctx, tokens)
	if err != nil {
		return err
	}
	if w.handles && len(handle) == 0 {
		return errors.New("emailinttest: 400: which one")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped++
	w.stand = slices.DeleteFunc(w.stand, func(s StandingWatch) bool { return s.Subject == subject && s.Handle == string(handle) })
	return nil
}

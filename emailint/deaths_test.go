package emailint_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/provider"
)

// access is something that is done with an access by OAuth, by a process that dies in the middle.
type access struct {
	kind  emailinttest.AuthKind
	ready func(h *house) emailint.Connection
	do    func(h *house, c emailint.Connection) error
	// after looks at the end, when another process has done it again. died says before which call the first did.
	after func(h *house, w *emailinttest.Watching, c emailint.Connection, died string, err error)
}

// A process dies before each of the calls to the outside that it makes around an access, or right after it. Another does the same again, and it comes out
// right: the token is had, or said to be lost where nobody could keep it; the access ends, or the person is told that it may stand.
func TestDeathsAroundAnAccess(t *testing.T) {
	var token string
	connected := func(h *house) emailint.Connection {
		c := h.connection(h.connect("ann-1", "").Get("connected"))
		if err := h.sync(c); err != nil {
			h.t.Fatal(err)
		}
		h.Advance(2 * time.Hour) // what is done needs another token
		return c
	}
	for name, a := range map[string]access{
		"adopt": {kind: emailinttest.AuthRotating,
			ready: func(h *house) emailint.Connection {
				token = h.elsewhere()
				return emailint.Connection{}
			},
			do: func(h *house, _ emailint.Connection) error {
				_, err := h.Engine.Adopt(h.t.Context(), emailinttest.Org, emailint.Adoption{User: "ann", Provider: h.name, RefreshToken: emailint.Secret(token)})
				return err
			},
			after: func(h *house, _ *emailinttest.Watching, _ emailint.Connection, died string, err error) {
				// Between the service's answer and the commit nobody has it.
				var action *provider.NeedsAction
				if lost := died == "state.AddConsent"; lost != errors.As(err, &action) || !lost && err != nil {
					h.t.Errorf("adopted again: %v", err)
				}
				if err != nil {
					return
				}
				conns, err := h.State.Connections(h.t.Context(), emailinttest.Org)
				if err != nil || len(conns) != 2 {
					h.t.Fatalf("%d connections, %v", len(conns), err)
				}
				h.Advance(2 * time.Hour)
				if err := h.sync(conns[1]); err != nil {
					h.t.Errorf("the mailbox: %v", err)
				}
			}},
		"watch": {kind: emailinttest.AuthRotating,
			ready: func(h *house) emailint.Connection { return h.connection(h.connect("ann-1", "").Get("connected")) },
			do:    func(h *house, c emailint.Connection) error { return h.sync(c) },
			after: func(h *house, w *emailinttest.Watching, c emailint.Connection, died string, err error) {
				got := h.connection(fmt.Sprint(c.ID))
				if err != nil || got.RealTime != "told by the service" || got.Watch.Expires.IsZero() {
					h.t.Errorf("the pass: %v, %q, %+v", err, got.RealTime, got.Watch)
				}
				// One that nobody knows of ends by itself.
				unknown := died == "state.SetWatch" || died == "state.SetRealTime"
				if n := len(w.Standing()); n != 1 && !(n == 2 && unknown) {
					h.t.Errorf("%d stand", n)
				}
				if _, err := h.Engine.Disconnect(h.t.Context(), emailinttest.Org, c.ID); err != nil {
					h.t.Error(err)
				}
				if n := len(w.Standing()); n > 1 || n == 1 && !unknown {
					h.t.Errorf("%d stand when it is disconnected", n)
				}
			}},
		"disconnect": {kind: emailinttest.AuthRotating, ready: connected,
			do: func(h *house, c emailint.Connection) error {
				_, err := h.Engine.Disconnect(h.t.Context(), emailinttest.Org, c.ID)
				return err
			},
			after: func(h *house, w *emailinttest.Watching, c emailint.Connection, died string, err error) {
				if got := h.connection(fmt.Sprint(c.ID)); err != nil || got.State != state.Disconnected || len(got.Credential) > 0 || !got.Watch.Expires.IsZero() {
					h.t.Errorf("disconnected again: %v, %s", err, got.State)
				}
				ended(h, w, died)
			}},
		"erase": {kind: emailinttest.AuthRotating, ready: connected,
			do: func(h *house, c emailint.Connection) error {
				_, err := h.Engine.Erase(h.t.Context(), emailinttest.Org, c.ID)
				return err
			},
			after: func(h *house, w *emailinttest.Watching, c emailint.Connection, died string, err error) {
				if _, cerr := h.State.Connection(h.t.Context(), emailinttest.Org, c.ID); err != nil || !errors.Is(cerr, state.ErrNotFound) {
					h.t.Errorf("erased again: %v, %v", err, cerr)
				}
				ended(h, w, died)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			trail := a.run(t, 0, "")
			if len(trail) < 5 {
				t.Fatalf("it passes %v", trail)
			}
			for i, point := range trail {
				t.Run(fmt.Sprintf("%d %s", i+1, point), func(t *testing.T) { a.run(t, i+1, point) })
			}
		})
	}
}

// ended looks that the watch has ended, and that the access did or was left by one who died in between.
func ended(h *house, w *emailinttest.Watching, died string) {
	h.t.Helper()
	// Who dies before storing what the service gave for the former token has none any more: the watch ends by itself.
	if got := w.Standing(); len(got) != 0 && died != "state.SetCredential" {
		h.t.Errorf("%+v stand", got)
	}
	if n := h.auth.Count(emailinttest.AuthRevoke); n == 0 && !h.left {
		h.t.Error("the access stands, and nobody died between taking the credential and ending it")
	}
}

// run does it by a process that dies before its n-th call, 0: never, and again by another.
func (a access) run(t *testing.T, n int, died string) (trail []string) {
	h := signingIn(t, a.kind)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	w := h.opts.Providers[1].(*emailinttest.AuthProvider).Watching(true)
	h.opts.Providers[1] = w
	h.again()
	c := a.ready(h)
	p := failpoint.New(nil)
	alive := h.opts
	h.opts.State, h.opts.Worker = failpoint.State(alive.State, p), "first"
	h.opts.Providers = append([]provider.Provider{alive.Providers[0]}, failpoint.Authorizer(p, w))
	h.again()
	p.Arm(nil, n)
	err := a.do(h, c)
	trail = p.Passed()
	h.left = n > 0 && died == "state.Deployment" || strings.HasPrefix(died, "state.Settings") // by the calls before the service is told
	h.opts = alive
	h.again()
	h.Advance(5 * time.Minute) // leases, and the right to refresh, run out
	if n > 0 {
		err = a.do(h, c)
	}
	a.after(h, w, c, died, err)
	return trail
}

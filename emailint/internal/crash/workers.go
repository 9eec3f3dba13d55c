package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/provider"
)

// atRandom chooses whoever goes on at random. pause, if not nil, is asked before each step which worker must not go on for now, unless
// all others have ended; -1: none.
func atRandom(random *rand.Rand, pause func() int) func(standing []failpoint.Standing) int {
	return func(standing []failpoint.Standing) int {
		held := -1
		if pause != nil {
			held = pause()
		}
		var ids []int
		for _, s := range standing {
			if s.Worker != held || len(standing) == 1 {
				ids = append(ids, s.Worker)
			}
		}
		return ids[random.IntN(len(ids))]
	}
}

// meeting is a case of several workers at once.
type meeting struct {
	name  string
	setup func(w *world) error
	// works are done at once, each by a process of its own; busy errors are repeated.
	works []func(w *world, e *emailint.Engine) error
	late  bool // the first worker is paused in the middle, past its lease
}

// busy reports whether an error only says that somebody else is at it.
func busy(err error) bool { return errors.Is(err, state.ErrNoneDue) || errors.Is(err, state.ErrStale) }

func syncBox(i int) func(w *world, e *emailint.Engine) error {
	return func(w *world, e *emailint.Engine) error { return e.Sync(w.ctx, org, w.boxes[i].conn) }
}

var meetings = []meeting{
	{name: "two mailboxes", setup: twoMailboxes, works: []func(*world, *emailint.Engine) error{syncBox(0), syncBox(1)}},
	{name: "a paused worker", setup: twoMailboxes, works: []func(*world, *emailint.Engine) error{syncBox(0), syncBox(0)}, late: true},
	{name: "a paused worker and a neighbour", setup: twoMailboxes, late: true,
		works: []func(*world, *emailint.Engine) error{syncBox(0), syncBox(0), syncBox(1)}},
	{name: "sync, send, settings", setup: twoMailboxes, works: []func(*world, *emailint.Engine) error{
		syncBox(0),
		func(w *world, e *emailint.Engine) error {
			_, err := e.Send(w.ctx, org, w.outgoing(w.boxes[0], mail{name: "offer", from: "ann@own.example", to: "pat@partner.example", re: id("first")}))
			return err
		},
		func(w *world, e *emailint.Engine) error {
			s, v, err := e.Settings(w.ctx, org)
			if err != nil {
				return err
			}
			s.Rules.Leads = true
			_, err = e.SetSettings(w.ctx, org, s, v)
			return err
		},
		syncBox(1),
	}},
}

// twoMailboxes connects two mailboxes that hold the same mails and others, nothing of it read yet.
func twoMailboxes(w *world) error {
	script[0].world(w, day0)
	if err := w.host(noFuse, func() error {
		// No rules of the inbox: they act on a mail's first decision and never again, so that it counts who came first.
		return w.settings(func(s *emailint.Settings) { s.Rules.CreateContacts, s.Rules.Opportunities = true, true })
	}); err != nil {
		return err
	}
	for _, b := range w.boxes {
		if err := w.host(noFuse, func() error { return w.connect(b) }); err != nil {
			return err
		}
	}
	if err := w.drain(noFuse); err != nil {
		return err
	}
	ann, bob := w.boxes[0], w.boxes[1]
	in := arrivals(w, day0.Add(96*time.Hour))
	w.clock.set(day0.Add(97 * time.Hour))
	both := func(m mail) {
		m.to = "ann@own.example, bob@own.example"
		in(ann, m, provider.RoleInbox)
		in(bob, m, provider.RoleInbox)
	}
	both(mail{name: "first", from: fromAda})
	in(ann, mail{name: "reply", from: auto0, re: id("first"), extra: auto}, provider.RoleInbox)
	in(bob, mail{name: "reply-to-reply", from: auto0, re: id("reply"), extra: auto}, provider.RoleInbox)
	both(mail{name: "new", from: "Ned <ned@novel.example>"})
	both(mail{name: "lead", from: "Lee <lee@lead.example>", re: id("new")})
	memo := mail{name: "memo", from: "ann@own.example", to: "bob@own.example", extra: "Cc: ada@customer.example\r\n"}
	in(bob, memo, provider.RoleInbox)
	memo.extra += "Bcc: pat@partner.example\r\n"
	in(ann, memo, provider.RoleSent)
	return nil
}

// meet lets the works of a meeting happen at once in the order of a seed, and returns the picture when all is done, and how often a
// worker was fenced.
func meet(ctx context.Context, cfg Config, m meeting, seed uint64) (p picture, fenced int, err error) {
	w, err := newWorld(ctx, cfg)
	if err != nil {
		return nil, fenced, err
	}
	defer w.close()
	if err := m.setup(w); err != nil {
		return nil, fenced, err
	}
	random := rand.New(rand.NewPCG(seed, 2))
	var pause func() int
	if m.late {
		// After some steps the first worker stands still, and the clock moves past its lease. It goes on when the others
		// have gone some way.
		begin, length, n := 3+random.IntN(40), random.IntN(60), 0
		pause = func() int {
			if n++; n == begin {
				w.clock.advance(lease + time.Second)
			}
			if n >= begin && n < begin+length {
				return 0
			}
			return -1
		}
	}
	s := &failpoint.Schedule{Choose: atRandom(random, pause)}
	var works []func(func(string)) error
	for i, work := range m.works {
		works = append(works, func(gate func(string)) error {
			gate("start") // one after the other from the first moment on
			_, _, e, err := w.startWith(fmt.Sprintf("at-once-%d", i), gate)
			if err != nil {
				return err
			}
			for range 40 {
				if err = work(w, e); !busy(err) {
					return err
				}
				if errors.Is(err, state.ErrStale) {
					fenced++ // only one worker goes at a time
				}
				gate("again")
			}
			return nil // somebody else was at it all the time; what is left is done afterwards
		})
	}
	for i, err := range s.Run(works) {
		if err != nil {
			return nil, fenced, fmt.Errorf("worker %d: %w", i, err)
		}
	}
	w.clock.advance(lease + time.Second)
	if err := w.drain(noFuse); err != nil {
		return nil, fenced, err
	}
	p, err = w.picture()
	return p, fenced, err
}

// inTurn does the works of a meeting one after the other, in a given order, and returns the picture.
func inTurn(ctx context.Context, cfg Config, m meeting, order []int) (picture, error) {
	w, err := newWorld(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := m.setup(w); err != nil {
		return nil, err
	}
	for _, i := range order {
		if err := w.host(noFuse, func() error { return m.works[i](w, w.engine) }); err != nil {
			return nil, err
		}
	}
	if err := w.drain(noFuse); err != nil {
		return nil, err
	}
	return w.picture()
}

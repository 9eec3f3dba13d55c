package crash

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider/providertest"
)

// disturbance is what happens between a death and the next life.
type disturbance string

const (
	calm     disturbance = ""
	crmDown  disturbance = "down"     // the CRM does not answer the first two tries
	excluded disturbance = "excluded" // somebody excludes a domain
	expunged disturbance = "expunged" // the newest mail is expunged
)

// entry is one crash to run.
type entry struct {
	step int
	stop failpoint.Stop
	fuse int // the life after it ends too, at that pass; 0: it lives
	with disturbance
}

func (e entry) String() string {
	s := script[e.step].name + "/" + e.stop.String()
	if e.fuse > 0 {
		s += fmt.Sprintf("+again#%d", e.fuse)
	}
	if e.with != calm {
		s += "+" + string(e.with)
	}
	return s
}

// victim is the mail that is expunged in a step's disturbance: the newest that the first mailbox shows.
func (w *world) victim() string {
	b := w.boxes[0]
	if len(b.live) == 0 {
		return ""
	}
	return b.live[len(b.live)-1]
}

// begin lets a step's events happen.
func (w *world) begin(i int) error {
	day := day0.AddDate(0, 0, 5*i)
	if w.clock.now().After(day) {
		return fmt.Errorf("the clock stands at %s, after the day of step %s", w.clock.now(), script[i].name)
	}
	w.clock.set(day)
	if s := script[i]; s.world != nil {
		s.world(w, day)
	}
	return nil
}

// finish does what the host does in a step.
func (w *world) finish(i int, fuse func() int) error {
	for _, call := range script[i].host {
		if err := w.host(fuse, func() error { return call(w) }); err != nil {
			return err
		}
	}
	return w.drain(fuse)
}

func noFuse() int { return 0 }

// result is how a run ended.
type result struct {
	met   bool // the stop was reached
	ended bool // what follows can't be compared with the undisturbed run any more
	err   error
}

// crash runs the step of an entry, dies where it says, and compares.
func (s *Suite) crash(w *world, e entry) (r result) {
	if err := w.begin(e.step); err != nil {
		return result{err: err}
	}
	// What was true at the moment of the crash.
	var committed bool
	var window string
	victim, keys := w.victim(), len(w.keys)
	stop := e.stop
	w.proc.Arm(&stop, 0)
	w.proc.Fired = func() {
		r.met = true
		if len(w.keys) > keys {
			window = w.unprovable()
		}
		switch e.with {
		case crmDown:
			w.down = 2
		case excluded:
			w.next = func(w *world) error { return w.settings(exclude) }
		case expunged:
			committed = w.decided(victim)
			w.expunge(w.boxes[0], victim)
		}
	}
	fuse := func() int {
		f := e.fuse
		e.fuse = 0
		return f
	}
	if r.err = w.finish(e.step, fuse); r.err != nil || !r.met {
		return r
	}
	w.proc.Arm(nil, 0)
	if stop.Moment == failpoint.Lost {
		// What failed while the process lived may have been put off by an hour.
		w.clock.advance(61 * time.Minute)
		if r.err = w.drain(fuse); r.err != nil {
			return r
		}
	}
	got, err := w.picture()
	if err != nil {
		r.err = err
		return r
	}
	var want picture
	switch e.with {
	case expunged:
		r.ended = true
		r.err = s.compareExpunged(e.step, got, victim, window, committed)
		return r
	case excluded:
		r.ended = true
		got = got.settled()
		want, r.err = s.reference(e.step, "", string(excluded))
	default:
		want = s.plain[e.step]
	}
	if r.err != nil {
		return r
	}
	d := got.diff(want)
	if d != "" && window != "" {
		// SMTP has nowhere to look: between the commit that says "sending" and the server's answer nobody can know, and it stays
		// unknown. So with the copy in Sent, which is filed at most once (design, "Send knows what happened").
		r.ended = true
		then := ""
		if e.with == excluded {
			then = string(excluded)
		}
		if want, r.err = s.reference(e.step, window, then); r.err != nil {
			return r
		}
		d = got.diff(want)
	}
	if d != "" {
		r.err = fmt.Errorf("it did not end as if never interrupted:\n%s", d)
	}
	return r
}

// compareExpunged: nothing but the expunged mail may differ from a run in which it was expunged before it was read, or else
// after it was decided. If its links were committed before the crash it is the latter, and the CRM has the mail with its
// links, the header at least (protocol, Delivery 4).
func (s *Suite) compareExpunged(step int, got picture, victim, window string, committed bool) error {
	after, err := s.reference(step, window, expungedAfter)
	if err != nil {
		return err
	}
	before, err := s.reference(step, window, expungedBefore)
	if err != nil {
		return err
	}
	rest := got.without(victim)
	dAfter, dBefore := rest.diff(after.without(victim)), rest.diff(before.without(victim))
	switch {
	case committed && dAfter != "":
		return fmt.Errorf("%s was expunged after it was decided, and other mail differs:\n%s", victim, dAfter)
	case dAfter != "" && dBefore != "":
		return fmt.Errorf("%s was expunged, and other mail differs, from the run where it went before:\n%sand from the run where it went after:\n%s",
			victim, dBefore, dAfter)
	}
	if committed {
		for _, l := range after {
			if name, links, ok := emailLine(l); ok && name == victim {
				if !slices.ContainsFunc(got, func(g string) bool { n, ls, ok := emailLine(g); return ok && n == name && ls == links }) {
					return fmt.Errorf("the links of %s were committed when it was expunged, and the CRM does not have it with %s", victim, links)
				}
			}
		}
	}
	return nil
}

// decided reports whether links of a mail are committed.
func (w *world) decided(name string) bool {
	_, es, err := w.store.Lookup(w.ctx, org, state.Hash(w.hasher.MessageID(id(name))))
	must(err)
	return slices.ContainsFunc(es, func(e state.Email) bool { return len(e.Effective()) > 0 })
}

// unprovable says how the newest outgoing mail ends when nobody can find out whether it was sent, or filed: the reference to
// compare with, "" when it can be found out.
func (w *world) unprovable() string {
	if len(w.keys) == 0 {
		return ""
	}
	key := w.keys[len(w.keys)-1]
	o, err := w.store.OutboxGet(w.ctx, org, key)
	if err != nil {
		return "" // not accepted yet
	}
	b := w.boxOf(o.Connection)
	sent := slices.ContainsFunc(b.service.Sent(), func(d providertest.Delivery) bool { return message.ParseHeader(d.Raw).Subject == key })
	switch {
	case o.State == state.OutSending || o.State == state.OutUnknown:
		switch {
		case !sent && b.service.Proof() != Draft:
			return "unsent"
		case sent && b.service.Proof() == Nothing:
			return "unheard"
		}
	case o.Copy == state.CopyTried && len(b.service.Look(id(key))) == 0:
		return "unfiled"
	}
	return ""
}

// reference is the picture after a step that nothing interrupted: with the loss of an answer that the window names, and with what
// somebody does then. It is computed once.
func (s *Suite) reference(step int, window, then string) (picture, error) {
	key := fmt.Sprint(step, window, "/", then)
	if p, ok := s.references[key]; ok {
		return p, nil
	}
	w, err := newWorld(s.ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	defer w.close()
	for i := range step {
		if err := s.undisturbed(w, i); err != nil {
			return nil, err
		}
	}
	for _, b := range w.boxes { // ahead of what the step itself loses
		switch window {
		case "unsent":
			b.service.Lose(providertest.LostBefore)
		case "unheard":
			b.service.Lose(providertest.LostAfter)
		case "unfiled":
			b.service.LoseMutation(providertest.LostBefore)
		}
	}
	if err = w.begin(step); err != nil {
		return nil, err
	}
	if then == expungedBefore {
		w.expunge(w.boxes[0], w.victim())
	}
	err = w.finish(step, noFuse)
	if err == nil && then == string(excluded) {
		err = w.host(noFuse, func() error { return w.settings(exclude) })
	}
	if then == expungedAfter {
		w.expunge(w.boxes[0], w.victim())
	}
	if err == nil {
		err = w.drain(noFuse)
	}
	if err != nil {
		return nil, fmt.Errorf("the reference of step %s, %s %s: %w", script[step].name, window, then, err)
	}
	p, err := w.picture()
	if then == string(excluded) {
		p = p.settled()
	}
	if err == nil {
		s.references[key] = p
	}
	return p, err
}

// What happens after a reference's step, besides an exclusion.
const (
	expungedBefore = "expunged before"
	expungedAfter  = "expunged after"
)

// undisturbed runs a step without a crash.
func (s *Suite) undisturbed(w *world, i int) error {
	if err := w.begin(i); err != nil {
		return err
	}
	w.proc.Arm(nil, 0)
	if err := w.finish(i, noFuse); err != nil {
		return fmt.Errorf("step %s: %w", script[i].name, err)
	}
	return nil
}

// Suite holds what the undisturbed run of a scenario was like.
type Suite struct {
	ctx        context.Context
	cfg        Config
	plain      []picture  // after each step
	trails     [][]string // the points passed in each step
	references map[string]picture
}

// NewSuite runs the scenario once without a crash.
func NewSuite(ctx context.Context, cfg Config) (*Suite, error) {
	s := &Suite{ctx: ctx, cfg: cfg, references: map[string]picture{}}
	w, err := newWorld(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer w.close()
	for i := range script {
		if err := s.undisturbed(w, i); err != nil {
			return nil, err
		}
		p, err := w.picture()
		if err != nil {
			return nil, fmt.Errorf("step %s: %w", script[i].name, err)
		}
		s.plain = append(s.plain, p)
		s.trails = append(s.trails, w.proc.Passed())
	}
	return s, nil
}

// emailLine reads a line of a picture that is about an email.
func emailLine(l string) (name, links string, ok bool) {
	rest, ok := strings.CutPrefix(l, "email ")
	name, _, _ = strings.Cut(rest, " of ")
	_, links, _ = strings.Cut(rest, "links ")
	return name, links, ok
}

package simulation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

var losses = []providertest.Loss{providertest.LostBefore, providertest.LostAfter}

// work is a stretch of time in which workers work at once, one step of one of them after the other in the order of a seed. A step is what
// a worker does from one failpoint to the next.
type work struct {
	seed   uint64
	jobs   []job
	events []event // happen meanwhile
	upsets []upset
}

// job is what a worker does.
type job struct {
	do  string // "sync", "outbox", "relink", "reconcile"
	box string
}

func (j job) String() string { return strings.TrimSpace(j.do + " " + j.box) }

// upset is what befalls a worker before a step of the whole schedule.
type upset struct {
	step   int
	worker int // index of its job
	what   string
	n      int
}

// What an upset is.
const (
	killed     = "is killed"
	pausedLong = "is paused past its lease" // for n steps of others
	lostAnswer = "loses the answer of its next call"
	crmFails   = "finds the CRM failing"                    // n calls, before their effect
	crmLoses   = "finds the CRM losing answers"             // n calls
	crmRefuses = "finds the CRM refusing one email of some" // n calls
)

func (u upset) String(jobs []job) string {
	who := fmt.Sprintf("worker %d", u.worker)
	s := fmt.Sprintf("before step %d %s %s", u.step, who, u.what)
	if u.n > 1 {
		s += fmt.Sprintf(" (%d)", u.n)
	}
	return s
}

func (e work) String() string {
	var parts []string
	for i, j := range e.jobs {
		parts = append(parts, fmt.Sprintf("worker %d: %s", i, j))
	}
	s := "work: " + strings.Join(parts, "; ")
	for _, u := range e.upsets {
		s += "\n      " + u.String(e.jobs)
	}
	for _, ev := range e.events {
		s += "\n      meanwhile: " + ev.String()
	}
	return s
}

// panicked is a panic in what a worker did.
type panicked struct {
	value any
	stack string
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// worker does a job until it is done, by one process after the other.
type worker struct {
	w     *world
	index int
	job   job
	gate  func(string)
	proc  *process
	name  string
}

func (k *worker) run() error {
	k.gate("start")
	k.name = fmt.Sprintf("worker-%d", k.w.lives)
	k.proc = k.w.start(k.name, k.gate)
	var err error
	for range 6 {
		err = k.once()
		switch {
		case k.proc.Dead():
			// Every other one takes over the leases of its former life at once, the others have another name and wait until they run out.
			k.gate("born again")
			same := k.w.lives%2 == 0
			if !same {
				k.name = fmt.Sprintf("worker-%d", k.w.lives)
			}
			k.proc = k.w.start(k.name, k.gate)
			if same {
				if err := k.proc.engine.TakeOver(k.w.ctx); err != nil && !k.proc.Dead() {
					return err
				}
			}
		case errors.Is(err, state.ErrNoneDue):
			k.w.count["workers that found somebody at it"]++
			k.gate("busy")
		case errors.Is(err, state.ErrStale):
			k.w.count["workers that were fenced"]++
			k.gate("fenced")
		default:
			return err
		}
	}
	return err
}

func (k *worker) once() error {
	w, e := k.w, k.proc.engine
	switch k.job.do {
	case "outbox":
		return e.Outbox(w.ctx)
	case "relink":
		return e.Relink(w.ctx)
	}
	b := w.box(k.job.box)
	if !b.alive() || b.paused {
		return nil
	}
	var err error
	if k.job.do == "reconcile" {
		b.Stirred = true
		_, err = e.Reconcile(w.ctx, org, b.Conn, provider.Window{})
	} else {
		err = e.Sync(w.ctx, org, b.Conn)
	}
	w.ended(b, err, k.proc.Dead())
	return err
}

// do lets the workers work to their ends.
func (e work) do(h *caller) error {
	w := h.w
	random := rand.New(rand.NewPCG(e.seed, 3))
	workers := make([]*worker, len(e.jobs))
	var works []func(gate func(string)) error
	add := func(work func(gate func(string)) error) {
		works = append(works, func(gate func(string)) (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = &panicked{v, string(debug.Stack())}
				}
			}()
			return work(gate)
		})
	}
	for i, j := range e.jobs {
		add(func(gate func(string)) error {
			workers[i] = &worker{w: w, index: i, job: j, gate: gate}
			return workers[i].run()
		})
	}
	if len(e.events) > 0 {
		add(func(gate func(string)) error {
			gate(untilNext)
			hand := &caller{w: w, gate: gate}
			hand.restart()
			for i, ev := range e.events {
				if i > 0 {
					gate(untilNext)
				}
				w.happens(ev)
				if err := ev.do(hand); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s := &chooser{w: w, work: e, random: random, workers: workers, before: map[int]string{}, held: -1}
	s.last = -1
	for i, err := range (&failpoint.Schedule{Choose: s.choose}).Run(works) {
		var p *panicked
		switch {
		case errors.As(err, &p):
			w.violate("panic: worker %d: %s", i, p.Error())
		case err != nil:
			w.count["jobs that ended with an error"]++
			w.trace("  worker %d ended: %v", i, err)
		}
	}
	w.notice()
	w.awake()
	w.count["steps"] += s.step
	if len(e.jobs) > 1 {
		w.count["times several worked at once"]++
	}
	return nil
}

// untilNext is where the one who lets events happen stands between two of them.
const untilNext = "the next event"

// chooser chooses who goes on.
type chooser struct {
	w       *world
	work    work
	random  *rand.Rand
	workers []*worker
	step    int
	last    int            // who went on last, -1: nobody
	point   string         // from where
	before  map[int]string // where each worker came from
	held    int            // who is paused, -1: nobody
	until   int            // up to which step
}

func (s *chooser) choose(standing []failpoint.Standing) int {
	w := s.w
	if s.last >= 0 && mutates(s.point) {
		w.notice()
	}
	s.step++
	if s.step > endless { // everybody dies, so that the run ends
		if s.step == endless+1 {
			w.violate("endless: workers go on and on: %v", standing)
		}
		for _, k := range s.workers {
			if k != nil && k.proc != nil {
				k.proc.Kill()
			}
		}
	}
	for _, u := range s.work.upsets {
		if u.step == s.step {
			s.upset(u, standing)
		}
	}
	if s.step >= s.until {
		s.held = -1
	}
	var may []failpoint.Standing
	total := 0
	weight := func(st failpoint.Standing) int {
		if st.Point == untilNext {
			return 1
		}
		return 6
	}
	for _, st := range standing {
		if st.Worker != s.held || len(standing) == 1 {
			may = append(may, st)
			total += weight(st)
		}
	}
	n := s.random.IntN(total)
	i := 0
	for ; n >= weight(may[i]); i++ {
		n -= weight(may[i])
	}
	s.last, s.point = may[i].Worker, may[i].Point
	s.passes(s.last, s.point)
	w.trace("  %d %s", s.last, s.point)
	return s.last
}

// mutates says whether a point may change what lies in a mailbox.
func mutates(point string) bool {
	switch point {
	case "mailbox.Archive", "mailbox.Unarchive", "mailbox.FileSent", "sender.Release":
		return true
	}
	return false
}

func (s *chooser) upset(u upset, standing []failpoint.Standing) {
	w := s.w
	i := slices.IndexFunc(standing, func(st failpoint.Standing) bool { return st.Worker == u.worker })
	if i < 0 || u.worker >= len(s.workers) || s.workers[u.worker] == nil || s.workers[u.worker].proc == nil {
		return
	}
	k := s.workers[u.worker]
	w.trace("  worker %d %s", u.worker, u.what)
	w.count["workers: "+u.what]++
	switch u.what {
	case killed:
		k.proc.Kill()
	case pausedLong:
		w.advance(lease + time.Second)
		s.held, s.until = u.worker, s.step+u.n
	case lostAnswer:
		if p := standing[i].Point; strings.Contains(p, ".") {
			k.proc.Arm(&failpoint.Stop{Point: p, Hit: 1, Moment: failpoint.Lost}, 0)
		}
	default:
		t := map[string]trouble{crmFails: failsBefore, crmLoses: failsAfter, crmRefuses: refusesOne}[u.what]
		for range u.n {
			w.crmTrouble = append(w.crmTrouble, t)
		}
	}
}

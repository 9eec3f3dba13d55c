// Package failpoint wraps everything the engine does to the outside, its state, the CRM, providers and senders, so that each call
// passes a named failpoint before and after its effect, where its Process may die; Schedule lets several processes work at once in
// an order that the caller chooses. It is for what proves this module: the crash suite and the simulation.
//
// Production code has no hooks for it. A dead process is one whose calls have no effect any more: for everything outside of it
// that is what kill -9 does.
package failpoint

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrDead is what every call of a dead process returns.
var ErrDead = errors.New("failpoint: this process is dead")

// errLost is the answer of a call that took effect and failed all the same.
var errLost = errors.New("failpoint: the answer was lost")

// Moment is when a process dies.
type Moment string

const (
	Before Moment = "before" // the effect did not happen
	After  Moment = "after"  // it happened and nobody was told
	// Lost: it happened, the call fails with an ordinary error, and the process lives on.
	Lost Moment = "lost"
)

// Stop is one place to die: the Hit-th time, from 1, that the process passes the point in the current step.
type Stop struct {
	Point  string
	Hit    int
	Moment Moment
}

func (s Stop) String() string { return fmt.Sprintf("%s#%d/%s", s.Point, s.Hit, s.Moment) }

// Process is one life of a host's process. It and its wrappers are safe for concurrent use.
type Process struct {
	// Fired is called when the armed stop is met, where the effect is or is not; nil: nobody asks. It is set while no call is
	// under way.
	Fired func()

	gate func(point string) // nil: none

	mu    sync.Mutex // guards all below
	dead  bool
	stop  *Stop
	fuse  int // dies at the fuse-th pass from now, whatever the point; 0: never
	hits  map[string]int
	trail []string // the points passed since the last Arm, in order
}

// New starts a process. gate is called at each failpoint before the effect, with its name, by a dead process too; it may block. nil: none.
func New(gate func(point string)) *Process { return &Process{gate: gate, hits: map[string]int{}} }

// Arm begins a step: hits count from 1 again. A nil stop lets everything pass. With a fuse above 0 the process dies at that pass
// from now, the first being 1, whatever the point. It brings nobody back to life.
func (p *Process) Arm(stop *Stop, fuse int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop, p.fuse, p.hits, p.trail = stop, fuse, map[string]int{}, nil
}

// Kill lets the process die now: a call that stands at its failpoint, and every later one, has no effect and returns ErrDead. One
// whose effect is under way takes effect, and its result is lost. Fired is not called.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

// Dead reports whether the process has died.
func (p *Process) Dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// Passed returns the points passed since the last Arm, in order.
func (p *Process) Passed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.trail)
}

// pass takes a call through its failpoint.
func (p *Process) pass(point string, effect func() error) error {
	if p.gate != nil {
		p.gate(point)
	}
	moment, err := p.enter(point)
	if err != nil {
		return err
	}
	if moment == Before {
		p.meet()
		return ErrDead
	}
	err = effect()
	switch moment {
	case After:
		p.Kill()
		p.meet()
		return ErrDead
	case Lost:
		p.meet()
		if err == nil {
			err = errLost
		}
	}
	if err != nil {
		return err
	}
	// Another goroutine of the process may have died meanwhile.
	if p.Dead() {
		return ErrDead
	}
	return nil
}

// enter counts the pass and says what happens at it.
func (p *Process) enter(point string) (Moment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return "", ErrDead
	}
	p.hits[point]++
	p.trail = append(p.trail, point)
	if p.fuse > 0 {
		if p.fuse--; p.fuse == 0 {
			p.dead = true
			return "", ErrDead
		}
	}
	if s := p.stop; s != nil && s.Point == point && s.Hit == p.hits[point] {
		p.stop = nil
		if s.Moment == Before {
			p.dead = true
		}
		return s.Moment, nil
	}
	return "", nil
}

func (p *Process) meet() {
	if p.Fired != nil {
		p.Fired()
	}
}

// Of a call that did not end well a process sees no result.

func get[A any](p *Process, point string, f func() (A, error)) (a A, err error) {
	err = p.pass(point, func() (err error) { a, err = f(); return err })
	if errors.Is(err, ErrDead) || errors.Is(err, errLost) {
		var none A
		return none, err
	}
	return a, err
}

func get2[A, B any](p *Process, point string, f func() (A, B, error)) (a A, b B, err error) {
	type both struct {
		a A
		b B
	}
	r, err := get(p, point, func() (r both, err error) { r.a, r.b, err = f(); return r, err })
	return r.a, r.b, err
}

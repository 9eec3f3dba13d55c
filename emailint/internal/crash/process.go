// Package crash proves that a process may die anywhere. It wraps everything the engine does to the outside, so that each call
// passes a named failpoint before and after its effect; runs a scenario that comes by every one of them; kills the process at
// each, starts another over the same state, and compares what becomes of every mail with a run that nothing disturbed. It is
// for the tests of the module: a state.Store passes it by Run.
//
// Production code has no hooks for it. A dead process is one whose calls have no effect any more: for everything outside of it
// that is what kill -9 does.
package crash

import (
	"errors"
	"fmt"
	"sync"
)

// ErrDead is what every call of a dead process returns.
var ErrDead = errors.New("crash: this process is dead")

// errLost is the answer of a call that took effect and failed all the same.
var errLost = errors.New("crash: the answer was lost")

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

// Process is one life of a host's process. Its wrappers are safe for concurrent use.
type Process struct {
	// gate is called before each effect; it may block. nil: none.
	gate func(point string)
	// fired is called when the armed stop is met, where the effect is or is not; nil: nobody asks.
	fired func()

	mu    sync.Mutex // guards all below
	dead  bool
	stop  *Stop
	fuse  int // dies at the fuse-th pass from now, whatever the point; 0: never
	hits  map[string]int
	trail []string // the points passed since the last arm, in order
}

func newProcess(gate func(string)) *Process { return &Process{gate: gate, hits: map[string]int{}} }

// arm begins a step: hits count from 1 again. A nil stop lets everything pass.
func (p *Process) arm(stop *Stop, fuse int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop, p.fuse, p.hits, p.trail = stop, fuse, map[string]int{}, nil
}

func (p *Process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// passed returns the points passed since the last arm.
func (p *Process) passed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trail
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
		p.die()
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
	if p.isDead() {
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

func (p *Process) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

func (p *Process) meet() {
	if p.fired != nil {
		p.fired()
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

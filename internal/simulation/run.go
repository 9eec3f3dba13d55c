package simulation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"
)

// Script is a run as it is made before it begins. Without some of its steps it is a script, too.
type Script struct {
	Config
	Profile string
	Steps   []Step
}

// Step is something that happens some time after the one before.
type Step struct {
	After time.Duration
	What  event
}

func (s Script) String() string {
	var b strings.Builder
	c := s.Config
	fmt.Fprintf(&b, "deleted mail is released: %v; the CRM can remove: %v, is asked for changes: %v; pages of %d; copies in Sent are filed by ann's service: %v\n",
		c.Rules.Release, c.Remover, c.Pull, c.PageSize, !c.Bare)
	fmt.Fprintf(&b, "rules: leads %v, opportunities %v, contacts are created %v, archiving %v, excluded %v\n", c.Rules.Leads, c.Rules.Opportunities,
		c.Rules.CreateContacts, c.Rules.Archive, c.Rules.Excluded)
	fmt.Fprintf(&b, "people of the CRM come first %v; days to import %d\n", c.Rules.PeopleFirst, c.Rules.ImportDays)
	fmt.Fprintf(&b, "of several opportunities %q; automated mail links to nothing %v; mail among own people inherits %v, forged mail %v\n",
		c.Rules.Policy, c.Rules.IgnoreAutomated, c.Rules.InternalThreads, c.Rules.ForgedThreads)
	t := day0
	for i, st := range s.Steps {
		t = t.Add(st.After)
		fmt.Fprintf(&b, "%3d. %s  %s\n", i+1, t.Format("01-02 15:04:05"), st.What)
	}
	return b.String()
}

// Result is how a run ended.
type Result struct {
	Violations []Violation
	Counts     Counts
	Hash       uint64 // of everything that happened: equal runs have one
	Truth      Truth
	Observed   Observed
}

// Run runs a script. Everything that happens is written to log, unless that is nil. An error is the simulation's own.
func Run(ctx context.Context, s Script, log io.Writer) (r Result, err error) {
	w, err := newWorld(ctx, s.Config, log)
	if err != nil {
		return r, err
	}
	defer func() {
		if v := recover(); v != nil {
			w.violate("panic: %v\n%s", v, debug.Stack())
			r.Violations, r.Counts = w.bad, w.count
			return // a state in the middle of a transaction would wait for itself when it is closed
		}
		err = errors.Join(err, w.store.Close())
	}()
	for _, st := range s.Steps {
		w.advance(st.After)
		w.happens(st.What)
		if st.What.do(w.host) != nil {
			break // the violation says why
		}
		if len(w.bad) > 0 {
			break
		}
	}
	if len(w.bad) == 0 {
		w.trace("it comes to rest")
		if err := w.drain(); err == nil && len(w.bad) == 0 {
			if r.Observed, err = w.observe(); err != nil {
				return r, err
			}
			r.Truth = w.truth
			w.bad = append(w.bad, Check(w.truth, r.Observed)...)
		}
	}
	fmt.Fprintf(w.hash, "%v %v", observedString(r.Observed), w.bad)
	r.Violations, r.Counts, r.Hash = w.bad, w.count, w.hash.Sum64()
	return r, nil
}

// observedString is what was observed, in one order.
func observedString(o Observed) string {
	for i := range o.Moved {
		o.Moved[i].Box = nil
	}
	return fmt.Sprintf("%v", o)
}

// happens notes that an event happens.
func (w *world) happens(e event) {
	w.trace("%s", e)
	w.count["events"]++
}

// Kind is the promise that a violation breaks.
func Kind(v Violation) string {
	kind, _, _ := strings.Cut(string(v), ":")
	return kind
}

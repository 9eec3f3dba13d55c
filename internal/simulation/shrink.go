package simulation

import (
	"context"
	"slices"
	"time"
)

// Shrink looks for the shortest script that breaks the same promise first: without steps, events meanwhile, workers and upsets that are not
// needed for it. It tries until nothing can be left out, or until the deadline.
func Shrink(ctx context.Context, s Script, kind string, deadline time.Time) (Script, Result) {
	var last Result
	try := func(c Script) bool {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return false
		}
		r, err := Run(ctx, c, nil)
		ok := err == nil && len(r.Violations) > 0 && slices.ContainsFunc(r.Violations, func(v Violation) bool { return Kind(v) == kind })
		if ok {
			s, last = c, r
		}
		return ok
	}
	try(s)
	for again := true; again; {
		again = false
		// Steps: halves first, then ever smaller pieces.
		for size := len(s.Steps) / 2; size > 0; size /= 2 {
			for at := 0; at < len(s.Steps); {
				c := s
				to := min(at+size, len(s.Steps))
				c.Steps = slices.Concat(s.Steps[:at], s.Steps[to:])
				if at+1 < len(c.Steps) || at < len(c.Steps) { // what follows happens when it did
					c.Steps = slices.Clone(c.Steps)
					for _, st := range s.Steps[at:to] {
						c.Steps[at].After += st.After
					}
				}
				if try(c) {
					again = true
				} else {
					at = to
				}
			}
		}
		for i := range s.Steps {
			w, ok := s.Steps[i].What.(work)
			if !ok {
				continue
			}
			for _, simpler := range w.simpler() {
				c := s
				c.Steps = slices.Clone(s.Steps)
				c.Steps[i].What = simpler
				if try(c) {
					again = true
					break
				}
			}
		}
		for _, simpler := range s.Config.simpler() {
			c := s
			c.Config = simpler
			again = try(c) || again
		}
	}
	return s, last
}

// simpler returns what a work may be instead, each a little less.
func (e work) simpler() (out []work) {
	for i := range e.upsets {
		c := e
		c.upsets = slices.Delete(slices.Clone(e.upsets), i, i+1)
		out = append(out, c)
	}
	for i := range e.events {
		c := e
		c.events = slices.Delete(slices.Clone(e.events), i, i+1)
		out = append(out, c)
	}
	for i := range e.jobs {
		if len(e.jobs) == 1 {
			break
		}
		c := e
		c.jobs = slices.Delete(slices.Clone(e.jobs), i, i+1)
		c.upsets = nil
		for _, u := range e.upsets {
			if u.worker > i {
				u.worker--
			} else if u.worker == i {
				continue
			}
			c.upsets = append(c.upsets, u)
		}
		out = append(out, c)
	}
	return out
}

// simpler returns what the constants of a run may be instead.
func (c Config) simpler() (out []Config) {
	change := func(f func(*Config)) {
		s := c
		f(&s)
		if s.PageSize != c.PageSize || s.Remover != c.Remover || s.Pull != c.Pull || s.Bare != c.Bare || s.Rules.Leads != c.Rules.Leads ||
			s.Rules.Opportunities != c.Rules.Opportunities || s.Rules.CreateContacts != c.Rules.CreateContacts || s.Rules.Release != c.Rules.Release ||
			s.Rules.Archive != c.Rules.Archive || len(s.Rules.Excluded) != len(c.Rules.Excluded) || s.Rules.Policy != c.Rules.Policy ||
			s.Rules.PeopleFirst != c.Rules.PeopleFirst || s.Rules.ImportDays != c.Rules.ImportDays ||
			s.Rules.IgnoreAutomated != c.Rules.IgnoreAutomated || s.Rules.InternalThreads != c.Rules.InternalThreads ||
			s.Rules.ForgedThreads != c.Rules.ForgedThreads {
			out = append(out, s)
		}
	}
	change(func(s *Config) { s.PageSize = 4 })
	change(func(s *Config) { s.Remover = true })
	change(func(s *Config) { s.Pull = false })
	change(func(s *Config) { s.Bare = false })
	change(func(s *Config) { s.Rules.Leads = false })
	change(func(s *Config) { s.Rules.Opportunities = false })
	change(func(s *Config) { s.Rules.CreateContacts = false })
	change(func(s *Config) { s.Rules.Release = false })
	change(func(s *Config) { s.Rules.Archive = false })
	change(func(s *Config) { s.Rules.PeopleFirst = false })
	change(func(s *Config) { s.Rules.ImportDays = -1 })
	change(func(s *Config) { s.Rules.Excluded = nil })
	change(func(s *Config) { s.Rules.Policy = "" })
	change(func(s *Config) { s.Rules.IgnoreAutomated = false })
	change(func(s *Config) { s.Rules.InternalThreads = false })
	change(func(s *Config) { s.Rules.ForgedThreads = false })
	return out
}

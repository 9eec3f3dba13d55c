// Package crash proves that a process may die anywhere. It runs a scenario that comes by every failpoint (internal/failpoint); kills
// the process at each, starts another over the same state, and compares what becomes of every mail with a run that nothing
// disturbed. It is for the tests of the module: a state.Store passes it by Run.
package crash

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/internal/failpoint"
)

// Options say how much of the enumeration runs.
type Options struct {
	All  bool   // everything; else a sample by Seed
	Seed uint64 // of the sample, and of where second crashes come
	// Sample is how many crashes of a step run when not all do; 0: 10.
	Sample int
	Only   string // one entry, as a failure prints it
}

// Reached counts how often each point is passed.
type Reached map[string]int

// reads are the points that change nothing.
var reads = func() map[string]bool {
	m := map[string]bool{}
	for _, p := range failpoint.Points {
		m[p.Name] = p.Read
	}
	return m
}()

// entries enumerates the crashes, by step: before and after every change, and with its answer lost; the same at the first, middle
// and last hit of what only reads, in each step, for any other crash there is the same as one right after the change before it.
func (s *Suite) entries(o Options) [][]entry {
	out := make([][]entry, len(script))
	type place struct{ step, hit int }
	places := map[string][]place{}
	for i, trail := range s.trails {
		total := map[string]int{}
		for _, p := range trail {
			total[p]++
		}
		hits := map[string]int{}
		for _, p := range trail {
			hits[p]++
			n := hits[p]
			places[p] = append(places[p], place{i, n})
			if reads[p] && n != 1 && n != total[p]/2+1 && n != total[p] && o.Only == "" {
				continue
			}
			for _, m := range []failpoint.Moment{failpoint.Before, failpoint.After, failpoint.Lost} {
				out[i] = append(out[i], entry{step: i, stop: failpoint.Stop{Point: p, Hit: n, Moment: m}})
			}
		}
	}
	for _, p := range failpoint.Points { // disturbed: the first, the middle and the last hit of each point
		at := places[p.Name]
		if len(at) == 0 {
			continue
		}
		chosen := map[place]bool{at[0]: true, at[len(at)/2]: true, at[len(at)-1]: true}
		for _, pl := range at {
			if !chosen[pl] {
				continue
			}
			for _, m := range []failpoint.Moment{failpoint.Before, failpoint.After} {
				for _, d := range []disturbance{crmDown, excluded, expunged} {
					out[pl.step] = append(out[pl.step], entry{step: pl.step, stop: failpoint.Stop{Point: p.Name, Hit: pl.hit, Moment: m}, with: d})
				}
			}
		}
	}
	random := rand.New(rand.NewPCG(o.Seed, 1))
	for i, es := range out { // a second crash, while the first is recovered from
		for _, e := range es {
			if e.with == calm && e.stop.Moment != failpoint.Lost && random.IntN(4) == 0 {
				e.fuse = 1 + random.IntN(len(s.trails[i])+5)
				out[i] = append(out[i], e)
			}
		}
		random.Shuffle(len(out[i]), func(a, b int) { out[i][a], out[i][b] = out[i][b], out[i][a] })
		if !o.All {
			out[i] = sample(out[i], cmp.Or(o.Sample, 10), func(point string) int { return len(places[point]) })
		}
	}
	return out
}

// sample keeps n entries of a shuffled list: first a crash after each kind of change, those that are seldom made before those that
// other steps make as well, then these at other hits, then what is left.
func sample(es []entry, n int, often func(point string) int) []entry {
	var kinds, changes, rest []entry
	seen := map[string]bool{}
	for _, e := range es {
		plain := e.with == calm && e.fuse == 0 && !reads[e.stop.Point] && e.stop.Moment == failpoint.After && e.stop.Point != "state.Renew"
		switch {
		case plain && !seen[e.stop.Point]:
			seen[e.stop.Point] = true
			kinds = append(kinds, e)
		case plain:
			changes = append(changes, e)
		default:
			rest = append(rest, e)
		}
	}
	slices.SortStableFunc(kinds, func(a, b entry) int { return cmp.Compare(often(a.stop.Point), often(b.stop.Point)) })
	// A third is for the rest: lost answers, second crashes, disturbances.
	first := append(kinds, changes...)
	first = first[:min(len(first), n-n/3)]
	return append(first, rest[:min(len(rest), n-len(first))]...)
}

// Run kills the process wherever the scenario passes a failpoint, and compares. Each run dies once in every step, at another
// place each time, and is compared after every step, so that one run tries as many crashes as there are steps. A run in which
// a mismatch is found is repeated with that crash alone, to say which of the two it was. It returns how often the scenario passes
// each point.
func Run(t *testing.T, cfg Config, o Options) Reached {
	reached := Reached{}
	s, err := NewSuite(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	passes := 0
	for _, trail := range s.trails {
		passes += len(trail)
		for _, p := range trail {
			reached[p]++
		}
	}
	queues := s.entries(o)
	if o.Only != "" {
		for i, es := range queues {
			queues[i] = nil
			for _, e := range es {
				if e.String() == o.Only {
					queues[i] = []entry{e}
				}
			}
		}
	}
	limit := 5
	if o.All {
		limit = 15
	}
	total, runs, failures, alone := 0, 0, 0, 0
	for _, q := range queues {
		total += len(q)
	}
	if total == 0 {
		t.Fatalf("no crash is called %q", o.Only)
	}
	for failures < limit {
		var tried []string
		last := -1
		for i, q := range queues {
			if len(q) > 0 {
				last = i
			}
		}
		if last < 0 {
			break
		}
		runs++
		e, r := s.run(last, func(step int) *entry {
			if q := queues[step]; len(q) > 0 {
				queues[step] = q[1:]
				tried = append(tried, q[0].String())
				return &q[0]
			}
			return nil
		}, func(e entry) { // not met: an earlier crash of this run made the way another; alone it must be
			alone++
			if _, r := s.run(e.step, only(e), nil); r.err != nil {
				failures++
				t.Errorf("%s\n%v", e, r.err)
			}
		})
		if r.err == nil {
			continue
		}
		failures++
		_, single := s.run(e.step, only(e), nil)
		how := "that crash alone does it too:\n  EMAILINT_CRASH='" + e.String() + "' go test ./emailint/internal/crash -run '^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$'"
		if single.err == nil {
			how = "that crash alone does not; before it in the same run:\n  " + strings.Join(tried[:len(tried)-1], "\n  ")
		}
		t.Errorf("%s (seed %d)\n%v\n%s", e, o.Seed, r.err, how)
	}
	t.Logf("%d points of %d passed %d times in the scenario of %d steps; %d crashes in %d runs, %d of them again alone",
		len(count(s.trails)), len(failpoint.Points), passes, len(script), total, runs+alone, alone)
	return reached
}

func count(trails [][]string) map[string]bool {
	seen := map[string]bool{}
	for _, t := range trails {
		for _, p := range t {
			seen[p] = true
		}
	}
	return seen
}

// only picks one crash.
func only(e entry) func(int) *entry {
	return func(step int) *entry {
		if step == e.step {
			return &e
		}
		return nil
	}
}

// run runs the scenario up to a step with the crashes that pick names, and returns the one at which it failed. missed is told
// of crashes that were not reached; nil: that is a failure.
func (s *Suite) run(last int, pick func(step int) *entry, missed func(entry)) (entry, result) {
	w, err := newWorld(s.ctx, s.cfg)
	if err != nil {
		return entry{}, result{err: err}
	}
	defer w.close()
	for i := range last + 1 {
		e := pick(i)
		if e == nil {
			if err := s.undisturbed(w, i); err != nil {
				return entry{step: i}, result{err: err}
			}
			continue
		}
		r := s.crash(w, *e)
		if r.err == nil && !r.met {
			if missed == nil {
				r.err = fmt.Errorf("the scenario never came there")
			} else {
				missed(*e)
			}
		}
		if r.err != nil || r.ended {
			return *e, r
		}
	}
	return entry{}, result{}
}

package failpoint_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/provider"
)

// desk is a sender that writes down what is sent; unguarded, so that -race finds workers that go at once.
type desk struct{ log []string }

func (d *desk) Stage(_ context.Context, raw []byte, _ provider.SendOptions) (provider.Staged, error) {
	d.log = append(d.log, "stage "+string(raw))
	return provider.Staged{Raw: raw}, nil
}

func (d *desk) Release(_ context.Context, st provider.Staged) (provider.Sent, error) {
	d.log = append(d.log, "release "+string(st.Raw))
	return provider.Sent{MessageID: string(st.Raw)}, nil
}

func (d *desk) Lookup(context.Context, provider.Staged) (provider.Outcome, provider.Sent, error) {
	return provider.OutcomeUnknown, provider.Sent{}, nil
}

// workers are three that each send one mail, by processes of their own, which are returned as they start.
func workers(ctx context.Context, d *desk) (works []func(func(string)) error, procs []*failpoint.Process) {
	procs = make([]*failpoint.Process, 3)
	for i := range procs {
		works = append(works, func(gate func(string)) error {
			procs[i] = failpoint.New(gate)
			s, err := failpoint.Sender(procs[i], d)
			if err != nil {
				return err
			}
			st, err := s.Stage(ctx, fmt.Appendf(nil, "%d", i), provider.SendOptions{})
			if err != nil {
				return err
			}
			_, err = s.Release(ctx, st)
			return err
		})
	}
	return works, procs
}

// One goes at a time, whom Choose names, and is shown where all stand.
func TestScheduleGoesAsChosen(t *testing.T) {
	d := &desk{}
	works, _ := workers(t.Context(), d)
	order := []int{2, 2, 2, 0, 1, 0, 1, 1, 0}
	var shown []string
	errs := (&failpoint.Schedule{Choose: func(standing []failpoint.Standing) int {
		next := order[len(shown)]
		shown = append(shown, fmt.Sprint(standing))
		return next
	}}).Run(works)
	if err := errors.Join(errs...); err != nil || len(errs) != 3 {
		t.Fatalf("%d errors: %v", len(errs), err)
	}
	if want := []string{"stage 2", "release 2", "stage 0", "stage 1", "release 1", "release 0"}; !slices.Equal(d.log, want) {
		t.Errorf("it went %v, chosen was %v", d.log, want)
	}
	if want := []string{
		"[{0 sender.Open} {1 sender.Open} {2 sender.Open}]",
		"[{0 sender.Open} {1 sender.Open} {2 sender.Stage}]",
		"[{0 sender.Open} {1 sender.Open} {2 sender.Release}]",
		"[{0 sender.Open} {1 sender.Open}]",
		"[{0 sender.Stage} {1 sender.Open}]",
		"[{0 sender.Stage} {1 sender.Stage}]",
		"[{0 sender.Release} {1 sender.Stage}]",
		"[{0 sender.Release} {1 sender.Release}]",
		"[{0 sender.Release}]",
	}; !slices.Equal(shown, want) {
		t.Errorf("it showed\n%q\nwant\n%q", shown, want)
	}
}

// A schedule can be used again, and the same choices make the same run.
func TestScheduleRepeats(t *testing.T) {
	run := func(seed uint64) (out []string) {
		random := rand.New(rand.NewPCG(seed, 0))
		s := &failpoint.Schedule{Choose: func(standing []failpoint.Standing) int {
			out = append(out, fmt.Sprint(standing))
			return standing[random.IntN(len(standing))].Worker
		}}
		for range 2 {
			d := &desk{}
			works, _ := workers(t.Context(), d)
			if err := errors.Join(s.Run(works)...); err != nil {
				t.Fatal(err)
			}
			out = append(out, d.log...)
		}
		return out
	}
	distinct := map[string]bool{}
	for seed := range uint64(20) {
		first := run(seed)
		distinct[fmt.Sprint(first)] = true
		if again := run(seed); !slices.Equal(first, again) {
			t.Fatalf("seed %d: first\n%q\nthen\n%q", seed, first, again)
		}
	}
	if len(distinct) < 10 {
		t.Errorf("20 seeds make %d different runs", len(distinct))
	}
}

// Choose may kill whoever stands, before an effect, or arm the process to die after it; the others go on.
func TestScheduleKills(t *testing.T) {
	for _, c := range []struct {
		name string
		kill func(p *failpoint.Process)
		sent bool
	}{
		{"before", (*failpoint.Process).Kill, false},
		{"after", func(p *failpoint.Process) {
			p.Arm(&failpoint.Stop{Point: "sender.Release", Hit: 1, Moment: failpoint.After}, 0)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &desk{}
			works, procs := workers(t.Context(), d)
			errs := (&failpoint.Schedule{Choose: func(standing []failpoint.Standing) int {
				for _, s := range standing {
					if s.Worker == 1 && s.Point == "sender.Release" && !procs[1].Dead() {
						c.kill(procs[1])
					}
				}
				return standing[len(standing)-1].Worker
			}}).Run(works)
			if errs[0] != nil || errs[2] != nil || !errors.Is(errs[1], failpoint.ErrDead) || !procs[1].Dead() {
				t.Errorf("the workers ended with %v", errs)
			}
			if got := slices.Contains(d.log, "release 1"); got != c.sent || !slices.Contains(d.log, "release 0") {
				t.Errorf("the desk saw %v", d.log)
			}
		})
	}
}

// Whoever names a worker that does not stand, or works by two goroutines at once, gets no run that only looks like one.
func TestScheduleRefuses(t *testing.T) {
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	waits := func(gate func(string)) error { gate("a"); <-never; return nil }
	for _, c := range []struct {
		name   string
		chosen int
		works  []func(func(string)) error
	}{
		{"nobody", -1, []func(func(string)) error{waits}},
		{"a stranger", 1, []func(func(string)) error{waits}},
		{"one that has ended", 0, []func(func(string)) error{func(func(string)) error { return nil }, waits}},
		{"one of two at once", 1, []func(func(string)) error{func(gate func(string)) error { go gate("b"); gate("c"); return nil }, waits}},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it ran")
				}
			}()
			(&failpoint.Schedule{Choose: func([]failpoint.Standing) int { return c.chosen }}).Run(c.works)
		})
	}
}

package emailint_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
)

// Two who share a budget and take whatever they get use nearly all of it, and in no minute more.
func TestSharedBudget(t *testing.T) {
	w := emailinttest.New(t)
	const perMinute = 12000
	var taken []struct {
		at time.Time
		n  int
	}
	one := emailint.SharedBudget(w.State, perMinute, w.Now)
	two := emailint.SharedBudget(w.State, perMinute, w.Now)
	begin := w.Now()
	for w.Now().Sub(begin) < 5*time.Minute {
		wait := time.Duration(0)
		for i, b := range []interface {
			Take(ctx context.Context, app string, units, least int, urgent bool) (int, time.Duration, error)
		}{one, two} {
			n, again, err := b.Take(t.Context(), "app", 100, 20, i == 1)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				taken = append(taken, struct {
					at time.Time
					n  int
				}{w.Now(), n})
			}
			wait = max(wait, again)
		}
		w.Advance(max(wait, time.Millisecond))
	}
	sum := 0
	for i, x := range taken {
		sum += x.n
		within := 0
		for _, y := range taken[i:] {
			if y.at.Sub(x.at) < time.Minute {
				within += y.n
			}
		}
		if within > perMinute {
			t.Fatalf("%d units in the minute from %s", within, x.at)
		}
	}
	if sum < perMinute*5*95/100 {
		t.Errorf("%d units in five minutes, want 95 %% of %d", sum, perMinute*5)
	}
	if n, wait, err := one.Take(t.Context(), "app", 100, 100, false); n != 0 || wait <= 0 || err != nil {
		t.Errorf("of an empty budget: %d units, wait %s, %v", n, wait, err)
	}
	if n, _, err := one.Take(t.Context(), "other", 100, 100, false); n != 100 || err != nil {
		t.Errorf("another app's: %d units, %v", n, err)
	}
}

// A worker whose clock was far ahead, and is right again or gone, leaves a budget that the others can use.
func TestSharedBudgetAfterAWrongClock(t *testing.T) {
	w := emailinttest.New(t)
	wrong := emailint.SharedBudget(w.State, 12000, func() time.Time { return w.Now().AddDate(1, 0, 0) })
	right := emailint.SharedBudget(w.State, 12000, w.Now)
	for range 20 {
		if _, _, err := wrong.Take(t.Context(), "app", 100, 20, true); err != nil {
			t.Fatal(err)
		}
	}
	sum := 0
	for range 60 {
		n, _, err := right.Take(t.Context(), "app", 100, 20, true)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
		w.Advance(time.Second)
	}
	if sum < 5000 {
		t.Errorf("%d units in a minute", sum)
	}
}

// A budget as small as may be is kept to by what costs most, and one without a bound in sight is one.
func TestSharedBudgetOfOddSizes(t *testing.T) {
	for _, c := range []struct{ perMinute, cost, most int }{{1, 100, 200}, {200, 100, 200}, {200, 20, 200}, {300, 100, 300}, {math.MaxInt, 100, math.MaxInt}, {2_000_000_000, 20, math.MaxInt}} {
		w := emailinttest.New(t)
		b := emailint.SharedBudget(w.State, c.perMinute, w.Now)
		sum := 0
		for range 60 {
			n, _, err := b.Take(t.Context(), "app", c.cost, c.cost, true)
			if err != nil {
				t.Fatalf("%d a minute: %v", c.perMinute, err)
			}
			sum += n
			w.Advance(time.Second)
		}
		if sum == 0 || sum > c.most {
			t.Errorf("of %d a minute %d were taken in one, %d at a time", c.perMinute, sum, c.cost)
		}
	}
}

package crash

import (
	"fmt"
	"testing"
)

// Several workers at once come to the same end as one after the other, in whatever order, and that is the same in every order.
func TestWorkersAtOnce(t *testing.T) {
	o := options(t)
	seeds := uint64(12)
	if o.All {
		seeds = 300
	}
	for _, p := range services {
		for _, m := range meetings {
			t.Run(fmt.Sprintf("%s/%s", p, m.name), func(t *testing.T) {
				t.Parallel()
				cfg := Config{Store: memory, Service: Fake(p)}
				var order []int
				for i := range m.works {
					order = append(order, i)
				}
				want, err := inTurn(t.Context(), cfg, m, order)
				if err != nil {
					t.Fatal(err)
				}
				for range order {
					order = append(order[1:], order[0])
					got, err := inTurn(t.Context(), cfg, m, order)
					if err != nil {
						t.Fatal(err)
					}
					if d := got.diff(want); d != "" {
						t.Fatalf("one after the other in the order %v it ends otherwise:\n%s", order, d)
					}
				}
				fencings := 0
				for seed := o.Seed * 1000; seed < o.Seed*1000+seeds; seed++ {
					got, fenced, err := meet(t.Context(), cfg, m, seed)
					if err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					fencings += fenced
					if d := got.diff(want); d != "" {
						t.Fatalf("seed %d: at once it ends otherwise than one after the other:\n%s", seed, d)
					}
				}
				t.Logf("%d seeds, a worker was fenced %d times", seeds, fencings)
				if m.late && fencings == 0 {
					t.Error("nobody was ever fenced: the pause was never past the lease in the middle of a pass")
				}
			})
		}
	}
}

// Command kill proves that an import which is killed with SIGKILL, again and again, comes to the same end as one that is left alone:
// in messages, fates, links and emails. .ci/kill builds and calls it.
//
//	kill [-rounds N] [-seed N] QUICKSTART [quickstart's flags]
//
// quickstart runs without a kill first, twice, which must agree. Each round then begins with an empty state: quickstart is started and
// killed at a random moment after its start-up, and started again, until it finishes by itself. A round in which every kill came too
// late, or when nothing was left to do but to compare, proves nothing and is begun anew. The seed gives the moments; what the process was at when one came depends on the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/intellicon/email-integration/internal/killed"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kill:", err)
		os.Exit(1)
	}
}

const (
	maxLives = 100 // of one round: it ends long before
	maxAnew  = 20  // rounds begun anew because no kill hit work
)

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("kill", flag.ContinueOnError)
	rounds := fs.Int("rounds", 3, "rounds to run")
	seed := fs.Uint64("seed", uint64(time.Now().UnixNano()), "of the moments")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 || *rounds < 1 {
		return errors.New("name the quickstart to kill, and at least one round")
	}
	dir, err := os.MkdirTemp("", "kill")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	q := quickstart{path: fs.Arg(0), flags: fs.Args()[1:]}

	whole, startUp, err := reference(q, dir)
	if err != nil {
		return err
	}
	wall := whole.wall
	fmt.Printf("uninterrupted: %d messages, %d emails, %d links in %.2f s, of which start-up %.2f s; seed %d\n",
		whole.messages, whole.emails, whole.links, wall.Seconds(), startUp.Seconds(), *seed)

	var sum killed.Tally
	differ, anew := 0, 0
	for round := 1; round <= *rounds; {
		// A stream of its own for each try at a round, so that it can be repeated alone.
		moments := rand.New(rand.NewPCG(*seed, uint64(round)<<32|uint64(anew)))
		moment := func() time.Duration {
			return startUp + time.Duration(moments.Float64()*float64(wall-startUp))
		}
		got, lives, err := live(ctx, q, filepath.Join(dir, fmt.Sprintf("round%d.%d", round, anew)), moment)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if !slices.ContainsFunc(lives, killed.Life.AtWork) {
			if anew++; anew > maxAnew {
				return fmt.Errorf("round %d: no kill hit work in %d tries, all came after its end", round, anew)
			}
			if len(lives) == 0 { // it ran to its end: the machine may be faster than it was
				wall, startUp = got.wall, got.wall-got.work
			}
			continue
		}
		fmt.Printf("round %d:", round)
		for _, l := range lives {
			fmt.Printf(" killed after %.3f s (%s);", l.After.Seconds(), l)
			sum.Add(l)
		}
		if d := whole.differences(got); len(d) > 0 {
			differ++
			fmt.Printf(" finished, AND DIFFERS in %d lines (- uninterrupted, + killed):\n", len(d))
			for _, line := range d[:min(len(d), 20)] {
				fmt.Println("  " + line)
			}
		} else {
			fmt.Println(" finished, equal")
		}
		round++
	}
	fmt.Printf("%d rounds, %s; %d rounds begun anew as no kill hit work\n", *rounds, &sum, anew)
	if differ > 0 {
		return fmt.Errorf("%d of %d rounds differ from the uninterrupted run", differ, *rounds)
	}
	return nil
}

// reference runs quickstart twice without a kill and returns the second run, whose caches are as warm as a round's, and how long it
// took until the work began.
func reference(q quickstart, dir string) (*outcome, time.Duration, error) {
	var runs [2]*outcome
	for i := range runs {
		var err error
		if runs[i], _, err = q.run(filepath.Join(dir, fmt.Sprintf("whole%d", i)), 0); err != nil {
			return nil, 0, fmt.Errorf("the uninterrupted run: %w", err)
		}
	}
	if d := runs[0].differences(runs[1]); len(d) > 0 {
		return nil, 0, fmt.Errorf("two uninterrupted runs differ in %d lines, the first is %s", len(d), d[0])
	}
	whole := runs[1]
	if whole.messages == 0 || whole.emails == 0 || whole.completeness != 1 {
		return nil, 0, fmt.Errorf("the uninterrupted run is no measure: %d messages, %d emails, completeness %v", whole.messages, whole.emails, whole.completeness)
	}
	return whole, whole.wall - whole.work, nil
}

// live runs one round in an empty directory: lives are those that were killed. A machine that has become slow gets nothing done in such a life: after ten
// of them the next ten last twice as long, and so on.
func live(ctx context.Context, q quickstart, dir string, moment func() time.Duration) (*outcome, []killed.Life, error) {
	var lives []killed.Life
	for range maxLives {
		after := moment() << (len(lives) / 10)
		got, dead, err := q.run(dir, after)
		if err != nil {
			return nil, lives, err
		}
		if !dead {
			return got, lives, os.RemoveAll(dir)
		}
		l, err := killed.LookAtFile(ctx, filepath.Join(dir, stateFile))
		if err != nil {
			return nil, lives, fmt.Errorf("looking at what the killed process left: %w", err)
		}
		l.After = after
		lives = append(lives, l)
	}
	return nil, lives, fmt.Errorf("not finished after %d lives", maxLives)
}

// Command simulation runs the engine through seeded worlds and compares what came of each with what must (package internal/simulation).
//
//	simulation [-from SEED] [-seeds N] [-json] [-parallel P] [-all] [-shrink 60s] [-log | -shortlog] [-promise BEGINNING] [-profile NAME] [-twice] [-state URL]
//
// It exits 1 with the first seed that breaks a promise, the promise, and the shortest trace of it that was found; else it says how much
// happened. The same seed runs exactly the same, on any machine. With -all it goes on and lists every seed that breaks one; with -log it runs one
// seed and prints everything that happens, with -shortlog it prints everything that happens in the run of the shortest trace. With
// -promise only violations count that begin so, with -profile all runs are of that profile (package simulation: seldom.go has some that are made only so). With -twice each seed is run twice, and two runs that differ are a violation.
// With -state postgres://… the state is in that database, in schemas that are made for it; the same seeds have the same hash.
//
// In a long run stderr has a line for every thousand seeds and for every seed that breaks a promise. An interrupt ends it with what was found so far.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
	"github.com/intellicon/email-integration/internal/simulation"
)

func main() {
	debug.SetGCPercent(400) // many small worlds
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "simulation:", err)
		os.Exit(1)
	}
}

// report is what -json prints.
type report struct {
	From       uint64            `json:"from"`
	Seeds      uint64            `json:"seeds"` // that were run
	Seconds    float64           `json:"seconds"`
	PerSecond  float64           `json:"seeds_per_second"`
	Counts     simulation.Counts `json:"counts"`
	Hash       string            `json:"hash"` // of all that happened in these seeds; the same seeds have the same
	Violations []violation       `json:"violations"`
}

type violation struct {
	Seed     uint64   `json:"seed"`
	Promises []string `json:"promises"` // broken in the run of the seed
	Trace    string   `json:"trace,omitempty"`
	Shortest []string `json:"shortest,omitempty"` // broken in the run of the trace
}

// hanging is how long a run may take on a busy machine: they take a tenth of a second.
const hanging = 5 * time.Minute

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("simulation", flag.ContinueOnError)
	from := fs.Uint64("from", 1, "the first seed")
	seeds := fs.Uint64("seeds", 500, "how many seeds")
	asJSON := fs.Bool("json", false, "print a report as JSON")
	parallel := fs.Int("parallel", runtime.NumCPU(), "how many run at once")
	all := fs.Bool("all", false, "go on after a violation, and shorten no trace")
	shrink := fs.Duration("shrink", time.Minute, "how long a shorter trace is looked for")
	log := fs.Bool("log", false, "run the first seed alone, and print what happens")
	shortlog := fs.Bool("shortlog", false, "print what happens in the run of the shortest trace")
	promise := fs.String("promise", "", "only violations that begin so count; several beginnings are divided by |")
	profile := fs.String("profile", "", "runs of this profile, not of that which the seed chooses")
	twice := fs.Bool("twice", false, "run each seed twice, and compare")
	where := fs.String("state", "", "the URL of a PostgreSQL database for the state; else it is SQLite in memory")
	cpu := fs.String("cpuprofile", "", "write a CPU profile")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 || *seeds < 1 || *parallel < 1 {
		return errors.New("-seeds and -parallel are at least 1, and nothing stands behind the flags; see -help")
	}
	script := func(seed uint64) simulation.Script { return simulation.GenerateAs(seed, *profile) }
	if *where != "" {
		// A worker that stands at a failpoint is in no transaction: one connection is enough for each run, and one for those that open.
		db, err := postgrestest.Connect(ctx, *where, int32(*parallel)+2, nil)
		if err != nil {
			return err
		}
		defer db.Close() //nolint:errcheck // at worst schemas are left over
		script = func(seed uint64) simulation.Script {
			s := simulation.GenerateAs(seed, *profile)
			s.Open = db.Open
			return s
		}
	}
	if *log {
		return one(ctx, *from, script(*from))
	}
	if *cpu != "" {
		f, err := os.Create(*cpu)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	stop, end := signal.NotifyContext(ctx, os.Interrupt)
	rep, err := runAll(ctx, stop.Done(), *from, *seeds, *parallel, *all, *twice, *promise, script)
	interrupted := stop.Err() != nil
	end() // the second one kills
	if err != nil {
		return err
	}
	if !*all && len(rep.Violations) > 0 {
		v := &rep.Violations[0]
		s, r := simulation.Shrink(ctx, script(v.Seed), simulation.Kind(simulation.Violation(v.Promises[0])), time.Now().Add(*shrink))
		v.Trace = s.String()
		for _, x := range r.Violations {
			v.Shortest = append(v.Shortest, string(x))
		}
		if *shortlog {
			if _, err := simulation.Run(ctx, s, os.Stdout); err != nil {
				return err
			}
		}
	}
	if *asJSON {
		err = json.NewEncoder(os.Stdout).Encode(rep)
	} else {
		print(rep)
	}
	if err == nil && len(rep.Violations) > 0 {
		err = fmt.Errorf("%d of %d seeds broke a promise", len(rep.Violations), rep.Seeds)
	} else if err == nil && interrupted {
		err = fmt.Errorf("interrupted after %d of %d seeds, none of which broke a promise", rep.Seeds, *seeds)
	}
	return err
}

// one runs a seed and prints what happens.
func one(ctx context.Context, seed uint64, s simulation.Script) error {
	fmt.Printf("seed %d, %s\n%s\n", seed, s.Profile, s)
	r, err := simulation.Run(ctx, s, os.Stdout)
	for _, v := range r.Violations {
		fmt.Println(v)
	}
	if err == nil && len(r.Violations) > 0 {
		err = errors.New("it broke a promise")
	}
	return err
}

// runAll runs the seeds, several at once. Without all it ends with the lowest seed that broke a promise, and with stop after the seeds that run.
func runAll(ctx context.Context, stop <-chan struct{}, from, seeds uint64, parallel int, all, twice bool, promise string, make func(seed uint64) simulation.Script) (report, error) {
	rep := report{From: from, Counts: simulation.Counts{}, Violations: []violation{}}
	begun := time.Now()
	var mu sync.Mutex // guards rep, next, last, hash and failed
	var failed error
	var hash uint64
	next, last := from, from+seeds
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for {
				mu.Lock()
				select {
				case <-stop:
					last = next
				default:
				}
				seed := next
				next++
				over := seed >= last || failed != nil
				mu.Unlock()
				if over {
					return
				}
				script := make(seed)
				watch := time.AfterFunc(hanging, func() {
					fmt.Fprintf(os.Stderr, "simulation: seed %d hangs\n", seed)
					pprof.Lookup("goroutine").WriteTo(os.Stderr, 1) //nolint:errcheck // it is the last word
					os.Exit(1)
				})
				r, err := simulation.Run(ctx, script, nil)
				if twice && err == nil {
					var again simulation.Result
					if again, err = simulation.Run(ctx, script, nil); again.Hash != r.Hash {
						r.Violations = append(r.Violations, "determinism: the second run is another one")
					}
				}
				watch.Stop()
				mu.Lock()
				if err != nil && failed == nil {
					failed = fmt.Errorf("seed %d: %w", seed, err)
				}
				if rep.Seeds++; rep.Seeds%1000 == 0 {
					fmt.Fprintf(os.Stderr, "simulation: %d of %d seeds, %.1f a second\n", rep.Seeds, seeds, float64(rep.Seeds)/time.Since(begun).Seconds())
				}
				hash += r.Hash
				for k, n := range r.Counts {
					rep.Counts[k] += n
				}
				r.Violations = slices.DeleteFunc(r.Violations, func(v simulation.Violation) bool { return !begins(string(v), promise) })
				if len(r.Violations) > 0 {
					v := violation{Seed: seed}
					for _, x := range r.Violations {
						v.Promises = append(v.Promises, string(x))
					}
					rep.Violations = append(rep.Violations, v)
					fmt.Fprintf(os.Stderr, "simulation: seed %d: %s\n", seed, v.Promises[0])
					if !all {
						last = min(last, seed)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(rep.Violations, func(a, b violation) int { return int(a.Seed) - int(b.Seed) })
	if !all && len(rep.Violations) > 1 {
		rep.Violations = rep.Violations[:1]
	}
	rep.Seconds = time.Since(begun).Seconds()
	rep.Hash = fmt.Sprintf("%016x", hash)
	rep.PerSecond = float64(rep.Seeds) / rep.Seconds
	return rep, failed
}

// begins reports whether a violation is of one of the promises, whose beginnings are divided by |.
func begins(violation, promises string) bool {
	return slices.ContainsFunc(strings.Split(promises, "|"), func(p string) bool { return strings.HasPrefix(violation, p) })
}

func print(rep report) {
	fmt.Printf("%d seeds from %d in %.1f s, %.1f a second; hash %s\n", rep.Seeds, rep.From, rep.Seconds, rep.PerSecond, rep.Hash)
	var kinds []string
	for k := range rep.Counts {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		fmt.Printf("%9d %s\n", rep.Counts[k], k)
	}
	for _, v := range rep.Violations {
		fmt.Printf("\nseed %d:\n", v.Seed)
		for i, p := range v.Promises {
			if i == 5 && v.Trace == "" {
				fmt.Printf("  and %d more\n", len(v.Promises)-i)
				break
			}
			fmt.Printf("  %s\n", p)
		}
		if v.Trace == "" {
			continue
		}
		fmt.Printf("\nThe shortest that was found:\n%sThen:\n", v.Trace)
		for _, p := range v.Shortest {
			fmt.Printf("  %s\n", p)
		}
	}
}

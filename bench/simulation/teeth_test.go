package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A tooth switches one rule of docs/protocol.md off, and the simulation must show it. Production code has no switches for that: a tooth is an
// edit of the source that `go build -overlay` puts in place of a file, so what is tested is the real code less one rule.
type tooth struct {
	rule    string // its number in docs/protocol.md, and a letter where a rule has several clauses
	off     string // what is switched off, in a sentence
	edits   []edit
	promise string // what a violation of it begins with; several, divided by |
	seeds   uint64 // that are tried at most; 0: 200
	profile string // of all runs; "": that which the seed chooses
	quick   bool   // it bites within seconds: CI runs these
	planted string // which of the five bugs of the plan it is; "": none
}

// edit replaces a text that occurs once in a file.
type edit struct{ file, old, new string }

const firstSeed = 1

// root is the module's.
const root = "../.."

// apply returns the file with the edits on it.
func apply(text string, es []edit) (string, error) {
	for _, e := range es {
		if n := strings.Count(text, e.old); n != 1 {
			return "", fmt.Errorf("adapt me: in %s this occurs %d times, want once:\n%s", e.file, n, e.old)
		}
		text = strings.Replace(text, e.old, e.new, 1)
	}
	return text, nil
}

// mutated returns the files that a tooth edits, as they are with its edits.
func (th tooth) mutated() (map[string]string, error) {
	files := map[string][]edit{}
	for _, e := range th.edits {
		files[e.file] = append(files[e.file], e)
	}
	out := map[string]string{}
	for file, es := range files {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return nil, fmt.Errorf("adapt me: %w", err)
		}
		if out[file], err = apply(string(b), es); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Whoever changes the code that a tooth edits hears of it at once.
func TestTeethFit(t *testing.T) {
	seen := map[string]bool{}
	for _, th := range slices.Concat(teeth, blunt) {
		if seen[th.rule] {
			t.Errorf("%s: two teeth have this name", th.rule)
		}
		seen[th.rule] = true
		if th.promise == "" || th.off == "" || len(th.edits) == 0 {
			t.Errorf("%s: a tooth needs a sentence, edits and a promise", th.rule)
		}
		if _, err := th.mutated(); err != nil {
			t.Errorf("%s (%s): %v", th.rule, th.off, err)
		}
	}
	for _, kind := range []string{"a cursor saved before its rows", "a removal taken for a deletion", "a save not replayed", "a stale decision committed", "a correction undone"} {
		n := 0
		for _, th := range teeth {
			if th.planted == kind {
				n++
			}
		}
		if n == 0 {
			t.Errorf("no tooth is the planted bug %q", kind)
		}
	}
}

// TestTeeth takes minutes, so it runs only where that is asked for. EMAILINT_TEETH=1 runs all teeth, EMAILINT_TEETH=quick those that bite within
// seconds, EMAILINT_TEETH=7b,9b these, and EMAILINT_TEETH=blunt tries those that did not bite so far. EMAILINT_TEETH_REPORT names a file for the
// table in docs/reliability.md.
func TestTeeth(t *testing.T) {
	which := os.Getenv("EMAILINT_TEETH")
	if which == "" {
		t.Skip("it takes long; to run it: EMAILINT_TEETH=1 go test -timeout 2h -run 'TestTeeth$' ./bench/simulation")
	}
	var chosen []tooth
	switch which {
	case "1":
		chosen = teeth
	case "blunt":
		chosen = blunt
	default:
		for _, th := range slices.Concat(teeth, blunt) {
			if which == "quick" && th.quick || slices.Contains(strings.Split(which, ","), th.rule) {
				chosen = append(chosen, th)
			}
		}
	}
	if len(chosen) == 0 {
		t.Fatalf("there are no teeth called %q", which)
	}
	var mu sync.Mutex // guards rows
	rows := make([]string, len(chosen))
	t.Run("all", func(t *testing.T) {
		for i, th := range chosen {
			t.Run(th.rule, func(t *testing.T) {
				t.Parallel() // as many at once as there are processors
				row := th.bite(t)
				mu.Lock()
				defer mu.Unlock()
				rows[i] = row
			})
		}
		if which != "1" {
			return
		}
		t.Run("none", func(t *testing.T) {
			t.Parallel()
			seeds := uint64(0)
			for _, th := range teeth {
				if th.profile == "" {
					seeds = max(seeds, th.most())
				}
			}
			rep, err := simulate(t.Context(), whole(t), firstSeed, seeds, "", "")
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range rep.Violations {
				t.Errorf("with all rules seed %d breaks %q", v.Seed, v.Promises)
			}
			t.Logf("with all rules %d seeds from %d break no promise (%.0f s)", rep.Seeds, firstSeed, rep.Seconds)
		})
	})
	if file := os.Getenv("EMAILINT_TEETH_REPORT"); file != "" {
		table := "| rule | what is off | seeds | what is seen first |\n|---|---|---|---|\n"
		for _, r := range rows {
			table += r
		}
		if err := os.WriteFile(file, []byte(table), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// most is how many seeds are tried.
func (th tooth) most() uint64 {
	if th.seeds == 0 {
		return 200
	}
	return th.seeds
}

// bite runs the simulation without the rule, and returns what it saw as a row of a table.
func (th tooth) bite(t *testing.T) string {
	files, err := th.mutated()
	if err != nil {
		t.Fatalf("%s: %v", th.off, err)
	}
	bin := build(t, t.TempDir(), files)
	from, seeds := uint64(firstSeed), th.most()
	var v violation
	seconds := 0.0
	for next := from; ; {
		if next == from+seeds {
			t.Fatalf("%s: %d seeds from %d break no promise that begins with %q, want one", th.off, seeds, from, th.promise)
		}
		rep, err := simulate(t.Context(), bin, next, from+seeds-next, th.promise, th.profile)
		if err != nil {
			t.Fatalf("%s: %v", th.off, err)
		}
		if seconds += rep.Seconds; len(rep.Violations) == 0 {
			next = from + seeds
			continue
		}
		v = rep.Violations[0]
		if rep, err = simulate(t.Context(), whole(t), v.Seed, 1, "", th.profile); err != nil {
			t.Fatal(err)
		}
		if len(rep.Violations) == 0 {
			break
		}
		t.Logf("seed %d breaks a promise with all rules, too: %s", v.Seed, rep.Violations[0].Promises[0])
		next = v.Seed + 1
	}
	first := ""
	for _, p := range v.Promises {
		if begins(p, th.promise) {
			first = p
			break
		}
	}
	first, _, _ = strings.Cut(first, "\n")
	t.Logf("%s: after %d seeds (seed %d; %.0f s): %s", th.off, v.Seed-from+1, v.Seed, seconds, first)
	if th.planted != "" {
		th.off += " (planted: " + th.planted + ")"
	}
	if th.profile != "" {
		th.off += " (profile " + th.profile + ")"
	}
	return fmt.Sprintf("| %s | %s | %d | %s |\n", th.rule, th.off, v.Seed-from+1, strings.ReplaceAll(first, "|", "/"))
}

var unmutated struct {
	sync.Once
	dir, bin string
}

// whole returns the command with all rules.
func whole(t *testing.T) string {
	unmutated.Do(func() {
		if dir, err := os.MkdirTemp("", "teeth"); err == nil {
			unmutated.dir, unmutated.bin = dir, build(t, dir, nil)
		}
	})
	if unmutated.bin == "" {
		t.Fatal("the command could not be built")
	}
	return unmutated.bin
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(unmutated.dir)
	os.Exit(code)
}

// build builds this command with other files in the place of some. The flags are always the same, so that what is not edited, and what does not
// import that, comes from the cache.
func build(t *testing.T, dir string, files map[string]string) (bin string) {
	t.Helper()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range files {
		real, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, strconv.Itoa(len(overlay.Replace))+".go")
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[real] = to
	}
	b, err := json.Marshal(overlay)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	bin = filepath.Join(dir, "simulation")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return bin
}

// simulate runs seeds, one after the other, until one breaks the promise.
func simulate(ctx context.Context, bin string, from, seeds uint64, promise, profile string) (rep report, err error) {
	cmd := exec.CommandContext(ctx, bin, "-from", strconv.FormatUint(from, 10), "-seeds", strconv.FormatUint(seeds, 10), "-parallel", "1", "-shrink", "0",
		"-json", "-promise", promise, "-profile", profile)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Minute
	out, err := cmd.Output()
	if jerr := json.Unmarshal(out, &rep); jerr != nil {
		return rep, fmt.Errorf("it ended without a report: %w\n%s", errors.Join(err, jerr), stderr.String())
	}
	var exit *exec.ExitError
	switch broken := len(rep.Violations) > 0; {
	case errors.As(err, &exit) && exit.ExitCode() == 1 && broken, err == nil && !broken:
		return rep, nil
	default:
		return rep, fmt.Errorf("it ended with %v and %d violations\n%s", err, len(rep.Violations), stderr.String())
	}
}

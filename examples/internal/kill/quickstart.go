package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/internal/killed"
)

// quickstart is the program that is killed.
type quickstart struct {
	path  string
	flags []string
}

const (
	stateFile = "state.db"
	dumpFile  = "dump"
)

// outcome is what a run that finished came to.
type outcome struct {
	lines                   []string // of the dump, and of the JSON without its seconds
	messages, emails, links int
	completeness            float64
	wall, work              time.Duration // from start to end; without the start-up
}

// run starts quickstart on the state in dir and kills it after a while, 0 for never. dead is false when it finished before.
func (q quickstart) run(dir string, after time.Duration) (o *outcome, dead bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, err
	}
	args := append([]string{"-json", "-state", filepath.Join(dir, stateFile), "-dump", filepath.Join(dir, dumpFile)}, q.flags...)
	cmd := exec.Command(q.path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	var moment <-chan time.Time
	if after > 0 {
		moment = time.After(after)
	}
	dead, err = killed.Run(cmd, moment)
	if dead {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("quickstart: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	o, err = newOutcome(stdout.Bytes(), filepath.Join(dir, dumpFile))
	if err != nil {
		return nil, false, err
	}
	o.wall = time.Since(start)
	return o, false, nil
}

func newOutcome(report []byte, dump string) (*outcome, error) {
	var r struct {
		Messages, Emails, Links int
		Completeness, Seconds   float64
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return nil, fmt.Errorf("reading what quickstart printed: %w", err)
	}
	b, err := os.ReadFile(dump)
	if err != nil {
		return nil, err
	}
	o := &outcome{messages: r.Messages, emails: r.Emails, links: r.Links, completeness: r.Completeness,
		work: time.Duration(r.Seconds * float64(time.Second))}
	for line := range strings.Lines(string(report) + "\n" + string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, `"seconds"`) {
			o.lines = append(o.lines, line)
		}
	}
	slices.Sort(o.lines)
	return o, nil
}

// differences are the lines that only one of both has, as often as it has them more.
func (o *outcome) differences(other *outcome) []string {
	var out []string
	a, b := o.lines, other.lines
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			out, a = append(out, "- "+a[0]), a[1:]
		case len(a) == 0 || b[0] < a[0]:
			out, b = append(out, "+ "+b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return out
}

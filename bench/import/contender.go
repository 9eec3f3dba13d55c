package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// job is what a contender is told on its standard input.
type job struct {
	Name    string
	Server  server
	Dir     string // for its files
	N       int
	Seed    uint64
	All     bool   // the CRM knows everybody
	State   string // the URL of a PostgreSQL database, "" for a file
	Profile profile
}

// profile names files, each "" for none.
type profile struct{ CPU, Mem string }

// result is what a contender did.
type result struct {
	Name    string  `json:"name"`
	Mails   int     `json:"mails"` // accounted for
	Seconds float64 `json:"seconds"`
	User    float64 `json:"user_seconds"`
	System  float64 `json:"system_seconds"`
	PeakMB  float64 `json:"peak_mb"`              // of its process, VmHWM
	GoMB    float64 `json:"peak_go_mb,omitempty"` // of that what Go holds: all but SQLite's caches and the program itself
	Linked  int     `json:"linked,omitempty"`
	Saved   int     `json:"saved,omitempty"` // emails the CRM has
	Note    string  `json:"note,omitempty"`
}

func (r result) rate() float64 { return float64(r.Mails) / r.Seconds }
func (r result) cpu() float64  { return r.User + r.System }

// run runs a contender in a process of its own, so that nothing of another's memory or CPU is counted.
func (j job) run(ctx context.Context) (r result, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	in, err := json.Marshal(j)
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, "-contender")
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("%s: %w", j.Name, err)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("%s: %w", j.Name, err)
	}
	r.Name = j.Name
	return r, nil
}

// contend is the other side of run.
func contend(ctx context.Context) error {
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	do := plain
	if j.Name != plainName {
		do = engine
	}
	r, err := do(ctx, j)
	if err != nil {
		return err
	}
	if r.PeakMB, err = peak(os.Getpid()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// timed measures f in this process.
func timed(f func() error) (r result, err error) {
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return r, err
	}
	start := time.Now()
	if err := f(); err != nil {
		return r, err
	}
	r.Seconds = time.Since(start).Seconds()
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		return r, err
	}
	r.User = seconds(after.Utime) - seconds(before.Utime)
	r.System = seconds(after.Stime) - seconds(before.Stime)
	return r, nil
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// peak is the most memory that a process had resident.
func peak(pid int) (mb float64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if kb, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(kb, "kB")))
			return float64(n) / 1000, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status names no VmHWM", pid)
}

const mbsyncName = "mbsync"

// mbsync copies the mailbox into a Maildir with isync's mbsync. What it has then are the files.
func mbsync(ctx context.Context, s *server, dir string) (r result, err error) {
	r.Name = mbsyncName
	version, err := exec.CommandContext(ctx, "mbsync", "--version").Output()
	if err != nil {
		return r, fmt.Errorf("mbsync: %w: apt-get install isync", err)
	}
	r.Note = strings.TrimSpace(string(version)) + ", FSync no"
	into := filepath.Join(dir, "mbsync")
	if err := os.MkdirAll(into, 0o755); err != nil {
		return r, err
	}
	conf := filepath.Join(dir, "mbsyncrc")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `FSync no

IMAPAccount bench
Host %s
Port %d
User %s
Pass %s
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account bench

MaildirStore near
Path %[6]s/
Inbox %[6]s/INBOX
SubFolders Verbatim

Channel bench
Far :far:
Near :near:
Patterns INBOX Ausgang
Create Near
Sync Pull
SyncState *
`, s.Host, s.Port, s.User, s.Password, s.CA, into), 0o600); err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, "mbsync", "-q", "-c", conf, "bench")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	// Its peak can only be read while it lives. It grows with what it has read: the last look is close enough.
	ended := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if mb, err := peak(cmd.Process.Pid); err == nil {
				r.PeakMB = mb
			}
			select {
			case <-tick.C:
			case <-ended:
				return
			}
		}
	}()
	werr := cmd.Wait()
	r.Seconds = time.Since(start).Seconds()
	close(ended)
	<-watched
	r.User, r.System = cmd.ProcessState.UserTime().Seconds(), cmd.ProcessState.SystemTime().Seconds()
	err = filepath.WalkDir(into, func(path string, d os.DirEntry, err error) error {
		if dir := filepath.Base(filepath.Dir(path)); err == nil && !d.IsDir() && (dir == "cur" || dir == "new") {
			r.Mails++
		}
		return err
	})
	if werr != nil && r.Mails > 0 {
		// Mail that it can't copy is no reason to stop: the table says how much it has.
		r.Note += fmt.Sprintf("; it ended with %v: %s", werr, firstLine(said.String()))
	} else if werr != nil {
		err = fmt.Errorf("mbsync: %w: %s", werr, said.String())
	}
	return r, err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

package imap_test

import (
	"bufio"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
)

// script is a server with an inbox that has mod-sequences, which go-imap's server can't write: just enough of RFC 3501 and RFC 7162.
type script struct {
	t  *testing.T
	ln net.Listener

	mu       sync.Mutex // guards everything below
	uids     []uint32
	next     uint32
	modSeq   uint64
	untold   bool            // no UIDNEXT
	seq      string          // how HIGHESTMODSEQ is told: "" truly, "absent", "zero", "NOMODSEQ"
	refuse   bool            // EXAMINE takes no (CONDSTORE)
	flagged  map[uint32]bool // that another client has seen it was told, in the middle of an answer
	commands []string
}

func startScript(t *testing.T) *script {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, ln: ln, next: 1, modSeq: 1, flagged: map[uint32]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	return s
}

func (s *script) open(t *testing.T) *imap.Mailbox {
	t.Helper()
	m, err := imap.Dial(t.Context(), imap.Config{Host: "127.0.0.1", Port: s.ln.Addr().(*net.TCPAddr).Port, Username: "ada@example.com",
		Password: "secret", Security: imap.Insecure})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func (s *script) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *script) deliver() {
	s.do(func() { s.uids = append(s.uids, s.next); s.next++; s.modSeq++ })
}

// expunge raises HIGHESTMODSEQ only when it is told to: RFC 7162 wants that of servers with QRESYNC (3.2.7), and of no others.
func (s *script) expunge(i int, raises bool) {
	s.do(func() {
		s.uids = slices.Delete(s.uids, i, i+1)
		if raises {
			s.modSeq++
		}
	})
}

// saw returns the commands since it was last asked, by their first words.
func (s *script) saw() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.commands, ", ")
	s.commands = nil
	return out
}

const scriptCaps = "IMAP4rev1 CONDSTORE SASL-IR AUTH=PLAIN"

var uidRange = regexp.MustCompile(`UID (\d+)(?::(\d+|\*))?$`)

func (s *script) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewScanner(c)
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	say("* OK [CAPABILITY %s] ready", scriptCaps)
	for in.Scan() {
		tag, cmd, _ := strings.Cut(in.Text(), " ")
		s.answer(say, cmd, func(what string) { say("%s %s", tag, what) })
	}
}

func (s *script) answer(say func(string, ...any), cmd string, done func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := map[string]string{"": fmt.Sprint("HIGHESTMODSEQ ", s.modSeq), "zero": "HIGHESTMODSEQ 0"}[s.seq]
	word := strings.Fields(strings.ReplaceAll(cmd, `"`, ""))
	switch name := word[0]; {
	case name == "CAPABILITY":
		say("* CAPABILITY %s", scriptCaps)
		done("OK done")
	case name == "AUTHENTICATE":
		done("OK done")
	case name == "LIST":
		s.commands = append(s.commands, name)
		say(`* LIST () "/" INBOX`)
		say(`* LIST () "/" Sent`)
		done("OK done")
	case name == "STATUS":
		s.commands = append(s.commands, name+" "+word[1])
		if !s.refuse && !strings.Contains(cmd, "HIGHESTMODSEQ") || !strings.Contains(cmd, "MESSAGES") {
			s.t.Errorf("asked %s", cmd)
		}
		items := []string{fmt.Sprint("MESSAGES ", len(s.uids)), "UIDVALIDITY 7"}
		if !s.untold {
			items = append(items, fmt.Sprint("UIDNEXT ", s.next))
		}
		if s.seq == "NOMODSEQ" {
			told = "HIGHESTMODSEQ 0" // RFC 7162, 3.1.7: the value of a mailbox that has none
		}
		if told != "" {
			items = append(items, told)
		}
		if word[1] == "Sent" {
			items = []string{"MESSAGES 0", "UIDVALIDITY 3", "UIDNEXT 1"}
		}
		say("* STATUS %s (%s)", word[1], strings.Join(items, " "))
		done("OK done")
	case name == "EXAMINE" && s.refuse && strings.Contains(cmd, "CONDSTORE"):
		done("BAD what?")
	case name == "EXAMINE" && word[1] == "Sent": // where nothing ever happens
		s.commands = append(s.commands, "EXAMINE Sent")
		say("* 0 EXISTS")
		say("* OK [UIDVALIDITY 3] valid")
		say("* OK [UIDNEXT 1] next")
		done("OK [READ-ONLY] done")
	case name == "EXAMINE":
		s.commands = append(s.commands, "EXAMINE INBOX")
		if !s.refuse && !strings.Contains(cmd, "(CONDSTORE)") {
			s.t.Errorf("asked %s", cmd)
		}
		say("* %d EXISTS", len(s.uids))
		say("* OK [UIDVALIDITY 7] valid")
		if !s.untold {
			say("* OK [UIDNEXT %d] next", s.next)
		}
		if s.seq == "NOMODSEQ" {
			told = "NOMODSEQ"
		}
		if told != "" {
			say("* OK [%s] highest", told)
		}
		done("OK [READ-ONLY] done")
	case strings.HasPrefix(cmd, "UID SEARCH"):
		s.commands = append(s.commands, "SEARCH")
		from, to := uint32(0), uint32(math.MaxUint32)
		m := uidRange.FindStringSubmatch(cmd)
		if m != nil {
			fmt.Sscan(m[1], &from) //nolint:errcheck // digits
			if to = from; m[2] == "*" {
				to = math.MaxUint32
			} else if m[2] != "" {
				fmt.Sscan(m[2], &to) //nolint:errcheck // digits
			}
		} else if !strings.HasSuffix(cmd, "ALL") {
			s.t.Errorf("the script has no answer to %s", cmd)
		}
		found := ""
		for i, uid := range s.uids {
			// RFC 3501, 6.4.8: n:* holds the last message whatever n is.
			if uid >= from && uid <= to || i == len(s.uids)-1 && to == math.MaxUint32 {
				found += fmt.Sprint(" ", uid)
			}
		}
		say("* SEARCH%s", found)
		done("OK done")
	case strings.HasPrefix(cmd, "UID FETCH"):
		s.commands = append(s.commands, "FETCH")
		set, _, _ := strings.Cut(strings.TrimPrefix(cmd, "UID FETCH "), " ")
		for i, uid := range s.uids {
			var lo, hi uint32
			for r := range strings.SplitSeq(set, ",") {
				if n, _ := fmt.Sscanf(r, "%d:%d", &lo, &hi); n == 1 {
					hi = lo
				}
				if uid < lo || uid > hi {
					continue
				}
				h := fmt.Sprintf("Subject: m%d\r\n\r\n", uid)
				// RFC 7162, 3.1: once CONDSTORE is enabled, MODSEQ comes with changes of flags that nobody asked for.
				if !s.flagged[uid] {
					s.flagged[uid] = true
					say("* %d FETCH (UID %d MODSEQ (%d) FLAGS (\\Seen))", i+1, uid, s.modSeq)
				}
				say("* %d FETCH (UID %d FLAGS () INTERNALDATE \"10-Mar-2026 12:00:00 +0000\" RFC822.SIZE %d BODY[HEADER] {%d}\r\n%s)", i+1, uid, len(h), len(h), h)
			}
		}
		done("OK done")
	default:
		s.t.Errorf("the script has no answer to %s", cmd)
		done("BAD unknown")
	}
}

func TestCondStore(t *testing.T) {
	const list = "LIST, EXAMINE Sent, STATUS INBOX" // Sent is open
	for name, c := range map[string]struct {
		untold, refuse bool
		seq            string
		quiet          string // what is asked when nothing happened
	}{
		"UIDNEXT and HIGHESTMODSEQ": {quiet: list},
		"HIGHESTMODSEQ alone":       {untold: true, quiet: list},
		"NOMODSEQ":                  {seq: "NOMODSEQ", quiet: list},
		"NOMODSEQ, UIDNEXT untold":  {seq: "NOMODSEQ", untold: true, quiet: list + ", EXAMINE INBOX, SEARCH"},
		"zero, UIDNEXT untold":      {seq: "zero", untold: true, quiet: list + ", EXAMINE INBOX, SEARCH"},
		"absent, UIDNEXT untold":    {seq: "absent", untold: true, quiet: list + ", EXAMINE INBOX, SEARCH"},
		"offered and refused":       {refuse: true, quiet: list},
	} {
		t.Run(name, func(t *testing.T) {
			s := startScript(t)
			s.untold, s.refuse, s.seq = c.untold, c.refuse, c.seq
			s.deliver()
			s.deliver()
			r := newReader(t, s.open(t))
			r.drain(t)                                                               // once for a cursor that knows HIGHESTMODSEQ of EXAMINE
			for range r.box.Inventory(t.Context(), provider.Scope{Folder: "Sent"}) { //nolint:revive // it leaves Sent open
			}
			s.saw()
			if !r.drain(t).quiet() {
				t.Fatalf("news from nowhere: %q %q", r.items(), r.recounts())
			}
			if got := s.saw(); got != c.quiet {
				t.Errorf("without news it asked %s, want %s", got, c.quiet)
			}
			for _, raises := range []bool{true, false} {
				s.expunge(0, raises)
				if r.drain(t); r.recounts() != "INBOX" || r.items() != "" {
					t.Errorf("one went, HIGHESTMODSEQ raised %v: recounts %q, items %q", raises, r.recounts(), r.items())
				}
				s.deliver()
				if r.drain(t); r.items() == "" || r.recounts() != "" {
					t.Errorf("one came: recounts %q, items %q", r.recounts(), r.items())
				}
				s.deliver()
				s.expunge(0, raises)
				if r.drain(t); r.items() == "" || r.recounts() != "INBOX" {
					t.Errorf("one came and one went, HIGHESTMODSEQ raised %v: recounts %q, items %q", raises, r.recounts(), r.items())
				}
			}
			// A restored backup, or another machine of a cluster: the value falls, and has fallen to what it was.
			s.do(func() { s.modSeq -= 3 })
			if !r.drain(t).quiet() {
				t.Errorf("HIGHESTMODSEQ fell: %q %q", r.items(), r.recounts())
			}
			s.do(func() { s.modSeq-- })
			s.deliver()
			s.expunge(0, false)
			if r.drain(t); !c.untold && (r.items() == "" || r.recounts() != "INBOX") {
				t.Errorf("HIGHESTMODSEQ fell and rose to the same: recounts %q, items %q", r.recounts(), r.items())
			}
		})
	}
}

package message_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/message"
)

// corpus returns the directory of collected mail, which is not part of the repository.
func corpus(t *testing.T) string {
	dir := os.Getenv("EMAILINT_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "corpus")
	}
	if _, err := os.Stat(filepath.Join(dir, "automated", "MANIFEST.tsv")); err != nil {
		t.Skipf("no corpus: set EMAILINT_CORPUS to the directory that holds automated/, human/ and parse/: %v", err)
	}
	return dir
}

type corpusFile struct {
	name, labels string
	raw          []byte
}

func manifest(t *testing.T, dir string) []corpusFile {
	f, err := os.Open(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var files []corpusFile
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		c := strings.Split(sc.Text(), "\t")
		if len(c) < 5 || c[0] == "file" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, c[0]))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, corpusFile{c[0], c[4], raw})
	}
	return files
}

func hasLabel(labels, label string) bool {
	for l := range strings.SplitSeq(labels, ";") {
		if l == label {
			return true
		}
	}
	return false
}

func TestCorpusAutomated(t *testing.T) {
	dir := corpus(t)
	classes := map[string]message.Class{"bounce": message.Bounce, "auto_reply": message.AutoReply, "mdn": message.Receipt,
		"feedback_loop": message.Report, "report": message.Report, "newsletter_or_bulk": message.Newsletter, "notification": message.Notification}
	var n, hit, hitHeader, right int
	for _, f := range manifest(t, filepath.Join(dir, "automated")) {
		if !hasLabel(f.labels, "automated") {
			continue
		}
		n++
		m := message.Parse(f.raw)
		if m.Automated.Class != "" {
			hit++
		} else {
			t.Logf("missed %s (%s) from %v subject %q", f.name, f.labels, m.From, m.Subject)
		}
		if message.ParseHeader(f.raw).Automated.Class != "" {
			hitHeader++
		}
		for l, c := range classes {
			if hasLabel(f.labels, l) && c == m.Automated.Class {
				right++
			} else if hasLabel(f.labels, l) && m.Automated.Class != "" && testing.Verbose() {
				t.Logf("class %s: %s wanted %s, reason %s", f.name, m.Automated.Class, c, m.Automated.Reason)
			}
		}
	}
	t.Logf("automated: %d of %d caught (%.2f%%), by header alone %d (%.2f%%), class as labelled %d (%.2f%%)",
		hit, n, pct(hit, n), hitHeader, pct(hitHeader, n), right, pct(right, n))
	atLeast(t, "automated caught", pct(hit, n), 98.5)
	atLeast(t, "class as labelled", pct(right, n), 96)
}

func TestCorpusHuman(t *testing.T) {
	dir := corpus(t)
	var n, flagged, header int
	for _, f := range manifest(t, filepath.Join(dir, "human")) {
		n++
		m := message.Parse(f.raw)
		if m.Automated.Class != "" {
			flagged++
			t.Logf("flagged %s (%s) as %s: %s; from %v subject %q", f.name, f.labels, m.Automated.Class, m.Automated.Reason, m.From, m.Subject)
		}
		if message.ParseHeader(f.raw).Automated.Class != "" {
			header++
		}
	}
	t.Logf("human: %d of %d flagged (%.2f%%), by header alone %d", flagged, n, pct(flagged, n), header)
	atLeast(t, "human left alone", 100-pct(flagged, n), 99.5)
}

func pct(a, b int) float64 { return 100 * float64(a) / float64(max(b, 1)) }

func atLeast(t *testing.T, what string, got, want float64) {
	t.Helper()
	if got < want {
		t.Errorf("%s: %.2f%%, want at least %.2f%%", what, got, want)
	}
}

// TestCorpusParse compares with what the authors of imap_tools expect of their fixtures.
func TestCorpusParse(t *testing.T) {
	dir := filepath.Join(corpus(t), "parse")
	for _, f := range manifest(t, dir) {
		m := message.Parse(f.raw)
		checkLaw(t, f.raw, m)
	}
	type expected struct {
		Subject     string
		From        string `json:"from_"`
		To          []string
		Attachments []struct{ Filename string }
	}
	var n, from, to, subject, attachments int
	names, _ := filepath.Glob(filepath.Join(dir, "expected", "imap_tools", "*.json"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var want expected
		if err := json.Unmarshal(b, &want); err != nil {
			continue
		}
		base := strings.TrimSuffix(filepath.Base(name), ".json")
		short := base[strings.LastIndex(base, "__")+1:]
		var raw []byte
		for _, name := range []string{"imap_tools/" + base, "imap_tools/" + strings.TrimPrefix(short, "_"), "mikel-mail/" + strings.TrimPrefix(short, "_")} {
			if raw, err = os.ReadFile(filepath.Join(dir, name+".eml")); err == nil {
				break
			}
		}
		if err != nil {
			continue
		}
		n++
		m := message.Parse(raw)
		gotFrom := ""
		if len(m.From) > 0 {
			gotFrom = m.From[0].Addr
		}
		count(t, &from, base+" from", gotFrom, want.From)
		count(t, &subject, base+" subject", strings.Join(strings.Fields(m.Subject), " "), strings.Join(strings.Fields(want.Subject), " "))
		var got []string
		for _, a := range m.To {
			got = append(got, a.Addr)
		}
		count(t, &to, base+" to", fmt.Sprint(got), fmt.Sprint(want.To))
		var g, w []string
		for _, a := range m.Attachments {
			g = append(g, a.Name)
		}
		for _, a := range want.Attachments {
			w = append(w, a.Filename)
		}
		sort.Strings(g)
		sort.Strings(w)
		count(t, &attachments, base+" attachments", fmt.Sprintf("%q", g), fmt.Sprintf("%q", w))
	}
	t.Logf("imap_tools: of %d files from %d, to %d, subject %d, attachments %d as expected", n, from, to, subject, attachments)
	for what, got := range map[string]int{"from": from, "to": to, "subject": subject, "attachments": attachments} {
		atLeast(t, what, pct(got, n), 90)
	}
}

func count(t *testing.T, n *int, what, got, want string) {
	if got == want {
		*n++
		return
	}
	t.Logf("%s: got %.200s, imap_tools has %.200s", what, got, want)
}

package main

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/intellicon/email-integration/message"
)

// What is measured is only as good as the mail: its sizes, its shares, and that two runs read the same.
func TestMails(t *testing.T) {
	const n = 4000
	var sizes []int
	known, sent, attached, defects, replies := 0, 0, 0, 0, 0
	w := newWorld(n, 1)
	people := map[message.Key]bool{}
	for _, p := range w.people {
		if people[p.key()] {
			t.Fatalf("%s is two people", p.address)
		}
		people[p.key()] = p.known
	}
	read := func(w *world) (sum [32]byte) {
		h := sha256.New()
		for m := range w.mails() {
			h.Write(m.raw)
		}
		return [32]byte(h.Sum(nil))
	}
	for m := range w.mails() {
		sizes = append(sizes, len(m.raw))
		p := message.Parse(m.raw)
		if slices.ContainsFunc(slices.Concat(p.From, p.To), func(a message.Address) bool { return people[a.Key] }) {
			known++
		}
		if m.folder == sentFolder {
			sent++
		}
		if len(p.Attachments) > 0 {
			attached++
		}
		if len(p.Defects) > 0 {
			defects++
		}
		if len(p.InReplyTo) > 0 {
			replies++
		}
		if bytes.Contains(m.raw, []byte("\r\n")) {
			t.Fatal("a Maildir's lines end with LF")
		}
	}
	slices.Sort(sizes)
	if len(sizes) != n {
		t.Fatalf("%d mails, want %d", len(sizes), n)
	}
	for _, c := range []struct {
		what     string
		got      int
		min, max int
	}{
		{"the median of the sizes", sizes[n/2], 9_000, 11_000},
		{"the largest", sizes[n-1], 500_000, 3_000_000},
		{"mails with a known person", known, n * 8 / 100, n * 12 / 100},
		{"in Sent", sent, n / 10, n / 4},
		{"with attachments", attached, n / 20, n / 4},
		{"with defects that the parser names", defects, n / 400, n / 25},
		{"replies", replies, n / 4, n * 3 / 4},
	} {
		if c.got < c.min || c.got > c.max {
			t.Errorf("%s: %d, want %d to %d", c.what, c.got, c.min, c.max)
		}
	}
	one, two, other := read(newWorld(300, 7)), read(newWorld(300, 7)), read(newWorld(300, 8))
	if one != two || one == other {
		t.Error("a seed should always give the same mails, and another one others")
	}
}

// What reading a mail costs without any server: the whole, and the header that every listed mail is read by.
func BenchmarkParse(b *testing.B) {
	var mails [][]byte
	for m := range newWorld(1000, 1).mails() {
		mails = append(mails, bytes.ReplaceAll(m.raw, []byte("\n"), []byte("\r\n")))
	}
	for name, parse := range map[string]func([]byte){
		"whole":  func(raw []byte) { message.Parse(raw) },
		"header": func(raw []byte) { message.ParseHeader(raw[:bytes.Index(raw, []byte("\r\n\r\n"))+4]) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				parse(mails[i%len(mails)])
			}
		})
	}
}

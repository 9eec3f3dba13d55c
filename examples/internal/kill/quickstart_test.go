package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestDifferences(t *testing.T) {
	read := func(report, dump string) *outcome {
		t.Helper()
		path := filepath.Join(t.TempDir(), "dump")
		if err := os.WriteFile(path, []byte(dump), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := newOutcome([]byte(report), path)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	whole := read("{\n\"messages\": 3,\n\"seconds\": 0.5\n}", "a\nb\nb\n")
	for _, c := range []struct {
		name, report, dump string
		want               []string
	}{
		{"other seconds and another order are equal", "{\n\"messages\": 3,\n\"seconds\": 9.5\n}", "b\na\nb\n", nil},
		{"lost", "{\n\"messages\": 3,\n\"seconds\": 0.5\n}", "a\nb\n", []string{"- b"}},
		{"twice", "{\n\"messages\": 3,\n\"seconds\": 0.5\n}", "a\nb\nb\nb\n", []string{"+ b"}},
		{"changed", "{\n\"messages\": 3,\n\"seconds\": 0.5\n}", "a\nb\nc\n", []string{"- b", "+ c"}},
		{"counted otherwise", "{\n\"messages\": 2,\n\"seconds\": 0.5\n}", "a\nb\nb\n", []string{`+ "messages": 2,`, `- "messages": 3,`}},
	} {
		if got := whole.differences(read(c.report, c.dump)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if whole.work != 500*time.Millisecond || whole.messages != 3 {
		t.Errorf("work %v, messages %d", whole.work, whole.messages)
	}
}

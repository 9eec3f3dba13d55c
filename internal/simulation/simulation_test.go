package simulation

import (
	"bytes"
	"testing"
)

// A few dozen seeds; CI and docs/reliability.md run more by bench/simulation.
func TestSeeds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		s := Generate(seed)
		r, err := Run(t.Context(), s, nil)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, v := range r.Violations {
			t.Errorf("seed %d (%s): %s", seed, s.Profile, v)
		}
		if t.Failed() {
			t.Fatalf("go run ./bench/simulation -from %d -seeds 1 prints the shortest trace", seed)
		}
	}
}

// The same seed runs exactly the same: every failpoint passed by every worker, every event, and what is there at rest.
func TestSameSeedSameRun(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		var logs [2]bytes.Buffer
		var hashes [2]uint64
		for i := range logs {
			r, err := Run(t.Context(), Generate(seed), &logs[i])
			if err != nil {
				t.Fatal(err)
			}
			hashes[i] = r.Hash
		}
		if hashes[0] != hashes[1] {
			t.Errorf("seed %d ran in two ways; they part at\n%s", seed, parting(logs[0].Bytes(), logs[1].Bytes()))
		}
	}
}

// parting is where two logs begin to differ.
func parting(a, b []byte) string {
	as, bs := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(as), len(bs)) {
		if !bytes.Equal(as[i], bs[i]) {
			return string(bytes.Join(as[max(0, i-5):i+1], []byte("\n"))) + "\nor\n" + string(bs[i])
		}
	}
	return "their ends"
}

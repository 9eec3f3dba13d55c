package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/intellicon/email-integration/emailint/internal/seal"
)

func TestSealedValuesOpenOnlyInTheirRow(t *testing.T) {
	old := seal.Key{ID: "2025", Secret: bytes.Repeat([]byte{1}, 32)}
	now := seal.Key{ID: "2026", Secret: bytes.Repeat([]byte{2}, 32)}
	before, err := seal.New(old)
	if err != nil {
		t.Fatal(err)
	}
	v, err := before.Seal([]byte("secret"), "connection/1")
	if err != nil || bytes.Contains(v, []byte("secret")) {
		t.Fatalf("Seal = %q, %v", v, err)
	}
	after, err := seal.New(now, old)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := after.Open(v, "connection/1"); err != nil || string(got) != "secret" {
		t.Errorf("after a rotation: %q, %v", got, err)
	}
	if _, err := after.Open(v, "connection/2"); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("a moved row opened: %v", err)
	}
	alone, _ := seal.New(now)
	if _, err := alone.Open(v, "connection/1"); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("without its key it opened: %v", err)
	}
	for i := range v {
		bad := bytes.Clone(v)
		bad[i] ^= 1
		if _, err := after.Open(bad, "connection/1"); !errors.Is(err, seal.ErrSealed) {
			t.Fatalf("altered at %d it opened: %v", i, err)
		}
	}
}

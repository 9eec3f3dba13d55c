package panics

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestCaught(t *testing.T) {
	var told bytes.Buffer
	log := slog.New(slog.NewTextHandler(&told, nil))
	own := errors.New("an error")
	if err := Caught(t.Context(), log, "it", func() error { return own }); err != own || told.Len() > 0 {
		t.Errorf("an error became %v, and %q is logged", err, &told)
	}
	err := Caught(t.Context(), log, "it", func() error { panic("the text of a mail") })
	if err == nil || err.Error() != "it panicked: with a string" {
		t.Errorf("a panic became %v", err)
	}
	if !strings.Contains(told.String(), "in=it") || !strings.Contains(told.String(), "TestCaught") || strings.Contains(told.String(), "the text of a mail") {
		t.Errorf("logged is %q", &told)
	}
	var none []int
	err = Caught(t.Context(), log, "it", func() error { none[0]++; return nil })
	if err == nil || !strings.Contains(err.Error(), "index out of range") {
		t.Errorf("a slip became %v", err)
	}
}

func TestFatal(t *testing.T) {
	defer func() {
		if v := fmt.Sprint(recover()); !strings.Contains(v, "in=it") || !strings.Contains(v, "TestFatal") {
			t.Errorf("it went on with %q", v)
		}
	}()
	Fatal().Error("something else")
	err := Caught(t.Context(), Fatal(), "it", func() error { panic("a fault") })
	t.Errorf("it was caught: %v", err)
}

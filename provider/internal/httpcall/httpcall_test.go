package httpcall_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider/internal/httpcall"
)

// A body that is too long is an error, and not its beginning.
func TestBody(t *testing.T) {
	for limit, want := range map[int64]error{9: httpcall.ErrTooLong, 10: nil, 11: nil} {
		b, err := io.ReadAll(&httpcall.Body{ReadCloser: io.NopCloser(strings.NewReader("0123456789")), Left: limit})
		if err != want || len(b) != int(min(limit, 10)) {
			t.Errorf("%d: %q, %v", limit, b, err)
		}
	}
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		begun := time.Now()
		if !httpcall.Pause(ctx, 30*time.Second) || httpcall.Pause(ctx, time.Hour) || time.Since(begun) != time.Minute {
			t.Errorf("it took %v", time.Since(begun))
		}
	})
}

// Where both are over at once the context did not live.
func TestPauseIsOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if httpcall.Pause(ctx, 0) {
			t.Fatal("a context that had ended lived")
		}
	}
}

// Package httpcall is what calls of every HTTP API need.
package httpcall

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrTooLong is of a body that is longer than is read of it.
var ErrTooLong = errors.New("the answer is longer than is read")

// Body ends a body that is too long with ErrTooLong, instead of giving its beginning for all of it.
type Body struct {
	io.ReadCloser
	Left int64 // bytes that may still be read
}

func (b *Body) Read(p []byte) (int, error) {
	if b.Left <= 0 {
		var one [1]byte
		if n, err := b.ReadCloser.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, ErrTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.Left)])
	b.Left -= int64(n)
	return n, err
}

// Pause waits, and reports whether the context lived through it.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil // both may be over
	case <-ctx.Done():
		return false
	}
}

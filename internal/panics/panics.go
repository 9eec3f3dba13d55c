// Package panics keeps a panic in what others wrote, or over what a stranger sent, from ending the host's process: one mailbox has a bad day, and the
// others go on.
package panics

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
)

const caught = "a panic was caught"

// Caught runs f and makes an error of its panic, which is logged with the stack. what says in what it was: "SaveEmails".
func Caught(ctx context.Context, log *slog.Logger, what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything, mail too: only what the runtime says is repeated.
			said := fmt.Sprintf("with a %T", v)
			if re, ok := v.(runtime.Error); ok {
				said = re.Error()
			}
			log.ErrorContext(ctx, caught, "in", what, "panic", said, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s panicked: %s", what, said)
		}
	}()
	return f()
}

// Fatal is a logger with which nothing is caught: for tests, in which a panic that nobody asked for is a fault.
func Fatal() *slog.Logger { return slog.New(fatal{}) }

type fatal struct{}

// Enabled implements slog.Handler.
func (fatal) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

// Handle implements slog.Handler.
func (fatal) Handle(_ context.Context, r slog.Record) error {
	if r.Message != caught {
		return nil
	}
	text := caught
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	panic(text)
}

// WithAttrs implements slog.Handler.
func (f fatal) WithAttrs([]slog.Attr) slog.Handler { return f }

// WithGroup implements slog.Handler.
func (f fatal) WithGroup(string) slog.Handler { return f }

// Package program starts the examples and ends them: ctrl-C, and an error in one line. It imports the standard library alone, as each example should
// compile only what it shows.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Main runs an example until it ends. Ctrl-C and SIGTERM end its context, the second one ends the program; an error is printed in one line, and the program
// fails.
func Main(name string, run func(ctx context.Context, args []string, out io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	}
	fmt.Fprintln(os.Stderr, Line(name, err))
	os.Exit(1)
}

// Line is an error in one line that begins with the program's name.
func Line(name string, err error) string {
	return name + ": " + strings.ReplaceAll(strings.TrimPrefix(err.Error(), name+": "), "\n", "; ")
}

// Parse reads the flags of args, and the one argument that may stand before or after them. With -help it prints usage and the flags to out, and returns
// flag.ErrHelp.
func Parse(fs *flag.FlagSet, usage string, args []string, out io.Writer) (argument string, err error) {
	fs.SetOutput(io.Discard)
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		argument, args = args[0], args[1:]
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(out, "usage:", usage) //nolint:errcheck // to a terminal
		fs.SetOutput(out)
		fs.PrintDefaults()
		return "", err
	case err != nil:
		return "", err
	}
	if argument == "" && fs.NArg() == 1 {
		return fs.Arg(0), nil
	}
	if fs.NArg() > 0 {
		return "", fmt.Errorf("%q is one argument too many; see -help", fs.Arg(0))
	}
	return argument, nil
}

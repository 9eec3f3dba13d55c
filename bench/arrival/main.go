// Command arrival measures how long a mail takes from the mail server to its link in the CRM, and how fast a mailbox is imported, over
// real IMAP on this machine: Engine.Run with IDLE, SQLite on a file, a CRM in memory. Beside each number, in the same run, stands what
// people would use instead: a plain go-imap client that does the same reading and nothing else.
//
//	arrival [-n MAILS] [-burst MAILS] [-quiet 100ms] [-mbox FILE] [-crm FILE] [-dovecot] [-timeline] [-cpuprofile PREFIX] [-short]
//
// Without -dovecot the server is the embedded one. With it, the Dovecot named by the EMAILINT_DOVECOT variables: start a fresh one with
// .ci/dovecot/start, as the mbox is filed in its INBOX first.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"github.com/intellicon/email-integration/internal/mailworld"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "arrival:", err)
		os.Exit(1)
	}
}

type options struct {
	n, burst                 int
	quiet                    time.Duration
	mbox, crm, profile       string
	dovecot, timeline, short bool
}

func run(ctx context.Context, args []string) error {
	var o options
	fs := flag.NewFlagSet("arrival", flag.ContinueOnError)
	fs.IntVar(&o.n, "n", 100, "mails that arrive one by one, each when the one before was linked")
	fs.IntVar(&o.burst, "burst", 100, "mails that arrive at once")
	fs.DurationVar(&o.quiet, "quiet", 100*time.Millisecond, "pause between two of those, so that everybody idles again")
	fs.StringVar(&o.mbox, "mbox", "../shared/corpus/threads/spamassassin-easy-ham-1/spamassassin-easy-ham-1.mbox",
		"what lies in the mailbox and is imported first; \"\": quickstart's small world")
	fs.StringVar(&o.crm, "crm", "examples/quickstart/testdata/list.json", "the CRM's records")
	fs.StringVar(&o.profile, "cpuprofile", "", "write CPU profiles: PREFIX.import, and PREFIX.arrival of the mails that arrive one by one")
	fs.BoolVar(&o.dovecot, "dovecot", false, "use the Dovecot named by the EMAILINT_DOVECOT variables")
	fs.BoolVar(&o.timeline, "timeline", false, "print where the time of the mails that arrive one by one goes")
	fs.BoolVar(&o.short, "short", false, "10 mails, a burst of 20, and quickstart's small world")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%q is no flag; see -help", fs.Arg(0))
	}
	if o.short {
		o.n, o.burst, o.mbox = 10, 20, ""
	}
	if o.n < 1 || o.burst < 1 {
		return errors.New("-n and -burst are at least 1")
	}
	mails := mailworld.Mails(time.Now(), 1)
	if o.mbox != "" {
		var err error
		if mails, err = mailworld.FromMbox(o.mbox); err != nil {
			return err
		}
	}
	srv, err := openServer(o.dovecot, mails)
	if err != nil {
		return err
	}
	defer srv.close()
	fmt.Printf("server: %s\n", srv.name)
	e, err := importing(ctx, srv, o)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer e.close()
	return arriving(ctx, srv, e, o)
}

// imports is how often the import is measured, each time into an empty state; the median counts.
const imports = 3

// importing reads the mailbox with the engine and with a plain client, and returns the last engine.
func importing(ctx context.Context, srv *server, o options) (*engine, error) {
	var ours, theirs times
	var e *engine
	var messages int
	var bytes int64
	for i := range imports {
		var plain time.Duration
		var err error
		if messages, bytes, plain, err = srv.readAll(); err != nil {
			return nil, err
		}
		theirs = append(theirs, plain)
		if e != nil {
			e.close()
		}
		if e, err = newEngine(ctx, srv, o.crm); err != nil {
			return nil, err
		}
		profiled := func() {}
		if i == imports-1 {
			if profiled, err = profile(o.profile, "import"); err != nil {
				return nil, err
			}
		}
		took, err := e.read(ctx, messages)
		profiled()
		if err != nil {
			return nil, err
		}
		ours = append(ours, took)
	}
	line := func(name string, t times) {
		d := t.at(50)
		fmt.Printf("  %-44s %7.3f s  %7.0f mails/s\n", name, d.Seconds(), float64(messages)/d.Seconds())
	}
	fmt.Printf("\nimport of %d messages (%.1f MB), median of %d\n", messages, float64(bytes)/1e6, imports)
	line(fmt.Sprintf("emailint: ledger, linking, %d emails saved", len(e.crm.Emails(org))), ours)
	line("plain go-imap: all headers and bodies", theirs)
	fmt.Printf("  ratio of the times: %.1f\n", ours.at(50).Seconds()/theirs.at(50).Seconds())
	return e, nil
}

// arriving lets mails arrive, first for the engine and then for the plain loop, so that neither takes the other's processor.
func arriving(ctx context.Context, srv *server, e *engine, o options) error {
	in, err := newPost(srv)
	if err != nil {
		return err
	}
	defer in.close()

	stop, err := e.start(ctx, in)
	if err != nil {
		return err
	}
	profiled, err := profile(o.profile, "arrival")
	if err != nil {
		return err
	}
	e.marks.reset()
	var single, burst series
	for range o.n {
		time.Sleep(o.quiet)
		if err := single.measure(in, e, 1); err != nil {
			return err
		}
	}
	profiled()
	marks := e.marks.reset()
	if err := burst.measure(in, e, o.burst); err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}

	loop, err := newPlainLoop(srv)
	if err != nil {
		return err
	}
	defer loop.close()
	var plainSingle, plainBurst series
	for range o.n {
		time.Sleep(o.quiet)
		if err := plainSingle.measure(in, loop, 1); err != nil {
			return err
		}
	}
	if err := plainBurst.measure(in, loop, o.burst); err != nil {
		return err
	}

	fmt.Printf("\n%d mails one by one, from the mail to its link\n", o.n)
	compare(&single, &plainSingle)
	fmt.Printf("\n%d mails at once, from each mail to its link\n", o.burst)
	compare(&burst, &plainBurst)
	fmt.Printf("  all %d, from the first APPEND to the last: emailint %.0f ms, %.0f mails/s; plain %.0f ms, %.0f mails/s\n", o.burst,
		ms(burst.all), float64(o.burst)/burst.all.Seconds(), ms(plainBurst.all), float64(o.burst)/plainBurst.all.Seconds())
	mean := single.appended.mean()
	fmt.Printf("\npolling every 60 s: a mail waits 30 s in the mean (arithmetic, not measured), %.0f times the %.0f ms of emailint after APPEND\n",
		30/mean.Seconds(), ms(mean))
	fmt.Printf("aim, p50 under 100 ms after the server's word: %s\n", map[bool]string{true: "met", false: "MISSED"}[single.told.at(50) < 100*time.Millisecond])
	if o.timeline {
		marks.print(single.words)
	}
	return nil
}

// profile writes a CPU profile until stop is called; it does nothing without a prefix.
func profile(prefix, part string) (stop func(), err error) {
	if prefix == "" {
		return func() {}, nil
	}
	f, err := os.Create(prefix + "." + part)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "arrival: writing the profile:", err)
		}
	}, nil
}

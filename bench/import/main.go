// Command import measures how fast a mailbox is imported, beside what people would use instead, in one run over one Dovecot: emailint with
// everything on (ledger, linking, content of what links, a SQL CRM), once with a tenth of the mail linking and once with all of it;
// mbsync, which copies the mailbox into files; and a go-imap client that fetches everything and drops it.
//
//	eval "$(.ci/dovecot/start)" && go run ./bench/import [-n MAILS] [-seed SEED] [-state postgres://...] [-json] [-cpuprofile PREFIX] [-memprofile PREFIX]
//
// Each contender has a process of its own. Its CPU seconds are that process's alone: the server's are nobody's. Time is from signing in to the
// last commit. The exit is 1 where one of our mails is not accounted for. It needs mbsync (apt-get install isync).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

const sentFolder = "Ausgang"

func main() {
	var err error
	if len(os.Args) == 2 && os.Args[1] == "-contender" {
		err = contend(context.Background())
	} else {
		err = run(context.Background(), os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "import:", err)
		os.Exit(1)
	}
}

type options struct {
	n        int
	seed     uint64
	json     bool
	cpu, mem string
	only     string
	state    string
}

func run(ctx context.Context, args []string) (err error) {
	var o options
	fs := flag.NewFlagSet("import", flag.ContinueOnError)
	fs.IntVar(&o.n, "n", 20_000, "mails in the mailbox")
	fs.Uint64Var(&o.seed, "seed", 1, "of the mails")
	fs.StringVar(&o.state, "state", "", "the URL of a PostgreSQL database for emailint's state (synchronous_commit is off there); else it is SQLite in a file")
	fs.BoolVar(&o.json, "json", false, "print the numbers as JSON")
	fs.StringVar(&o.cpu, "cpuprofile", "", "write CPU profiles of emailint: PREFIX.tenth and PREFIX.all")
	fs.StringVar(&o.mem, "memprofile", "", "write profiles of what emailint allocates, named likewise")
	fs.StringVar(&o.only, "only", "", "run only the contenders whose name holds this, for profiling")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%q is no flag; see -help", fs.Arg(0))
	}
	if o.n < 100 {
		return errors.New("-n is at least 100")
	}
	srv, err := openServer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.close()) }()
	filed, err := srv.fill(newWorld(o.n, o.seed))
	if err != nil {
		return err
	}
	if !o.json {
		fmt.Printf("Dovecot (Maildir, TLS on loopback): %s; seed %d\n\n", &filed, o.seed)
	}
	rs, err := contest(ctx, o, srv)
	if err != nil {
		return err
	}
	if err := report(rs, o); err != nil {
		return err
	}
	for _, r := range rs {
		if r.Mails != o.n && r.Name != mbsyncName {
			return fmt.Errorf("%s: %d of %d mails are accounted for", r.Name, r.Mails, o.n)
		}
	}
	return nil
}

// contest lets one after the other read the mailbox, each into a directory of its own.
func contest(ctx context.Context, o options, srv *server) (rs []result, err error) {
	// Before it counts, once: Dovecot makes its indexes, and the files are in memory for everybody.
	if _, err := (job{Name: plainName, Server: *srv}).run(ctx); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "import")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	suffix := func(prefix, s string) string {
		if prefix == "" {
			return ""
		}
		return prefix + "." + s
	}
	emailint := func(name, short string, all bool) job {
		return job{Name: name, Server: *srv, Dir: filepath.Join(tmp, short), N: o.n, Seed: o.seed, All: all, State: o.state,
			Profile: profile{CPU: suffix(o.cpu, short), Mem: suffix(o.mem, short)}}
	}
	for _, j := range []job{
		{Name: plainName, Server: *srv},
		{Name: mbsyncName, Dir: filepath.Join(tmp, "mbsync")},
		emailint("emailint, a tenth links", "tenth", false),
		emailint("emailint, all links", "all", true),
	} {
		if !strings.Contains(j.Name, o.only) {
			continue
		}
		if j.Dir != "" {
			if err := os.Mkdir(j.Dir, 0o755); err != nil {
				return nil, err
			}
		}
		var r result
		if j.Name == mbsyncName {
			r, err = mbsync(ctx, srv, j.Dir)
		} else {
			r, err = j.run(ctx)
		}
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	return rs, nil
}

func report(rs []result, o options) error {
	if o.json {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", " ")
		return e.Encode(rs)
	}
	var base result
	for _, r := range rs {
		if r.Name == mbsyncName {
			base = r
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmails/s\tseconds\tCPU s\tpeak MB\tof it Go\taccounted for\tmails/s, of mbsync's\tCPU, of mbsync's\t")
	for _, r := range rs {
		held, speed, cpu := "", "", ""
		if r.GoMB > 0 {
			held = fmt.Sprintf("%.0f", r.GoMB)
		}
		if base.Seconds > 0 {
			speed, cpu = fmt.Sprintf("%.1f", r.rate()/base.rate()), fmt.Sprintf("%.1f", r.cpu()/base.cpu())
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.0f\t%s\t%d of %d\t%s\t%s\t\n", r.Name, r.rate(), r.Seconds, r.cpu(), r.PeakMB, held, r.Mails, o.n, speed, cpu)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range rs {
		if r.Note != "" {
			fmt.Printf("%s: %s\n", r.Name, r.Note)
		}
	}
	return nil
}

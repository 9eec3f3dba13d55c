package crash

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/provider/providertest"
)

func memory(ctx context.Context) (state.Store, error) { return sqlite.Open(ctx, ":memory:") }

var services = []providertest.Personality{providertest.IMAP, providertest.Gmail, providertest.Graph}

// options reads EMAILINT_CRASH: "all" runs every crash, a name that a failure printed runs that one, a number is the seed of the
// sample that runs otherwise.
func options(t *testing.T) Options {
	v := os.Getenv("EMAILINT_CRASH")
	if seed, err := strconv.ParseUint(v, 10, 64); err == nil {
		return Options{Seed: seed}
	}
	if v == "all" {
		return Options{All: true, Seed: 1}
	}
	return Options{All: v != "", Only: v, Seed: 1}
}

// The undisturbed run, to which all others are compared, ends as the mails of the script deserve.
func TestScenario(t *testing.T) {
	for _, p := range services {
		s, err := NewSuite(t.Context(), Config{Store: memory, Service: Fake(p)})
		if err != nil {
			t.Fatal(err)
		}
		at := func(name string) picture {
			return s.plain[slices.IndexFunc(script, func(st step) bool { return st.name == name })]
		}
		mails := func(step string) map[string]string {
			emails := map[string]string{}
			for _, l := range at(step) {
				if name, rest, ok := strings.Cut(strings.TrimPrefix(l, "email "), " of "); ok && strings.HasPrefix(l, "email ") {
					if _, twice := emails[name]; twice {
						t.Errorf("%s: %s is in the CRM twice", p, name)
					}
					emails[name] = rest
				}
			}
			return emails
		}
		check := func(step string, wants map[string][]string, none ...string) {
			emails := mails(step)
			for name, want := range wants {
				for _, part := range want {
					if !strings.Contains(emails[name], part) {
						t.Errorf("%s, %s: %s is %q, want %q in it", p, step, name, emails[name], part)
					}
				}
			}
			for _, gone := range none {
				if is, ok := emails[gone]; ok {
					t.Errorf("%s, %s: %s is in the CRM: %s", p, step, gone, is)
				}
			}
		}
		check("reconnect", map[string][]string{
			"old-both":      {"[ann bob], with content", "contact:ada by address", "account:customer by domain", "history"},
			"old-reply":     {"[ann], ", "contact:ada by thread old-both", "contact:new:private@elsewhere.example"},
			"old-sent":      {"[ann], with content", "contact:pat", "outbound", "history"},
			"old-zoe":       {"contact:pat", "contact:zoe"},
			"old-gift":      {"[bob], with content", "contact:santa"},
			"old-olaf":      {"[bob], with content", "contact:new:olaf@novel.example"},
			"both":          {"[ann bob], with content", "contact:ada", "lead:lee by person"},
			"memo":          {"[bob], with content", "contact:ada"}, // the sender deleted his copy, which alone had the Bcc
			"grandchild":    {"contact:pat by thread child"},
			"offer":         {"[ann], with content", "contact:ada", "outbound"},
			"offer-bob":     {"[bob], with content", "contact:ada", "outbound"},
			"answer":        {"[bob], with content", "contact:ada by thread offer", "opportunity:deal"},
			"lead":          {"lead:lee", "contact:ada"},
			"new-in-outage": {"contact:new:olaf@novel.example"},
			"untold":        {"[ann], with content", "contact:pat"},
			"declared":      {"[ann], with content", "contact:pat by host", "known as own-1"},
			"old-internal":  {"[bob], with content", "contact:zoe by host", "known as own-2"},
		}, "old-pat", "robot-nobody", "old-junk", "draft")
		check("through", map[string][]string{
			"below": {"[bob], with content", "contact:pat by thread middle"},
			"note":  {"[ann bob], with content", "contact:ada", "contact:pat by address", "outbound"},
		})
		check("erase", map[string][]string{
			"both":     {"[bob], with content", "contact:ada", "lead:lee by person"},
			"old-both": {"[bob], with content", "contact:ada by address", "history"},
			"note":     {"[bob], with content", "contact:ada"},
			"top":      {"[bob], with content", "contact:pat by address"},
		}, "below", "middle", "offer", "lead", "untold")
		if is := mails("erase")["note"]; strings.Contains(is, "contact:pat") || strings.Contains(is, "outbound") {
			t.Errorf("%s: what only ann's copy knew of note is still told: %s", p, is)
		}
		check("anew", map[string][]string{
			"below":  {"[bob], with content", "contact:pat by thread middle"},
			"note":   {"[ann bob], with content", "contact:ada", "contact:pat by address", "outbound"},
			"both":   {"lead:lee by person"},
			"to-ann": {"[bob], with content", "contact:ada"},
		})
		end := slices.Concat(s.plain...)
		for _, l := range end {
			if strings.Contains(l, "unknown mail") || strings.Contains(l, "item ") {
				t.Errorf("%s: a mail without a name: %s", p, l)
			}
		}
	}
}

func TestCrash(t *testing.T) {
	var mu sync.Mutex // guards below
	reached, ran := Reached{}, 0
	t.Run("services", func(t *testing.T) {
		for _, p := range services {
			t.Run(string(p), func(t *testing.T) {
				t.Parallel()
				mine := Run(t, Config{Store: memory, Service: Fake(p)}, options(t))
				mu.Lock()
				defer mu.Unlock()
				ran++
				for point, n := range mine {
					reached[point] += n
				}
			})
		}
	})
	if t.Failed() || options(t).Only != "" || ran < len(services) {
		return
	}
	for _, p := range failpoint.Points {
		switch n := reached[p.Name]; {
		case n == 0 && p.Unreached == "":
			t.Errorf("the scenario never comes by %s: let it, or say in the table why it can't", p.Name)
		case n > 0 && p.Unreached != "":
			t.Errorf("the scenario comes by %s, and the table says that it can't: %s", p.Name, p.Unreached)
		}
	}
}

// sampled is for what is too slow to be enumerated: few crashes of each step, more where everything runs.
func sampled(t *testing.T, few, more int) Options {
	o := options(t)
	o.Sample = few
	if o.All && o.Only == "" {
		o.All, o.Sample = false, more
	}
	return o
}

// A store in a file that every life opens anew shows that nothing but the file is carried over.
func TestCrashOnAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	paths := map[state.Store]string{}
	open := func(ctx context.Context, path string) (state.Store, error) {
		s, err := sqlite.Open(ctx, path)
		if err == nil {
			paths[s] = path
		}
		return s, err
	}
	o := sampled(t, 1, 10)
	Run(t, Config{
		Service: Fake(providertest.Graph),
		Store: func(ctx context.Context) (state.Store, error) {
			return open(ctx, filepath.Join(dir, strconv.Itoa(len(paths))+".db"))
		},
		Reopen: func(ctx context.Context, s state.Store) (state.Store, error) {
			if err := s.Close(); err != nil {
				return nil, err
			}
			return open(ctx, paths[s])
		},
	}, o)
}

// A server's database, which every life opens anew. All of it takes long.
func TestCrashOnPostgres(t *testing.T) {
	d, err := postgrestest.Connect(t.Context(), postgrestest.URL(t), 8, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range services {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.Sample = 1
			Run(t, Config{Service: Fake(p), Store: d.Open, Reopen: d.Reopen}, o)
		})
	}
}

package failpoint

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"iter"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// wrapped are the interfaces by which the engine reaches the outside, and what wraps them.
var wrapped = []struct {
	prefix string
	face   reflect.Type
	by     func(p *Process) any
}{
	{"state", reflect.TypeFor[state.Store](), func(p *Process) any { return &Store{p: p} }},
	{"crm", reflect.TypeFor[crm.Store](), func(p *Process) any { return &hostStore{p: p} }},
	{"crm", reflect.TypeFor[crm.Remover](), func(p *Process) any { return &hostStore{p: p} }},
	{"crm", reflect.TypeFor[crm.ChangeLister](), func(p *Process) any { return &hostStore{p: p} }},
	{"crm", reflect.TypeFor[crm.AddressLister](), func(p *Process) any { return &hostStore{p: p} }},
	{"provider", reflect.TypeFor[provider.Provider](), func(p *Process) any { return &opener{p: p} }},
	{"provider", reflect.TypeFor[provider.Authorizer](), func(p *Process) any { return &authorizer{p: p} }},
	{"provider", reflect.TypeFor[provider.Watcher](), func(p *Process) any { return &authorizer{p: p} }},
	{"provider", reflect.TypeFor[provider.Pusher](), func(p *Process) any { return &authorizer{p: p} }},
	{"mailbox", reflect.TypeFor[provider.Mailbox](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.Prefetcher](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.HistoryReader](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.Waiter](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.Poller](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.Archiver](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.Labeler](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.SentFiler](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.Searcher](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.Bounded](), func(p *Process) any { return &mailbox{p: p} }},
	{"mailbox", reflect.TypeFor[provider.Signer](), func(p *Process) any { return &mailbox{p: p} }},
	{"budget", reflect.TypeFor[provider.Budget](), nil},
	{"sender", reflect.TypeFor[provider.Sender](), func(p *Process) any { return &sender{p: p} }},
}

// exempt are methods that are no failpoints, with the reason.
var exempt = map[string]string{
	"state.Seal":           "does nothing, and can't be named here",
	"state.Close":          "the state outlives the process",
	"mailbox.Prefetch":     "a hint that changes nothing",
	"mailbox.HistoryAhead": "a hint that changes nothing",
	"mailbox.Polling":      "says how the mailbox waits, and reaches nothing",
	"mailbox.Close":        "a dead process's connections are closed as well",
	"mailbox.Since":        "a hint",
	"budget.Take":          "the engine's own is state.TakeQuota",
	"provider.Name":        "a constant",
	"provider.OAuth":       "a description",
	"provider.Subject":     "reads an answer",
	"provider.Refusal":     "reads an answer",
}

// further are points that are no methods.
var further = map[string]string{"sender.Open": "Options.Sender"}

// Every method has a point of its own in the table, passes it, and stops there when the process is dead. A method that a wrapper
// only inherits by embedding would reach the nil inside, and panic.
func TestTable(t *testing.T) {
	table := map[string]Point{}
	for _, p := range Points {
		if _, twice := table[p.Name]; twice {
			t.Errorf("%s stands twice in the table", p.Name)
		}
		if p.Means == "" {
			t.Errorf("%s doesn't say what a crash there means", p.Name)
		}
		table[p.Name] = p
	}
	known := map[string]bool{}
	for n := range further {
		known[n] = true
	}
	for _, w := range wrapped {
		for i := range w.face.NumMethod() {
			m := w.face.Method(i)
			name := w.prefix + "." + m.Name
			known[name] = true
			if exempt[name] != "" {
				continue
			}
			if _, ok := table[name]; !ok {
				t.Errorf("%s has no failpoint: wrap it in this package and add it to Points", name)
				continue
			}
			p := New(nil)
			p.Arm(&Stop{name, 1, Before}, 0)
			if err := call(t, w.by(p), m.Name); !errors.Is(err, ErrDead) {
				t.Errorf("%s: a process that dies there goes on: %v", name, err)
			}
			if got := p.Passed(); len(got) != 1 || got[0] != name {
				t.Errorf("%s passes %v", name, got)
			}
			if err := call(t, w.by(p), m.Name); !errors.Is(err, ErrDead) {
				t.Errorf("%s: a dead process goes on: %v", name, err)
			}
		}
	}
	for n := range table {
		if !known[n] {
			t.Errorf("%s is in the table, and nothing is called so", n)
		}
	}
	for n := range exempt {
		if !known[n] {
			t.Errorf("%s is exempt, and nothing is called so", n)
		}
	}
}

// call calls a method with zero arguments and returns its error.
func call(t *testing.T, on any, method string) (err error) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%T.%s passes no failpoint, it goes right to what it wraps: %v", on, method, r)
		}
	}()
	m := reflect.ValueOf(on).MethodByName(method)
	args := make([]reflect.Value, m.Type().NumIn())
	for i := range args {
		args[i] = reflect.Zero(m.Type().In(i))
		if m.Type().In(i) == reflect.TypeFor[context.Context]() {
			args[i] = reflect.ValueOf(t.Context())
		}
	}
	out := m.Call(args)
	last := out[len(out)-1].Interface()
	if seq, ok := last.(iter.Seq2[provider.Item, error]); ok {
		for _, err := range seq {
			return err
		}
		return nil
	}
	err, _ = last.(error)
	return err
}

// An interface that a provider or a host may fulfil and that nobody wraps would be a way around the failpoints.
func TestEveryInterfaceIsWrapped(t *testing.T) {
	known := map[string]bool{}
	for _, w := range wrapped {
		known[w.face.PkgPath()+"."+w.face.Name()] = true
	}
	for dir, path := range map[string]string{
		"../../provider":     "github.com/intellicon/email-integration/provider",
		"../../emailint/crm": "github.com/intellicon/email-integration/emailint/crm",
	} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.TypeSpec); ok && s.Name.IsExported() {
					if _, ok := s.Type.(*ast.InterfaceType); ok {
						found++
						if !known[path+"."+s.Name.Name] {
							t.Errorf("%s.%s is wrapped by nobody: add it to wrapped", path, s.Name.Name)
						}
					}
				}
				return true
			})
		}
		if found == 0 {
			t.Errorf("no interface found in %s", path)
		}
	}
}

package emailintegration_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/intellicon/email-integration/"

// floors says, for each package below this path, which of our own packages it may import. An import only ever points
// down; docs/design.md shows the house.
var floors = []struct {
	path string
	may  []string
}{
	{"message", nil},
	{"linker", []string{"message"}},
	{"signature", []string{"message"}},
	{"provider/dialguard", nil},
	{"provider/providertest", []string{"message", "provider"}},
	{"provider/imap", []string{"message", "provider"}},
	{"provider/internal", []string{"message", "provider"}}, // what providers share
	{"provider/gmail", []string{"message", "provider"}},
	{"internal/fakemail", nil}, // how the fakes read mail is their own
	{"internal/fakehttp", nil},
	{"provider/gmail/gmailtest", []string{"internal/fakemail", "internal/fakehttp"}},
	{"provider/outlook/graphtest", []string{"internal/fakemail", "internal/fakehttp"}},
	{"emailint/emailinttest", []string{"message", "linker", "signature", "provider", "emailint", "internal/power", "internal/fakehttp"}},
	{"provider/outlook", []string{"message", "provider"}},
	{"provider", []string{"message"}},
	{"smtp", []string{"message", "provider"}},
	{"emailint/crm", []string{"message", "linker"}},
	{"emailint/state", []string{"message", "linker", "provider", "emailint/state"}},
	{"internal/power", nil}, // how optional interfaces are found
	{"internal/panics", nil},
	{"emailint", []string{"message", "linker", "signature", "provider", "emailint", "internal/power", "internal/panics"}},
	{"emailint/internal/crash", []string{"message", "linker", "provider", "emailint", "internal/failpoint", "internal/power", "internal/panics"}},
	{"internal", []string{"message"}},                              // what examples and bench share: an embedded mail server, mbox files
	{"internal/microsoft", []string{"provider/outlook/graphtest"}}, // what it published, for tests
	{"internal/killed", []string{"message", "linker", "provider", "emailint"}},
	{"internal/failpoint", []string{"message", "linker", "provider", "emailint", "internal/power"}},
	{"internal/simulation", []string{"message", "linker", "provider", "emailint", "internal"}},
	{"examples", []string{"message", "linker", "signature", "provider", "smtp", "emailint", "examples", "internal"}},
	{"bench", []string{"message", "linker", "provider", "emailint", "internal", "examples/sqlstore"}},
}

// heavy says in which packages alone a heavy dependency may be imported.
var heavy = map[string][]string{
	"modernc.org/sqlite":                 {"emailint/state/sqlite", "examples"},
	"github.com/jackc/pgx":               {"emailint/state/postgres", "internal/killed", "examples"},
	"github.com/riverqueue/river":        {"emailint/riverqueue", "examples"},
	"github.com/microsoftgraph":          {"provider/outlook"},
	"github.com/microsoft/kiota":         {"provider/outlook"},
	"google.golang.org/api":              {"provider/gmail"},
	"github.com/coreos/go-oidc":          {"provider/gmail"},
	"github.com/emersion/go-imap":        {"provider/imap", "internal", "examples", "bench"},
	"github.com/emersion/go-smtp":        {"internal", "examples"},
	"github.com/wneessen/go-mail":        {"smtp"},
	"github.com/chromedp":                {"emailint/settingsui"},
	"github.com/schollz/progressbar":     {"examples"},
	"github.com/emersion/go-message":     {"message", "provider/imap"},
	"github.com/microcosm-cc/bluemonday": {"signature", "emailint/settingsui"},
}

func below(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func TestFloors(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		path, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			if len(p.Imports) > 0 {
				t.Errorf("the root package is doc.go alone, it imports %v", p.Imports)
			}
			continue
		}
		seen++
		var may []string
		floor := ""
		for _, f := range floors {
			if below(path, f.path) && len(f.path) > len(floor) {
				floor, may = f.path, f.may
			}
		}
		if floor == "" {
			t.Errorf("%s stands on no floor: add it to floors in this test and to docs/design.md", path)
		}
		for _, imp := range p.Imports {
			if in, ok := strings.CutPrefix(imp, module); ok {
				allowed := in == path || below(in, floor)
				for _, m := range may {
					allowed = allowed || in == m || (below(in, m) && m != "emailint/state")
				}
				if !allowed {
					t.Errorf("%s imports %s, which does not lie below it", path, in)
				}
				continue
			}
			for dep, where := range heavy {
				if !below(imp, dep) && !strings.HasPrefix(imp, dep+"/") {
					continue
				}
				ok := false
				for _, w := range where {
					ok = ok || below(path, w)
				}
				if !ok {
					t.Errorf("%s imports %s, which belongs to %v alone", path, imp, where)
				}
			}
		}
	}
	if seen < 5 {
		t.Fatalf("go list named %d packages", seen)
	}
}

// An importer compiles only what it imports: the light packages never reach a heavy dependency through others.
func TestLightPackagesStayLight(t *testing.T) {
	for _, p := range []string{"message", "linker", "signature", "provider", "emailint/crm"} {
		out, err := exec.Command("go", "list", "-deps", "./"+p).Output()
		if err != nil {
			t.Fatalf("go list -deps ./%s: %v", p, err)
		}
		for _, dep := range strings.Fields(string(out)) {
			for h, where := range heavy {
				if strings.HasPrefix(dep, h) && !strings.HasPrefix(p, where[0]) && h != "github.com/emersion/go-message" {
					t.Errorf("%s needs %s", p, dep)
				}
			}
		}
	}
}

// Graph costs minutes and gigabytes to compile: who does not import provider/outlook compiles nothing of it, nor does who tests against graphtest. The SDK's root package
// would pull in all of it.
func TestWhoCompilesGraph(t *testing.T) {
	graph := func(deps string) (out []string) {
		for _, dep := range strings.Fields(deps) {
			if strings.HasPrefix(dep, "github.com/microsoftgraph") || strings.HasPrefix(dep, "github.com/microsoft/") {
				out = append(out, dep)
			}
		}
		return out
	}
	list := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("go", append([]string{"list", "-deps"}, args...)...).Output()
		if err != nil {
			t.Fatalf("go list -deps %v: %v", args, err)
		}
		return string(out)
	}
	if got := graph(list("./emailint/...", "./provider/imap/...", "./provider/gmail/...", "./smtp", "./provider/outlook/graphtest", "./provider/outlook/internal/...",
		"./examples/gmail", "./examples/quickstart", "./examples/internal/...")); len(got) > 0 {
		t.Errorf("Graph is compiled without provider/outlook: %v", got)
	}
	if got := graph(list("-test", "./emailint", "./emailint/internal/crash", "./provider/gmail/...", "./provider/imap/...", "./provider/outlook/internal/...")); len(got) > 0 {
		t.Errorf("Graph is compiled for tests of others: %v", got)
	}
	whole := graph(list("./provider/outlook"))
	if len(whole) == 0 {
		t.Error("provider/outlook does without the SDK")
	}
	for _, dep := range whole {
		if dep == "github.com/microsoftgraph/msgraph-sdk-go" || strings.HasPrefix(dep, "github.com/microsoftgraph/msgraph-sdk-go-core") {
			t.Errorf("provider/outlook compiles %s", dep)
		}
	}
}

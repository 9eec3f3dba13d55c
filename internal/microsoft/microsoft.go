// Package microsoft is for tests: what Microsoft published of Graph, which is no part of the project. It is looked for in shared/graph beside the module,
// or in EMAILINT_GRAPH, and its README there says where it is from.
package microsoft

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// The files.
const (
	OpenAPI = "graph-mail-openapi.json"
	Samples = "graph-mail-samples.json"
)

// dir is where they are.
func dir() (string, error) {
	if d := os.Getenv("EMAILINT_GRAPH"); d != "" {
		return d, nil
	}
	root, err := os.Getwd() // the tested package's
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return filepath.Join(filepath.Dir(root), "shared", "graph"), nil
		}
		up := filepath.Dir(root)
		if up == root {
			return "", os.ErrNotExist
		}
		root = up
	}
}

// File is the path of one. The test is skipped where it isn't there; CI lets no test be skipped.
func File(t testing.TB, name string) string {
	t.Helper()
	d, err := dir()
	if err == nil {
		_, err = os.Stat(filepath.Join(d, name))
	}
	if err != nil {
		t.Skipf("what Microsoft published of Graph is no part of the project and not here: %v", err)
	}
	return filepath.Join(d, name)
}

var load = sync.OnceValues(func() (*graphtest.Spec, error) {
	d, err := dir()
	if err != nil {
		return nil, nil //nolint:nilnil // a world without it checks nothing
	}
	s, err := graphtest.LoadSpec(filepath.Join(d, OpenAPI))
	if os.IsNotExist(err) {
		return nil, nil //nolint:nilnil // the same
	}
	return s, err
})

// Spec is the description by which worlds check requests and answers; nil where it isn't there. A package whose worlds use it has a test that calls File, so that it is
// seen that nothing was checked.
func Spec() *graphtest.Spec {
	s, err := load()
	if err != nil {
		panic(err) // it is there, and is none
	}
	return s
}

// Undescribed are the methods of graphtest that the mailbox uses and the description of 2022-03 lacks, with the reason. Of these the request is checked by nothing but graphtest.
var Undescribed = map[string]string{
	"me":                "it was cut to mail: users are not in it",
	"categories.create": "the same: outlook/masterCategories",
	"attachments.bytes": "it has $value of messages and not of attachments",
}

// Check fails the test where a request to the server, or an answer of it, so far is not as Microsoft describes it.
func Check(t testing.TB, s *graphtest.Server) {
	t.Helper()
	seen := map[string]bool{}
	for _, v := range s.Violations() {
		if !seen[v] {
			t.Errorf("not as Microsoft describes it: %s", v)
		}
		seen[v] = true
	}
	for _, m := range s.Uncovered() {
		if Undescribed[m] == "" {
			t.Errorf("Microsoft's description has no %s: name it in microsoft.Undescribed, with the reason", m)
		}
	}
}

package provider_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each error that names a section of a setup guide names one that is there.
func TestSectionsAreThere(t *testing.T) {
	for guide, c := range map[string]struct {
		files string
		least int
	}{
		"setup-google":    {"gmail/*.go", 10},
		"setup-microsoft": {"outlook/*.go", 15},
	} {
		text, err := os.ReadFile("../docs/" + guide + ".md")
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(c.files)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`docs/` + guide + `\.md, \\?"([^"\\]+)\\?"`)
		n := 0
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range names.FindAllStringSubmatch(string(src), -1) {
				n++
				if !strings.Contains(string(text), "\n## "+m[1]+"\n") {
					t.Errorf("%s names the section %q", f, m[1])
				}
			}
		}
		if n < c.least {
			t.Errorf("%d errors name a section of %s", n, guide)
		}
	}
}

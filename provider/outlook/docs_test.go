package outlook_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each error that names a section of the setup guide names one that is there.
func TestSectionsAreThere(t *testing.T) {
	guide, err := os.ReadFile("../../docs/setup-microsoft.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`docs/setup-microsoft\.md, \\?"([^"\\]+)\\?"`).FindAllStringSubmatch(string(src), -1) {
			n++
			if !strings.Contains(string(guide), "\n## "+m[1]+"\n") {
				t.Errorf("%s names the section %q", f, m[1])
			}
		}
	}
	if n < 15 {
		t.Errorf("%d errors name a section", n)
	}
}

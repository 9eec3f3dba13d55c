package graphtest_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The server is compiled in seconds, under -race too: nothing of Microsoft's client is in it, nor of the provider that it tests.
func TestServerStaysLight(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-test", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if strings.HasPrefix(dep, "github.com/microsoft") || strings.Contains(dep, "email-integration/") && !strings.Contains(dep, "/graphtest") && !strings.Contains(dep, "/internal/fake") &&
			!strings.HasSuffix(dep, "/internal/microsoft") {
			t.Errorf("it needs %s", dep)
		}
	}
}

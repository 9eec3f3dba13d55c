package gmailtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// discovered is what the discovery document says of a method.
type discovered struct {
	ID, HTTPMethod, Path string
	Scopes               []string
	MediaUpload          json.RawMessage
}

type resource struct {
	Methods   map[string]discovered
	Resources map[string]resource
}

func (r resource) each(f func(discovered)) {
	for _, m := range r.Methods {
		f(m)
	}
	for _, sub := range r.Resources {
		sub.each(f)
	}
}

// The table of methods is the discovery document's: paths, verbs, scopes, uploads.
func TestMethodsAreThoseOfTheDiscoveryDocument(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "gmail/v1/gmail-api.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc resource
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	known := map[string]discovered{}
	doc.each(func(m discovered) { known[m.ID] = m })
	for _, m := range methods {
		d, ok := known[m.name()]
		if !ok {
			t.Errorf("there is no %s", m.name())
			continue
		}
		if d.HTTPMethod != m.verb || d.Path != "gmail/v1/users/{userId}"+m.path || m.upload != (d.MediaUpload != nil) {
			t.Errorf("%s is %s %s, upload %v", m.name(), d.HTTPMethod, d.Path, d.MediaUpload != nil)
		}
		scopes := slices.DeleteFunc(d.Scopes, func(s string) bool { return strings.Contains(s, "gmail.addons.") }) // of add-ons in Gmail's own window
		mine := slices.Clone(m.scopes)
		slices.Sort(scopes)
		if slices.Sort(mine); !slices.Equal(mine, scopes) {
			t.Errorf("%s takes %q, not %q", m.name(), scopes, mine)
		}
	}
}

// Facts 1.6, the line of units.
func TestUnits(t *testing.T) {
	u := Units()
	for m, want := range map[string]int{
		"messages.get": 20, "messages.attachments.get": 20, "threads.get": 40, "messages.list": 5, "threads.list": 10, "history.list": 2, "messages.send": 100,
		"drafts.send": 100, "drafts.create": 10, "messages.modify": 5, "threads.modify": 10, "messages.batchModify": 50, "messages.batchDelete": 50,
		"messages.insert": 25, "messages.import": 25, "messages.trash": 20, "labels.create": 5, "labels.update": 5, "labels.delete": 5, "labels.list": 1,
		"labels.get": 1, "getProfile": 1, "watch": 100, "stop": 50,
	} {
		if got := u["gmail.users."+m]; got != want {
			t.Errorf("%s costs %d, want %d", m, got, want)
		}
	}
}

func TestFieldMasks(t *testing.T) {
	const body = `{"a":1,"b":{"c":2,"d":3},"e":[{"f":4,"g":{"h":5,"i":6}}]}`
	for mask, want := range map[string]string{
		"a":             `{"a":1}`,
		"a,b/c":         `{"a":1,"b":{"c":2}}`,
		"b(c,d)":        `{"b":{"c":2,"d":3}}`,
		"e(f,g/h)":      `{"e":[{"f":4,"g":{"h":5}}]}`,
		"e/g/i,a":       `{"a":1,"e":[{"g":{"i":6}}]}`,
		"*":             body,
		"b/c,b/d":       `{"b":{"c":2,"d":3}}`,
		"b,b/c":         `{"b":{"c":2,"d":3}}`,
		"nothing":       `{}`,
		"e(g(h),f),b/d": `{"b":{"d":3},"e":[{"f":4,"g":{"h":5}}]}`,
	} {
		if got, e := project([]byte(body), mask); e != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", mask, got, e, want)
		}
	}
	for _, mask := range []string{"a(", "a(b", "a)", "/", "a,", "a//b"} {
		if got, e := project([]byte(body), mask); e == nil {
			t.Errorf("%s: %s", mask, got)
		}
	}
}

package inputs_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/examples/internal/inputs"
)

var names = inputs.Names{Program: "gmail", Speaks: "the Gmail API", Brought: "the Gmail that comes along", Owner: "Google", Env: "GOOGLE", Guide: "docs/setup-google.md"}

func parse(args, env string, out io.Writer) (inputs.Service, error) {
	vars := map[string]string{}
	for _, v := range strings.Fields(env) {
		k, v, _ := strings.Cut(v, "=")
		vars[k] = v
	}
	return inputs.ParseService(names, strings.Fields(args), func(k string) string { return vars[k] }, out)
}

const app = "GOOGLE_CLIENT_ID=id GOOGLE_CLIENT_SECRET=secret"

// Every wrong call is one sentence that names what to write instead.
func TestServiceRefuses(t *testing.T) {
	for _, c := range []struct{ args, env, want string }{
		{"-since x", "", "-since"},
		{"-since -3d", "", "-since"},
		{"-api http://127.0.0.1:1/", "", "-api needs a way in"},
		{"-api http://127.0.0.1:1/ -auth-url http://127.0.0.1:1/a", app, "-api needs a way in"},
		{"-api http://127.0.0.1:1/ -auth-url http://127.0.0.1:1/a -token-url http://127.0.0.1:1/t", "", "set GOOGLE_CLIENT_ID and"},
		{"-auth-url http://127.0.0.1:1/a", "", "name it"},
		{"-token-url http://127.0.0.1:1/t", app, "name it"},
		{"-state x", "", "the Gmail that comes along is gone"},
		{"extra", "", `"extra" is no flag`},
		{"-json extra", "", `"extra" is no flag`},
		{"-nonsense", "", "nonsense"},
		{"", "GOOGLE_CLIENT_ID=id", "GOOGLE_CLIENT_SECRET both"},
		{"", "GOOGLE_CLIENT_SECRET=s", "docs/setup-google.md"},
	} {
		if _, err := parse(c.args, c.env, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s with %q: %v, want %q", c.args, c.env, err, c.want)
		}
	}
}

// What is not said depends on whose mailbox it is.
func TestServiceDefaults(t *testing.T) {
	for _, c := range []struct {
		args, env string
		own       bool
		days      int
		listen    string
	}{
		{"", "", true, -1, "127.0.0.1:0"},
		{"", app, false, 30, "127.0.0.1:8085"},
		{"-token t", "", false, 30, "127.0.0.1:8085"},
		{"-api http://127.0.0.1:1/ -token t", "", false, 30, "127.0.0.1:8085"},
		{"-since all -listen localhost:9", app, false, -1, "localhost:9"},
		{"-since 7d", "", true, 7, "127.0.0.1:0"},
	} {
		s, err := parse(c.args, c.env, io.Discard)
		if err != nil || s.Own() != c.own || s.Days != c.days || s.Listen != c.listen {
			t.Errorf("%s with %q: %+v, %v", c.args, c.env, s, err)
		}
	}
}

func TestServiceHelp(t *testing.T) {
	var out bytes.Buffer
	if _, err := parse("-help", "", &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
	for _, f := range []string{"usage: gmail", "-api", "-auth-url", "-token-url", "-token", "-crm", "-state", "-since", "-json", "-listen", "GOOGLE_CLIENT_ID"} {
		if !strings.Contains(out.String(), f) {
			t.Errorf("-help does not name %s:\n%s", f, &out)
		}
	}
}

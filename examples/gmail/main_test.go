package main

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/examples/internal/program"
	"github.com/intellicon/email-integration/examples/internal/walk/walktest"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

func nothing(string) string { return "" }

// The whole walk, over the Gmail that comes along.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), nil, nothing, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"nora@northwind-tools.example signed in", "everything: 502 messages, 10", "171 messages, 3", "171  linked", "331  unread",
		"Completeness: 100.0 %", "told by the service", "its labels are now: CRM/Customers, UNREAD", "The answer is sent, to maria.keller@acme-pumps.example, in the thread of the question"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}

// server is a Gmail of somebody else's, with mail of the last days.
func server(t *testing.T, o gmailtest.Options) (*gmailtest.Server, *gmailtest.User) {
	srv := gmailtest.New(o)
	_, end := srv.Listen()
	t.Cleanup(end)
	u := srv.AddUser(mailworld.Owner)
	for _, m := range mailworld.Mails(time.Now(), 1)[:100] {
		u.Deliver(m.Raw, time.Now().Add(-time.Hour), "INBOX")
	}
	return srv, u
}

// At another server with a ready token, with and without a CRM; a second run with the same state adds nothing.
func TestReadyToken(t *testing.T) {
	srv, u := server(t, gmailtest.Options{})
	state := filepath.Join(t.TempDir(), "state")
	object := func(args ...string) (r report) {
		t.Helper()
		var out bytes.Buffer
		args = append(args, "-api", srv.URL(), "-token", u.Token(gmailtest.ScopeReadonly), "-json", "-listen", "127.0.0.1:0")
		if err := run(t.Context(), args, nothing, &out); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s", err, &out)
		}
		return r
	}
	all := object()
	if all.Messages != 100 || all.Dispositions["unread"] != 0 || all.Emails != 0 || all.Completeness != 1 || all.Units < 2000 {
		t.Errorf("without a CRM: %+v", all)
	}
	crm := walktest.File(t, "crm.json", mailworld.CRM)
	srv, u = server(t, gmailtest.Options{})
	first := object("-crm", crm, "-state", state)
	if first.Messages != 100 || first.Emails == 0 || first.Dispositions["unread"] == 0 || first.Units >= all.Units {
		t.Errorf("with a CRM: %+v", first)
	}
	second := object("-crm", crm, "-state", state)
	if second.Emails != first.Emails || second.Links != first.Links || second.Messages != 100 || second.Dispositions["linked"] != first.Dispositions["linked"] {
		t.Errorf("again: %+v, first %+v", second, first)
	}
	if second := object("-crm", crm, "-since", "0d"); second.Messages != 0 {
		t.Errorf("of no days: %+v", second)
	}
}

// By OAuth at another server: the browser goes where the program says.
func TestOAuthElsewhere(t *testing.T) {
	srv, _ := server(t, gmailtest.Options{})
	e := srv.Endpoint()
	out := &walktest.Browser{T: t, Register: func(redirect string) {
		srv.Register(gmailtest.App{ID: "id", Secret: "secret", Redirects: []string{redirect}})
	}}
	err := run(t.Context(), []string{"-api", srv.URL(), "-auth-url", e.AuthURL, "-token-url", e.TokenURL, "-listen", "127.0.0.1:0"}, func(k string) string {
		return map[string]string{"GOOGLE_CLIENT_ID": "id", "GOOGLE_CLIENT_SECRET": "secret"}[k]
	}, out)
	if err != nil || !strings.Contains(out.String(), "Completeness: 100.0 %") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A server that lacks what can't be done without is one clear line; what can be done without is no trouble.
func TestPartialServers(t *testing.T) {
	for method, need := range map[string]bool{
		"getProfile": true, "history.list": true, "messages.list": true, "messages.get": true, "labels.list": false, "settings.sendAs.list": false,
		"watch": false, "drafts.create": false, "batch": false,
	} {
		for _, status := range []int{404, 405, 501} {
			name := "gmail.users." + method
			if method == "batch" {
				name = method
			}
			srv, u := server(t, gmailtest.Options{Missing: []string{name}, MissingStatus: status, UserUnits: -1})
			var out bytes.Buffer
			err := run(t.Context(), []string{"-api", srv.URL(), "-token", u.Token(gmailtest.ScopeModify), "-listen", "127.0.0.1:0"}, nothing, &out)
			switch {
			case need && (err == nil || !strings.Contains(program.Line("gmail", err), "the server does not have "+method) || strings.Contains(program.Line("gmail", err), "\n")):
				t.Errorf("without %s (%d): %v", method, status, err)
			case !need && (err != nil || !strings.Contains(out.String(), "Completeness: 100.0 %")):
				t.Errorf("without %s (%d): %v\n%s", method, status, err, &out)
			}
		}
	}
}

// inputs.ParseService has the other wrong calls.
func TestWrongCalls(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"extra", "no flag"},
		{"-api http://gmail.example/ -token t -listen 127.0.0.1:0", "neither https nor on this machine"},
		{"-crm nowhere.json", "nowhere.json"},
		{"-listen nowhere:x", "-listen"},
	} {
		err := run(t.Context(), strings.Fields(c.args), nothing, io.Discard)
		if err == nil || !strings.Contains(program.Line("gmail", err), c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}

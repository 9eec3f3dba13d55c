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
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

func nothing(string) string { return "" }

// The whole walk, over the Graph that comes along.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), nil, nothing, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"nora@northwind-tools.example signed in", "502 messages", "235  linked", "235 emails saved with 544 links",
		"Completeness: 100.0 %", "told by the service", "with the categories: CRM/Customers", "The answer is sent, to maria.keller@acme-pumps.example", "its References: live."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}

// server is a Graph of somebody else's, with mail of the last days.
func server(t *testing.T, o graphtest.Options) (*graphtest.Server, *graphtest.User) {
	srv := graphtest.New(o)
	_, end := srv.Listen()
	t.Cleanup(end)
	u := srv.AddUser(mailworld.Owner)
	for _, m := range mailworld.Mails(time.Now(), 1)[:100] {
		u.Deliver(m.Raw, time.Now().Add(-time.Hour), "inbox")
	}
	return srv, u
}

// At another server with a ready token, with and without a CRM; a second run with the same state adds nothing.
func TestReadyToken(t *testing.T) {
	srv, u := server(t, graphtest.Options{})
	state := filepath.Join(t.TempDir(), "state")
	object := func(args ...string) (r report) {
		t.Helper()
		var out bytes.Buffer
		args = append(args, "-api", srv.URL(), "-token", u.Token(graphtest.ScopeReadWrite, graphtest.ScopeUser), "-json", "-listen", "127.0.0.1:0")
		if err := run(t.Context(), args, nothing, &out); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s", err, &out)
		}
		return r
	}
	all := object()
	if all.Messages != 100 || all.Emails != 0 || all.Completeness != 1 || all.Requests > 30 {
		t.Errorf("without a CRM: %+v", all)
	}
	crm := walktest.File(t, "crm.json", mailworld.CRM)
	srv, u = server(t, graphtest.Options{})
	first := object("-crm", crm, "-state", state)
	if first.Messages != 100 || first.Emails == 0 || int(first.Requests) > 30+first.Dispositions["linked"] {
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
	srv, _ := server(t, graphtest.Options{UserConsent: true})
	e := srv.Endpoint("")
	out := &walktest.Browser{T: t, Register: func(redirect string) {
		srv.Register(graphtest.App{ID: "id", Secret: "secret", Redirects: []string{redirect}})
	}}
	err := run(t.Context(), []string{"-api", srv.URL(), "-auth-url", e.AuthURL, "-token-url", e.TokenURL, "-listen", "127.0.0.1:0"}, func(k string) string {
		return map[string]string{"AZURE_CLIENT_ID": "id", "AZURE_CLIENT_SECRET": "secret"}[k]
	}, out)
	if err != nil || !strings.Contains(out.String(), "Completeness: 100.0 %") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A server that lacks what can't be done without is one clear line; what can be done without is no trouble.
func TestPartialServers(t *testing.T) {
	for method, need := range map[string]string{
		"me": "me", "folders.delta": "mailFolders/delta", "folders.get": "mailFolders.get", "messages.delta": "messages/delta", "messages.list": "messages.list",
		"attachments.bytes": "", "subscriptions.create": "", "messages.create": "", "batch": "",
	} {
		for _, status := range []int{404, 405, 501} {
			srv, u := server(t, graphtest.Options{Missing: []string{method}, MissingStatus: status})
			var out bytes.Buffer
			err := run(t.Context(), []string{"-api", srv.URL(), "-token", u.Token(graphtest.ScopeReadWrite, graphtest.ScopeUser), "-listen", "127.0.0.1:0"}, nothing, &out)
			switch {
			case need != "" && (err == nil || !strings.Contains(program.Line("outlook", err), "the server does not have "+need) || strings.Contains(program.Line("outlook", err), "\n")):
				t.Errorf("without %s (%d): %v", method, status, err)
			case need == "" && (err != nil || !strings.Contains(out.String(), "Completeness: 100.0 %")):
				t.Errorf("without %s (%d): %v\n%s", method, status, err, &out)
			}
		}
	}
}

// inputs.ParseService has the other wrong calls.
func TestWrongCalls(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"extra", "no flag"},
		{"-api http://graph.example/ -token t -listen 127.0.0.1:0", "neither https nor on this machine"},
		{"-crm nowhere.json", "nowhere.json"},
		{"-listen nowhere:x", "-listen"},
	} {
		err := run(t.Context(), strings.Fields(c.args), nothing, io.Discard)
		if err == nil || !strings.Contains(program.Line("outlook", err), c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}

package main

import (
	"strings"
	"time"

	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// world is the Graph that comes along: Nora's mailbox, and an app that her administrator has allowed.
type world struct {
	srv  *graphtest.Server
	nora *graphtest.User
	app  graphtest.App
	end  func()
}

func newWorld(base string) *world {
	w := &world{srv: graphtest.New(graphtest.Options{})}
	_, w.end = w.srv.Listen()
	w.nora = w.srv.AddUser(mailworld.Owner)
	w.app = graphtest.App{ID: "northwind-crm", Secret: "s3cret", Redirects: []string{base + "/oauth/outlook/callback"}}
	w.srv.Register(w.app)
	w.srv.AllowApp(w.nora.Tenant, w.app.ID, graphtest.ScopeReadWrite, graphtest.ScopeSend, graphtest.ScopeSettingsWrite, graphtest.ScopeUser)
	for _, m := range mailworld.Mails(time.Now(), 1) {
		folder := map[string]string{"INBOX": "inbox", "Sent": "sentitems", "Junk": "junkemail", "Archive": "archive"}[m.Folder]
		w.nora.Deliver(m.Raw, m.At, w.nora.Folder(folder))
	}
	return w
}

// options point the provider at it; with Microsoft, all but the last three stay as they are.
func (w *world) options(base string) outlook.Options {
	e := w.srv.Endpoint("{tenant}")
	open := strings.NewReplacer("%7B", "{", "%7D", "}")
	return outlook.Options{BaseURL: w.srv.URL(), AuthURL: open.Replace(e.AuthURL), TokenURL: open.Replace(e.TokenURL), ColorCategories: true,
		NotifyURL: base + "/push/outlook", PushKey: []byte("outlook example push key")}
}

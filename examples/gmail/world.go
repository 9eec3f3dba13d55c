package main

import (
	"time"

	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

// world is the Gmail that comes along: Nora's mailbox, an app, and a topic with a subscription that posts to the host.
type world struct {
	srv  *gmailtest.Server
	nora *gmailtest.User
	app  gmailtest.App
	end  func()
}

const topic = "gmail"

func newWorld(base string) *world {
	w := &world{srv: gmailtest.New(gmailtest.Options{})}
	_, w.end = w.srv.Listen()
	w.nora = w.srv.AddUser(mailworld.Owner)
	w.app = gmailtest.App{ID: "northwind-crm.apps.example", Secret: "s3cret", Redirects: []string{base + "/oauth/gmail/callback"}}
	w.srv.Register(w.app)
	w.srv.Subscribe(gmailtest.Subscription{Topic: w.srv.Topic(topic), Endpoint: base + "/push/gmail", ServiceAccount: w.account()})
	labels := map[string]string{"INBOX": "INBOX", "Sent": "SENT", "Junk": "SPAM", "Archive": gmailtest.Archived}
	for _, m := range mailworld.Mails(time.Now(), 1) {
		w.nora.Deliver(m.Raw, m.At, labels[m.Folder])
	}
	return w
}

func (w *world) account() string { return "push@" + w.srv.Project() + ".iam.gserviceaccount.com" }

// options point the provider at it; with Google, all but Topic and the two of push stay as they are.
func (w *world) options(base string) gmail.Options {
	e := w.srv.Endpoint()
	return gmail.Options{BaseURL: w.srv.URL(), AuthURL: e.AuthURL, TokenURL: e.TokenURL, RevokeURL: w.srv.RevokeURL(), KeysURL: w.srv.KeysURL(),
		Topic: w.srv.Topic(topic), PushAudience: base + "/push/gmail", PushAccount: w.account()}
}

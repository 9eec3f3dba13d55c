package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/signature"
	"github.com/intellicon/email-integration/smtp"
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

const signatureTemplate = `<p><b>{{user_name}}</b><br>{{user_title}}, {{company_name}}<br>{{user_email}}</p>`

// live runs the engine while a mail arrives, and answers it.
func (d *demo) live(ctx context.Context) error {
	for len(d.saved) > 0 {
		<-d.saved
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.eng.Run(ctx) }) // ends with ctx, and logs what fails
	defer wg.Wait()
	defer cancel()

	d.title("A mail arrives: \"Can we sign today?\"")
	st, err := d.eng.Status(ctx, organisation, d.conn.ID)
	if err != nil {
		return err
	}
	_, until := d.world.nora.Watched()
	d.say("real time: %s, until %s", st.Connection.RealTime, until.Format("2006-01-02"))
	// Google tells at most once a second of a mailbox, and drops the rest: what comes right after another waits for the next look.
	if ns := d.world.srv.Notifications(); len(ns) > 0 {
		select {
		case <-time.After(time.Until(ns[len(ns)-1].At.Add(time.Second))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	now := time.Now()
	id := fmt.Sprintf("live.%d@acme-pumps.example", now.UnixNano())
	at := d.world.nora.Deliver([]byte("From: Maria Keller <maria.keller@acme-pumps.example>\r\nTo: "+mailworld.Owner+"\r\nSubject: Can we sign today?\r\nDate: "+
		now.Format(time.RFC1123Z)+"\r\nMessage-ID: <"+id+">\r\n\r\nHello Nora,\r\n\r\nI have the pen ready.\r\n"), now, "INBOX", "UNREAD")
	got, err := d.await(ctx, id)
	if err != nil {
		return err
	}
	d.say("Google told of it, and it is linked after %s:", time.Since(now).Round(time.Millisecond))
	d.links(got)
	if err := d.ruled(ctx, at); err != nil {
		return err
	}
	d.units("that mail, its label and the archive")

	d.title("The answer, by a draft of Gmail's")
	reply, err := d.answer(ctx, got)
	if err != nil {
		return err
	}
	d.links(reply)
	d.units("the answer")
	d.title("In all")
	d.say("%d quota units; the Gmail counted %d", d.used, d.world.nora.Units())
	return nil
}

// ruled waits until the rules of the inbox have acted on a message.
func (d *demo) ruled(ctx context.Context, id string) error {
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		log, err := d.eng.Mutations(ctx, organisation, d.conn.ID, 0, 100)
		if err != nil {
			return err
		}
		done := 0
		for _, m := range log {
			if m.State == state.IntentDone {
				done++
			}
		}
		if done == 2 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the rules did not act within a minute: %v", log)
		}
	}
	m, ok := d.world.nora.Message(id)
	if !ok {
		return fmt.Errorf("message %s is gone", id)
	}
	names := d.world.nora.Labels()
	var has []string
	for _, l := range m.Labels {
		if names[l] != "" {
			l = names[l]
		}
		has = append(has, l)
	}
	slices.Sort(has)
	d.say("the rules labelled and archived it; its labels are now: %s", strings.Join(has, ", "))
	return nil
}

// answer sends a reply into the thread of a mail.
func (d *demo) answer(ctx context.Context, to emailint.Email) (emailint.Email, error) {
	tmpl, err := signature.Parse(signatureTemplate)
	if err != nil {
		return emailint.Email{}, err
	}
	html, text := tmpl.Render(signature.Values{UserName: "Nora Lind", UserTitle: "Sales", UserEmail: mailworld.Owner, CompanyName: "Northwind Tools"})
	raw, id, err := smtp.Compose(smtp.Outgoing{
		From: message.NewAddress("Nora Lind", mailworld.Owner), To: to.Message.From, Subject: "Re: " + to.Message.Subject, InReplyTo: to.Message.MessageID,
		References: to.Message.References, Text: signature.AppendText("Yes! I send the contract.\n\n> I have the pen ready.\n", text),
		HTML: signature.AppendHTML("<p>Yes! I send the contract.</p><blockquote>I have the pen ready.</blockquote>", html),
	})
	if err != nil {
		return emailint.Email{}, err
	}
	var who []string
	for _, a := range to.Message.From {
		who = append(who, a.Addr)
	}
	s, err := d.eng.Send(ctx, organisation, emailint.Outgoing{Connection: d.conn.ID, Key: "answer-" + id, Raw: raw, From: mailworld.Owner, Recipients: who,
		Thread: to.Message.Thread})
	if err != nil {
		return emailint.Email{}, err
	}
	if s.State != state.OutSent {
		return emailint.Email{}, fmt.Errorf("the answer is %s: %s", s.State, s.Error)
	}
	sent := d.world.srv.Sent()
	if len(sent) != 1 {
		return emailint.Email{}, fmt.Errorf("%d mails were sent", len(sent))
	}
	m, _ := d.world.nora.Message(sent[0].ID)
	where := "a thread of its own"
	if m.ThreadID == to.Message.Thread {
		where = "the thread of the question"
	}
	d.say("The answer is %s, to %s, in %s", s.State, strings.Join(sent[0].Recipients, ", "), where)
	d.say("Gmail gave it the Message-ID <%s>: answers to it find the deal", message.ParseHeader(sent[0].Raw).MessageID)
	return d.await(ctx, id)
}

func (d *demo) links(e emailint.Email) {
	for _, l := range e.Links {
		d.say("   -> %s %s, by %s: %s", l.Kind, d.mem.CRM.Name(organisation, l.Record), l.By, l.Evidence)
	}
}

func (d *demo) await(ctx context.Context, id string) (emailint.Email, error) {
	for {
		select {
		case e := <-d.saved:
			if e.Message.MessageID == id {
				return e, nil
			}
		case <-ctx.Done():
			return emailint.Email{}, fmt.Errorf("the mail <%s> was not linked within a minute", id)
		}
	}
}

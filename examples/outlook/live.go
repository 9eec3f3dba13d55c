package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/signature"
	"github.com/intellicon/email-integration/smtp"
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
	d.say("real time: %s, until %s", st.Connection.RealTime, st.Connection.Watch.Expires.Format("2006-01-02"))
	// Graph shows times in whole seconds: what came in the second of connecting would be history.
	now := time.Now().Add(time.Second)
	id := fmt.Sprintf("live.%d@acme-pumps.example", now.UnixNano())
	begun := time.Now()
	at := d.world.nora.Deliver([]byte("From: Maria Keller <maria.keller@acme-pumps.example>\r\nTo: "+mailworld.Owner+"\r\nSubject: Can we sign today?\r\nDate: "+
		now.Format(time.RFC1123Z)+"\r\nMessage-ID: <"+id+">\r\n\r\nHello Nora,\r\n\r\nI have the pen ready.\r\n"), now, "inbox")
	got, err := d.await(ctx, id)
	if err != nil {
		return err
	}
	d.say("Graph told of it, and it is linked after %s:", time.Since(begun).Round(time.Millisecond))
	d.links(got)
	if err := d.ruled(ctx, at); err != nil {
		return err
	}
	d.requests("that mail, its category and the archive")

	d.title("The answer, by a draft in Outlook")
	reply, err := d.answer(ctx, got)
	if err != nil {
		return err
	}
	d.links(reply)
	d.requests("the answer")
	d.title("In all")
	d.say("%d requests", d.used)
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
	d.say("the rules categorised and archived it; it lies in %s, with the categories: %s", m.Path, strings.Join(m.Categories, ", "))
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
	d.say("The answer is %s, to %s", s.State, strings.Join(sent[0].Recipients, ", "))
	d.say("its References: %s", strings.Join(message.ParseHeader(sent[0].Raw).References, ", "))
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

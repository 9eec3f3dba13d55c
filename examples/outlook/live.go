package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/examples/internal/walk"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/signature"
	"github.com/intellicon/email-integration/smtp"
)

const signatureTemplate = `<p><b>{{user_name}}</b><br>{{user_title}}, {{company_name}}<br>{{user_email}}</p>`

// live runs the engine while a mail arrives, and answers it.
func (d *demo) live(ctx context.Context) error {
	d.saved.Drain()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.eng.Run(ctx) }) // ends with ctx, and logs what fails
	defer wg.Wait()
	defer cancel()

	d.Title("A mail arrives: \"Can we sign today?\"")
	st, err := d.eng.Status(ctx, organisation, d.conn.ID)
	if err != nil {
		return err
	}
	d.Say("real time: %s, until %s", st.Connection.RealTime, st.Connection.Watch.Expires.Format("2006-01-02"))
	// Graph shows times in whole seconds: what came in the second of connecting would be history.
	now := time.Now().Add(time.Second)
	question, id := walk.Question(now)
	begun := time.Now()
	at := d.world.nora.Deliver(question, now, "inbox")
	got, err := d.saved.Await(ctx, id)
	if err != nil {
		return err
	}
	d.Say("A notification told of it, and it is linked after %s:", time.Since(begun).Round(time.Millisecond))
	d.Links(d.mem.CRM, organisation, got)
	if err := d.ruled(ctx, at); err != nil {
		return err
	}
	d.made.say(d.Steps, "that mail, its category and the archive")

	d.Title("The answer, by a draft in Outlook")
	reply, err := d.answer(ctx, got)
	if err != nil {
		return err
	}
	d.Links(d.mem.CRM, organisation, reply)
	d.made.say(d.Steps, "the answer")
	d.Title("In all")
	d.Say("%d requests", d.made.said)
	return nil
}

// ruled waits until the rules of the inbox have acted on a message.
func (d *demo) ruled(ctx context.Context, id string) error {
	err := walk.Until(ctx, "both rules have acted", func() (bool, error) {
		log, err := d.eng.Mutations(ctx, organisation, d.conn.ID, 0, 100)
		done := 0
		for _, m := range log {
			if m.State == state.IntentDone {
				done++
			}
		}
		return done == 2, err
	})
	if err != nil {
		return err
	}
	m, ok := d.world.nora.Message(id)
	if !ok {
		return fmt.Errorf("message %s is gone", id)
	}
	d.Say("the rules categorised and archived it; it lies in %s, with the categories: %s", m.Path, strings.Join(m.Categories, ", "))
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
	d.Say("The answer is %s, to %s", s.State, strings.Join(sent[0].Recipients, ", "))
	d.Say("It stands in the thread of the question, by its References: %s", strings.Join(message.ParseHeader(sent[0].Raw).References, ", "))
	return d.saved.Await(ctx, id)
}

package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/examples/internal/walk"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/signature"
	"github.com/intellicon/email-integration/smtp"
)

var steps = walk.Steps{Out: os.Stdout}

const signatureTemplate = `<p><b>{{user_name}}</b><br>{{user_title}}, {{company_name}}<br>Phone: {{user_phone}}<br>{{user_email}}</p>`

// live runs the engine while a mail arrives, and answers it.
func (d *demo) live(ctx context.Context, eng *emailint.Engine, conn emailint.Connection, saved walk.Saved) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _ = eng.Run(ctx) }) // ends with ctx, and logs what fails
	defer wg.Wait()
	defer cancel()
	if err := eng.Wake(ctx, organisation, conn.ID); err != nil {
		return err
	}

	now := time.Now()
	question, id := walk.Question(now)
	mail := mailworld.Mail{Folder: "INBOX", At: now, Raw: question}
	if err := d.mem.Keep(mail); err != nil {
		return err
	}
	if err := d.server.Deliver(mail); err != nil {
		return err
	}
	fmt.Printf("\nA mail arrives: %q ...\n", "Can we sign today?")
	got, err := saved.Await(ctx, id)
	if err != nil {
		return err
	}
	fmt.Printf("  linked after %s:\n", time.Since(now).Round(time.Millisecond))
	steps.Links(d.mem.CRM, organisation, got)

	tmpl, err := signature.Parse(signatureTemplate)
	if err != nil {
		return err
	}
	html, text := tmpl.Render(signature.Values{UserName: "Nora Lind", UserTitle: "Sales", UserEmail: mailworld.Owner, CompanyName: "Northwind Tools"})
	raw, replyID, err := smtp.Compose(smtp.Outgoing{
		From: d.owner, To: got.Message.From, Subject: "Re: " + got.Message.Subject, InReplyTo: id, References: got.Message.References,
		Text: signature.AppendText("Yes! I send the contract.\n\n> I have the pen ready.\n", text),
		HTML: signature.AppendHTML("<p>Yes! I send the contract.</p><blockquote>I have the pen ready.</blockquote>", html),
	})
	if err != nil {
		return err
	}
	var to []string
	for _, a := range got.Message.From {
		to = append(to, a.Addr)
	}
	s, err := eng.Send(ctx, organisation, emailint.Outgoing{Connection: conn.ID, Key: "reply-" + replyID, Raw: raw, From: d.owner.Addr, Recipients: to})
	if err != nil {
		return err
	}
	fmt.Printf("\nThe reply, signed, is %s", s.State)
	if s.Error != "" {
		fmt.Printf(" (%s)", s.Error)
	}
	fmt.Println(":")
	reply, err := saved.Await(ctx, replyID)
	if err != nil {
		return err
	}
	fmt.Println(indent(message.Parse(raw).Text))
	steps.Links(d.mem.CRM, organisation, reply)
	return nil
}

// note sends a signed mail to the mailbox's owner.
func (d *demo) note(ctx context.Context, eng *emailint.Engine, conn emailint.Connection) error {
	tmpl, err := signature.Parse(signatureTemplate)
	if err != nil {
		return err
	}
	_, text := tmpl.Render(signature.Values{UserName: d.owner.Name, UserEmail: d.owner.Addr})
	raw, id, err := smtp.Compose(smtp.Outgoing{From: d.owner, To: []message.Address{d.owner}, Subject: "emailint quickstart",
		Text: signature.AppendText("This note was sent by quickstart -write.\n", text)})
	if err != nil {
		return err
	}
	s, err := eng.Send(ctx, organisation, emailint.Outgoing{Connection: conn.ID, Key: "note-" + id, Raw: raw, From: d.owner.Addr, Recipients: []string{d.owner.Addr}})
	if err != nil {
		return err
	}
	fmt.Printf("\nA signed note to %s is %s. %s\n", d.owner.Addr, s.State, s.Error)
	return nil
}

func indent(s string) string {
	out := "  | "
	for _, r := range s {
		if out += string(r); r == '\n' {
			out += "  | "
		}
	}
	return out
}

// bar shows how far the import is, on standard error.
type bar struct{ p *progressbar.ProgressBar }

func newBar(on bool) *bar {
	if !on {
		return &bar{}
	}
	return &bar{progressbar.NewOptions(-1, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription("importing"),
		progressbar.OptionShowCount(), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish())}
}

func (b *bar) show(s emailint.Status) {
	if b.p == nil {
		return
	}
	for _, r := range s.Runs {
		if r.Estimated > 0 {
			b.p.ChangeMax(max(r.Estimated, s.Counts.Total))
		}
	}
	_ = b.p.Set(s.Counts.Total - s.Counts.Due) // only a picture
}

func (b *bar) end() {
	if b.p != nil {
		_ = b.p.Finish() // only a picture
	}
}

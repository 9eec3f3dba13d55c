// Command explain says of each message what the linker makes of it, one JSON object a message:
//
//	explain -crm crm.json [-rules rules.json] [-own addr,…] FILE…
//
// FILE is a message (.eml) or an mbox. The messages of one call are one world: a reply inherits from the mails it answers,
// wherever they stand.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/examples/internal/inputs"
	"github.com/intellicon/email-integration/examples/internal/program"
	"github.com/intellicon/email-integration/internal/mbox"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

func main() { program.Main("explain", run) }

type address struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

type attachment struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Size int64  `json:"size"`
}

type automated struct {
	Class  message.Class `json:"class"`
	Reason string        `json:"reason"`
}

type link struct {
	Kind     linker.Kind `json:"kind"`
	ID       string      `json:"id"`
	By       linker.How  `json:"by"`
	Evidence string      `json:"evidence"`
}

type explained struct {
	File        string             `json:"file"`
	MessageID   string             `json:"message_id"`
	InReplyTo   []string           `json:"in_reply_to"`
	References  []string           `json:"references"`
	From        []address          `json:"from"`
	To          []address          `json:"to"`
	Cc          []address          `json:"cc"`
	Subject     string             `json:"subject"`
	Date        string             `json:"date"`
	Text        string             `json:"text"`
	HTML        bool               `json:"html"`
	Attachments []attachment       `json:"attachments"`
	Defects     []string           `json:"defects"`
	Automated   *automated         `json:"automated"`
	Disposition linker.Disposition `json:"disposition"`
	Reason      string             `json:"reason"`
	Links       []link             `json:"links"`
	Create      []address          `json:"create"`
}

type mail struct {
	file string
	msg  *message.Message
	dec  linker.Decision
}

func run(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("explain", flag.ContinueOnError)
	crmFile := fs.String("crm", "", "JSON file of contacts, accounts, leads and opportunities")
	rulesFile := fs.String("rules", "", "JSON file of linker.Rules; what it leaves out is as in DefaultRules")
	own := fs.String("own", "", "own addresses, separated by commas")
	fs.SetOutput(out)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return errors.New("name at least one message (.eml) or mbox file: explain -crm crm.json FILE…")
	}
	rules, err := inputs.Rules(*rulesFile)
	if err != nil {
		return err
	}
	if rules.Own, err = inputs.Own(*own); err != nil {
		return err
	}
	crm := emailinttest.NewMemCRM()
	if *crmFile != "" {
		if err := crm.LoadFile("", *crmFile); err != nil {
			return err
		}
	}
	var mails []*mail
	for _, f := range fs.Args() {
		raws, err := mbox.ReadFile(f)
		if err != nil {
			return err
		}
		for _, raw := range raws {
			if err := ctx.Err(); err != nil {
				return err
			}
			mails = append(mails, &mail{file: f, msg: message.Parse(raw)})
		}
	}
	if err := decide(ctx, mails, rules, crm); err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	for _, m := range mails {
		if err := enc.Encode(explain(m)); err != nil {
			return err
		}
	}
	return nil
}

// decide decides each mail for itself, and then again with what the mails it answers give it.
func decide(ctx context.Context, mails []*mail, rules linker.Rules, crm *emailinttest.MemCRM) error {
	dirs := make([]linker.Directory, len(mails))
	byID := map[string]*mail{}
	for i, m := range mails {
		var err error
		if dirs[i], err = crm.Find(ctx, "", rules.Query(m.msg.Envelope)); err != nil {
			return err
		}
		m.dec = rules.Decide(m.msg.Envelope, dirs[i], nil)
		if id := m.msg.MessageID; id != "" && byID[id] == nil {
			byID[id] = m
		}
	}
	for _, m := range mails {
		links := ancestors(m, byID)
		if len(links) == 0 {
			continue
		}
		q := rules.Query(m.msg.Envelope)
		for _, l := range links {
			q.Records = append(q.Records, l.Record)
		}
		dir, err := crm.Find(ctx, "", q)
		if err != nil {
			return err
		}
		m.dec = rules.Decide(m.msg.Envelope, dir, links)
	}
	return nil
}

// ancestors gathers what a mail inherits: the direct links of the mails it cites, and of those they cite; bounded, and never
// its own.
func ancestors(m *mail, byID map[string]*mail) []linker.Link {
	seen := map[*mail]bool{m: true}
	queue := []*mail{m}
	var out []linker.Link
	for len(queue) > 0 && len(seen) < 100 {
		at := queue[0]
		queue = queue[1:]
		for _, id := range append(append([]string{}, at.msg.InReplyTo...), at.msg.References...) {
			parent := byID[id]
			if parent == nil || seen[parent] || id == m.msg.MessageID {
				continue
			}
			seen[parent] = true
			direct := linker.Inherit(parent.dec.Links, id)
			out = append(out, direct...)
			// A parent that has only inherited links is walked through.
			if len(direct) == 0 {
				queue = append(queue, parent)
			}
		}
	}
	return out
}

func explain(m *mail) explained {
	e := explained{
		File: m.file, MessageID: m.msg.MessageID, InReplyTo: list(m.msg.InReplyTo), References: list(m.msg.References),
		From: addresses(m.msg.From), To: addresses(m.msg.To), Cc: addresses(m.msg.Cc), Subject: m.msg.Subject, Text: m.msg.Text,
		HTML: m.msg.HTML != "", Attachments: []attachment{}, Defects: []string{}, Disposition: m.dec.Disposition,
		Reason: m.dec.Reason, Links: []link{}, Create: []address{},
	}
	if !m.msg.Date.IsZero() {
		e.Date = m.msg.Date.Format(time.RFC3339)
	}
	for _, a := range m.msg.Attachments {
		e.Attachments = append(e.Attachments, attachment{a.Name, a.Type, a.Size})
	}
	for _, d := range m.msg.Defects {
		e.Defects = append(e.Defects, strings.TrimSuffix(d.Name+": "+d.Detail, ": "))
	}
	if m.msg.Automated.Class != "" {
		e.Automated = &automated{m.msg.Automated.Class, m.msg.Automated.Reason}
	}
	for _, l := range m.dec.Links {
		e.Links = append(e.Links, link{l.Kind, l.ID, l.By, l.Evidence})
	}
	for _, c := range m.dec.Create {
		e.Create = append(e.Create, address{c.Name, string(c.Address)})
	}
	return e
}

func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func addresses(as []message.Address) []address {
	out := []address{}
	for _, a := range as {
		out = append(out, address{a.Name, a.Addr})
	}
	return out
}

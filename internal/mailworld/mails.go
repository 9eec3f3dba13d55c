// Package mailworld is the small world that the examples play in: a salesperson's mailbox of several hundred mails of our
// own making, the CRM of their company, and an embedded IMAP and SMTP server.
package mailworld

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Owner is the salesperson whose mailbox it is.
const Owner = "nora@northwind-tools.example"

// Password opens the embedded servers.
const Password = "quickstart"

// Mail is a message and where it lies.
type Mail struct {
	Folder string
	At     time.Time
	Raw    []byte
}

// CRM is the company's CRM in the form of emailinttest.File.
const CRM = `{
 "accounts": [
  {"id": "acme", "name": "Acme Pumps", "domains": ["acme-pumps.example"]},
  {"id": "birch", "name": "Birch & Sons", "domains": ["birch.example"]},
  {"id": "cobalt", "name": "Cobalt Health", "domains": ["cobalt-health.example"]}
 ],
 "contacts": [
  {"id": "maria", "name": "Maria Keller", "emails": ["maria.keller@acme-pumps.example"], "account": "acme"},
  {"id": "tom", "name": "Tom Birch", "emails": ["tom@birch.example", "tom.birch@gmail.com"], "account": "birch"},
  {"id": "yuki", "name": "Yuki Mori", "emails": ["yuki@cobalt-health.example"], "account": "cobalt"}
 ],
 "leads": [{"id": "lead-lena", "name": "Lena Ortiz", "emails": ["lena@ortiz-studio.example"]}],
 "opportunities": [
  {"id": "pumps-2026", "name": "Pump controllers 2026", "account": "acme", "contacts": ["maria"], "opened": "2020-01-01"},
  {"id": "birch-retrofit", "name": "Birch retrofit", "account": "birch", "contacts": ["tom"], "opened": "2020-01-01"}
 ]
}`

type mail struct {
	folder, from, to, cc, subject, id, inReplyTo, refs, body string
	extra                                                    []string
	raw                                                      string // complete message instead of the fields above
}

// Mails returns at least 500 mails, the newest a little before now; the same seed gives the same mails.
func Mails(now time.Time, seed uint64) []Mail {
	r := rand.New(rand.NewPCG(seed, 7))
	var out []Mail
	at := now.Add(-29 * 24 * time.Hour)
	n := 0
	put := func(m mail) string {
		n++
		at = at.Add(time.Duration(20+r.IntN(120)) * time.Minute)
		if at.After(now) {
			at = now.Add(-time.Minute)
		}
		if m.id == "" {
			m.id = fmt.Sprintf("m%d.%d@%s", n, seed, domainOf(m.from))
		}
		if m.folder == "" {
			m.folder = "INBOX"
		}
		raw := m.raw
		if raw == "" {
			raw = m.render(at)
		}
		out = append(out, Mail{m.folder, at, []byte(strings.ReplaceAll(raw, "\n", "\r\n"))})
		return m.id
	}
	people := []string{
		"Maria Keller <maria.keller@acme-pumps.example>", "Tom Birch <tom@birch.example>", "Tom Birch <tom.birch@gmail.com>",
		"Yuki Mori <yuki@cobalt-health.example>", "Piet Jansen <piet@acme-pumps.example>", "Lena Ortiz <lena@ortiz-studio.example>",
	}
	topics := []string{"Quote for the controllers", "Delivery date", "Contract draft", "Site visit", "Price list", "Spare parts", "Invoice 4711", "Größe der Pumpe"}
	owner := "Nora Lind <" + Owner + ">"
	for round := 0; len(out) < 505; round++ {
		// A conversation: the customer asks, Nora answers, a colleague of theirs joins in.
		who, topic := people[r.IntN(len(people))], topics[r.IntN(len(topics))]
		a := put(mail{from: who, to: owner, subject: topic, body: "Hello Nora,\n\ncould you help us with this?\n"})
		b := put(mail{folder: "Sent", from: owner, to: who, subject: "Re: " + topic, inReplyTo: a, refs: "<" + a + ">",
			body: "Gladly. Details below.\n\nNora\n\n> could you help us with this?\n"})
		put(mail{from: "Assistant <desk@elsewhere.example>", to: owner, subject: "Re: " + topic, inReplyTo: b,
			refs: "<" + a + "> <" + b + ">", body: "Adding the drawings.\n"})
		// What fills the rest of an inbox.
		put(mail{from: "Weekly Digest <news@digest.example>", to: owner, subject: fmt.Sprintf("Digest no. %d", round),
			body: "Ten things to read.\n", extra: []string{"List-Unsubscribe: <https://digest.example/u>", "Precedence: bulk", "List-Id: <digest.example>"}})
		put(mail{from: "Olaf Berg <olaf@northwind-tools.example>", to: owner, subject: "Lunch?", body: "At noon?\n"})
		put(mail{from: "Aunt Vera <vera@gmail.com>", to: owner, subject: "Sunday", body: "Are you coming?\n"})
		put(mail{from: fmt.Sprintf("Stranger %d <hello@shop%d.example>", round, round), to: owner, subject: "A question", body: "Do you ship abroad?\n"})
		switch round % 6 {
		case 0:
			put(mail{from: who, to: owner, subject: "Out of office: " + topic, body: "I am back on Monday.\n", inReplyTo: b,
				extra: []string{"Auto-Submitted: auto-replied"}})
		case 1:
			put(mail{raw: bounce(at, n, seed)})
		case 2:
			put(mail{raw: "From: Doe, John <john@acme-pumps.example>\nTo: " + owner + "\nthis line has no colon\nSubject: =?gb2312?B?xOO6wyE=?=\nDate: " +
				at.Format(time.RFC1123Z) + fmt.Sprintf("\nMessage-ID: <odd%d.%d@acme-pumps.example>", n, seed) +
				"\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: base64\n\nSGVsbG8*gTm9yYQ==\n"})
		case 3:
			put(mail{raw: attachment(at, n, seed, owner)})
		case 4:
			put(mail{folder: "Junk", from: "Prince <prince@lottery.example>", to: owner, subject: "You won", body: "Send money.\n"})
		case 5:
			put(mail{folder: "Archive", from: "Yuki Mori <yuki@cobalt-health.example>", to: owner, subject: "Minutes of our call", body: "As promised.\n"})
		}
	}
	return out
}

func (m mail) render(at time.Time) string {
	var b strings.Builder
	line := func(k, v string) {
		if v != "" {
			b.WriteString(k + ": " + v + "\n")
		}
	}
	line("From", m.from)
	line("To", m.to)
	line("Cc", m.cc)
	line("Subject", encodeWord(m.subject))
	line("Date", at.Format(time.RFC1123Z))
	line("Message-ID", "<"+m.id+">")
	if m.inReplyTo != "" {
		line("In-Reply-To", "<"+m.inReplyTo+">")
	}
	line("References", m.refs)
	for _, e := range m.extra {
		b.WriteString(e + "\n")
	}
	b.WriteString("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" + m.body)
	return b.String()
}

func encodeWord(s string) string {
	for _, c := range s {
		if c > 126 {
			return "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
		}
	}
	return s
}

func domainOf(addr string) string {
	return strings.TrimSuffix(addr[strings.LastIndexByte(addr, '@')+1:], ">")
}

func bounce(at time.Time, n int, seed uint64) string {
	return fmt.Sprintf(`Return-Path: <>
From: Mail Delivery System <MAILER-DAEMON@mx.example>
To: %s
Subject: Undelivered Mail Returned to Sender
Date: %s
Message-ID: <bounce%d.%d@mx.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

The address does not exist.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; nobody@birch.example
Action: failed
Status: 5.1.1
--b--
`, Owner, at.Format(time.RFC1123Z), n, seed)
}

func attachment(at time.Time, n int, seed uint64, owner string) string {
	return fmt.Sprintf(`From: =?iso-8859-1?Q?Ren=E9?= <rene@cobalt-health.example>
To: %s
Subject: Drawing
Date: %s
Message-ID: <att%d.%d@cobalt-health.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="x y"

--x y
Content-Type: text/html; charset=windows-1252
Content-Transfer-Encoding: quoted-printable

<p>Here is the drawing=2E</p>
--x y
Content-Type: application/pdf; name="drawing.pdf"
Content-Disposition: attachment; filename="drawing.pdf"
Content-Transfer-Encoding: base64

JVBERi0xLjQK
--x y--
`, owner, at.Format(time.RFC1123Z), n, seed)
}

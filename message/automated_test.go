package message_test

import (
	"testing"

	"github.com/intellicon/email-integration/message"
)

func TestAutomated(t *testing.T) {
	for raw, want := range map[string]message.Class{
		"Subject: hello":               "",
		"Auto-Submitted: no":           "",
		"Auto-Submitted: auto-replied": message.AutoReply,
		"Auto-Submitted: auto-replied; owner-email=\"a@ex.com\"":                           message.AutoReply,
		"Auto-Submitted: auto-replied (zimbra; vacation)":                                  message.AutoReply,
		"Auto-Submitted: auto-generated":                                                   message.Notification,
		"Auto-Submitted: auto-notified; owner=x":                                           message.Notification,
		"Return-Path: <>\nSubject: Re: x\nIn-Reply-To: <a@b>":                              message.AutoReply,
		"X-Autoreply: yes\nPrecedence: bulk":                                               message.AutoReply,
		"Precedence: auto_reply":                                                           message.AutoReply,
		"X-Apple-Action: vacation":                                                         message.AutoReply,
		"Subject: Automatische Antwort: Angebot":                                           message.AutoReply,
		"Subject: Réponse automatique : devis":                                             message.AutoReply,
		"Subject: Auto: x\nIn-Reply-To: <a@b>":                                             message.AutoReply,
		"Subject: Auto: a new car":                                                         "",
		"Subject: Re: Out of office: x":                                                    "",
		"Subject: back in the office, let's talk":                                          "",
		"X-Auto-Response-Suppress: All":                                                    "",
		"X-MS-Exchange-Inbox-Rules-Loop: a@ex.com":                                         "",
		"X-Auto-Response-Suppress: All\nX-MS-Exchange-Inbox-Rules-Loop: a@ex.com":          message.AutoReply,
		"Content-Type: multipart/report; report-type=delivery-status; boundary=b":          message.Bounce,
		"Content-Type: multipart/report; report-type=disposition-notification; boundary=b": message.Receipt,
		"Content-Type: multipart/report; report-type=feedback-report; boundary=b":          message.Report,
		"Subject: Report domain: ex.com Submitter: mx.example Report-ID: 1":                message.Report,
		"Subject: Undeliverable: offer":                                                    message.Bounce,
		"X-Failed-Recipients: x@ex.com":                                                    message.Bounce,
		"List-Unsubscribe: <https://ex.com/u>\nFeedback-ID: 1:2":                           message.Newsletter,
		"List-Id: <talk.ex.com>\nList-Post: <mailto:talk@ex.com>\nList-Unsubscribe: <mailto:u@ex.com>\nPrecedence: list": "",
		"List-Id: <talk.ex.com>\nList-Unsubscribe: <mailto:u@ex.com>\nIn-Reply-To: <a@b>\nPrecedence: list":              "",
		"List-Id: <news.ex.com>\nList-Post: NO\nList-Unsubscribe: <mailto:u@ex.com>":                                     message.Newsletter,
	} {
		e := message.ParseHeader([]byte("From: Ada <ada@ex.com>\n" + raw + "\n\n"))
		if e.Automated.Class != want {
			t.Errorf("%q: %q (%s), want %q", raw, e.Automated.Class, e.Automated.Reason, want)
		}
	}
	for from, want := range map[string]message.Class{
		"Mail Delivery Subsystem <MAILER-DAEMON@ex.com>": message.Bounce,
		"no-reply@ex.com":           message.Notification,
		"Shop <newsletter@shop.ex>": message.Newsletter,
		"info@ex.com":               "",
		"marketing@ex.com":          "",
		"Al Ert <al.ert@ex.com>":    "",
	} {
		if got := message.ParseHeader([]byte("From: " + from + "\nSubject: x\n\n")).Automated; got.Class != want {
			t.Errorf("From %s: %q (%s), want %q", from, got.Class, got.Reason, want)
		}
	}
}

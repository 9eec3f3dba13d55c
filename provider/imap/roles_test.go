package imap

import (
	"testing"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/provider"
)

func TestRoles(t *testing.T) {
	box := func(name string, attrs ...goimap.MailboxAttr) *goimap.ListData {
		return &goimap.ListData{Mailbox: name, Delim: '/', Attrs: attrs}
	}
	for _, c := range []struct {
		should string
		list   []*goimap.ListData
		want   map[string]provider.Role
	}{
		{"attributes win over names, in any case",
			[]*goimap.ListData{box("INBOX"), box("Odeslané", `\SENT`), box("Sent"), box("Müll", `\trash`), box("Müll/Alt")},
			map[string]provider.Role{"INBOX": "inbox", "Odeslané": "sent", "Sent": "", "Müll": "trash", "Müll/Alt": "trash"}},
		{"names help where no attribute does, at the top and below the inbox only",
			[]*goimap.ListData{box("INBOX"), box("INBOX/Gesendete Elemente"), box("Papierkorb"), box("Projekte/Papierkorb"), box("Entwürfe"), box("INBOX/Kunde")},
			map[string]provider.Role{"INBOX": "inbox", "INBOX/Gesendete Elemente": "sent", "Papierkorb": "trash", "Projekte/Papierkorb": "", "Entwürfe": "drafts", "INBOX/Kunde": ""}},
		{"what can't be opened is left out and still hands its role down",
			[]*goimap.ListData{box("INBOX"), box("Trash", `\noselect`), box("Trash/x"), box("Gone", `\NonExistent`)},
			map[string]provider.Role{"INBOX": "inbox", "Trash/x": "trash"}},
		{"Gmail",
			[]*goimap.ListData{box("INBOX"), box("[Gmail]", `\Noselect`), box("[Gmail]/Alle Nachrichten", `\All`), box("[Gmail]/Gesendet", `\Sent`), box("Kunde")},
			map[string]provider.Role{"INBOX": "inbox", "[Gmail]/Alle Nachrichten": "all", "[Gmail]/Gesendet": "sent", "Kunde": ""}},
	} {
		got := map[string]provider.Role{}
		for _, f := range roles(c.list) {
			got[f.ID] = f.Role
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: got %v", c.should, got)
		}
		for name, r := range c.want {
			if g, ok := got[name]; !ok || g != r {
				t.Errorf("%s: %s is %q, want %q", c.should, name, g, r)
			}
		}
	}
}

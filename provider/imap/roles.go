package imap

import (
	"strings"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/provider"
)

// roleOfAttr are the special-use attributes of RFC 6154 that matter here, in lower case.
var roleOfAttr = map[string]provider.Role{
	`\sent`: provider.RoleSent, `\archive`: provider.RoleArchive, `\all`: provider.RoleAll,
	`\drafts`: provider.RoleDrafts, `\junk`: provider.RoleJunk, `\trash`: provider.RoleTrash,
}

// roleOfName serves servers without special-use. Seen in practice: names that mail programs create in their language.
var roleOfName = names(map[provider.Role]string{
	provider.RoleSent: "sent|sent items|sent messages|sent mail|sent-mail|gesendet|gesendete elemente|gesendete objekte|" +
		"gesendete nachrichten|envoyés|éléments envoyés|messages envoyés|objets envoyés|enviados|elementos enviados|" +
		"mensajes enviados|itens enviados|mensagens enviadas|inviati|posta inviata|inviata|elementi inviati|verzonden|" +
		"verzonden items|verzonden berichten|wysłane|elementy wysłane|skickat|skickade objekt|sendt|sendte elementer|" +
		"sendt post|lähetetyt|odeslaná pošta|odeslané|elküldött|elküldött elemek|trimise|отправленные|gönderilmiş öğeler|" +
		"gönderilmiş|送信済み|送信済みアイテム|已发送|已发送邮件|寄件備份|보낸편지함",
	provider.RoleDrafts: "drafts|draft|entwürfe|brouillons|borradores|rascunhos|bozze|concepten|kopie robocze|szkice|" +
		"utkast|kladder|luonnokset|koncepty|piszkozatok|ciorne|черновики|taslaklar|下書き|草稿|草稿箱|임시보관함",
	provider.RoleJunk: "junk|spam|junk e-mail|junk email|junk mail|bulk mail|junk-e-mail|spamverdacht|unerwünscht|" +
		"courrier indésirable|indésirables|pourriel|correo no deseado|lixo eletrônico|lixo electrónico|posta indesiderata|" +
		"ongewenste e-mail|ongewenst|wiadomości-śmieci|skräppost|søppelpost|uønsket e-post|roskaposti|nevyžádaná pošta|" +
		"levélszemét|спам|нежелательная почта|önemsiz|önemsiz e-posta|迷惑メール|垃圾邮件|垃圾郵件|스팸메일함",
	provider.RoleTrash: "trash|deleted items|deleted messages|deleted|bin|papierkorb|gelöschte elemente|gelöschte objekte|" +
		"gelöscht|corbeille|éléments supprimés|messages supprimés|papelera|elementos eliminados|lixeira|itens excluídos|" +
		"itens eliminados|cestino|posta eliminata|elementi eliminati|prullenbak|verwijderde items|kosz|elementy usunięte|" +
		"papperskorgen|borttagna objekt|papirkurv|slettede elementer|slettet post|roskakori|poistetut|koš|odstraněná pošta|" +
		"kuka|törölt elemek|coș de gunoi|корзина|удаленные|удалённые|çöp kutusu|silinmiş öğeler|ゴミ箱|削除済みアイテム|" +
		"已删除|已删除邮件|刪除的郵件|휴지통",
	provider.RoleArchive: "archive|archives|archiv|archiviert|archivo|arquivo|archivio|archief|archiwum|arkiv|arkisto|архив|arşiv",
})

func names(m map[provider.Role]string) map[string]provider.Role {
	out := map[string]provider.Role{}
	for role, list := range m {
		for n := range strings.SplitSeq(list, "|") {
			out[n] = role
		}
	}
	return out
}

// roles returns the folders that can be opened, with their roles: by attribute, else by name, else from above.
func roles(list []*goimap.ListData) []provider.Folder {
	role := map[string]provider.Role{}
	known := map[provider.Role]bool{}
	for _, d := range list {
		for _, a := range d.Attrs {
			if r := roleOfAttr[strings.ToLower(string(a))]; r != "" {
				role[d.Mailbox] = r
				known[r] = true
			}
		}
		if strings.EqualFold(d.Mailbox, "INBOX") {
			role[d.Mailbox] = provider.RoleInbox
		}
	}
	for _, d := range list {
		if role[d.Mailbox] != "" {
			continue
		}
		// Only at the top or right below the inbox: "Projects/Trash" may be a folder about rubbish.
		name := d.Mailbox
		if d.Delim != 0 {
			if top, rest, ok := strings.Cut(name, string(d.Delim)); ok && (strings.EqualFold(top, "INBOX") || top == "[Gmail]" || top == "[Google Mail]") {
				name = rest
			}
		}
		if r := roleOfName[strings.ToLower(name)]; r != "" && !known[r] {
			role[d.Mailbox] = r
		}
	}
	var out []provider.Folder
	for _, d := range list {
		if hasAttr(d, `\Noselect`) || hasAttr(d, `\NonExistent`) {
			continue
		}
		f := provider.Folder{ID: d.Mailbox, Name: d.Mailbox, Role: role[d.Mailbox]}
		// What lies below the trash was thrown away, what lies below Sent was sent.
		for name := d.Mailbox; f.Role == "" && d.Delim != 0; {
			i := strings.LastIndex(name, string(d.Delim))
			if i < 0 {
				break
			}
			name = name[:i]
			if r := role[name]; r != provider.RoleInbox && r != provider.RoleAll {
				f.Role = r
			}
		}
		out = append(out, f)
	}
	return out
}

func hasAttr(d *goimap.ListData, attr string) bool {
	for _, a := range d.Attrs {
		if strings.EqualFold(string(a), attr) {
			return true
		}
	}
	return false
}

package imap

import (
	"context"
	"sort"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

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

// watched returns the folders whose mail is listed, inbox first, then sent, then by name.
func (m *Mailbox) watched(c *imapclient.Client) ([]provider.Folder, error) {
	var opts *goimap.ListOptions
	caps := c.Caps()
	if caps.Has(goimap.CapSpecialUse) && (caps.Has(goimap.CapListExtended) || caps.Has(goimap.CapIMAP4rev2)) {
		opts = &goimap.ListOptions{ReturnSpecialUse: true}
	}
	list, err := c.List("", "*", opts).Collect()
	if err != nil {
		return nil, err
	}
	var foreign []string // namespaces of other people
	if caps.Has(goimap.CapNamespace) {
		ns, err := c.Namespace().Wait()
		if err != nil && connectionDied(err) {
			return nil, err
		}
		if err == nil {
			for _, d := range append(append([]goimap.NamespaceDescriptor(nil), ns.Other...), ns.Shared...) {
				if d.Prefix != "" {
					foreign = append(foreign, d.Prefix)
				}
			}
		}
	}
	all := roles(list)
	var out []provider.Folder
next:
	for _, f := range all {
		switch f.Role {
		case provider.RoleJunk, provider.RoleTrash, provider.RoleDrafts:
			continue
		case provider.RoleAll:
			// A view of the other folders, which are listed themselves; with Gmail it is the other way round.
			if !m.gmail {
				continue
			}
		case provider.RoleInbox, provider.RoleSent:
		default:
			if m.gmail && hasAll(all) {
				continue
			}
		}
		for _, p := range foreign {
			if strings.HasPrefix(f.Name, p) || f.Name == strings.TrimRight(p, "/.\\") {
				continue next
			}
		}
		out = append(out, f)
	}
	if len(list) == 0 {
		return nil, localError("imap: the server lists no folder at all")
	}
	rank := map[provider.Role]int{provider.RoleInbox: -2, provider.RoleSent: -1}
	sort.SliceStable(out, func(i, j int) bool {
		if a, b := rank[out[i].Role], rank[out[j].Role]; a != b {
			return a < b
		}
		return out[i].Name < out[j].Name
	})
	return out, nil
}

func hasAll(fs []provider.Folder) bool {
	for _, f := range fs {
		if f.Role == provider.RoleAll {
			return true
		}
	}
	return false
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

// selection is the folder that is open, as it was when it was opened.
type selection struct {
	name                string
	validity, next, num uint32
	modSeq              uint64
}

// examine opens a folder read-only; one that is open stays so unless its present state is wanted.
func (m *Mailbox) examine(c *imapclient.Client, name string, fresh bool) (selection, error) {
	if m.selected.name == name && name != "" && !fresh {
		return m.selected, nil
	}
	m.selected = selection{}
	d, err := c.Select(name, &goimap.SelectOptions{ReadOnly: true, CondStore: c.Caps().Has(goimap.CapCondStore)}).Wait()
	if err != nil {
		return selection{}, err
	}
	m.selected = selection{name: name, validity: d.UIDValidity, next: uint32(d.UIDNext), num: d.NumMessages, modSeq: d.HighestModSeq}
	return m.selected, nil
}

// skippable reports whether a folder's refusal concerns this folder only and lasts: it is looked at again each time.
func skippable(err error) bool {
	if connectionDied(err) {
		return false
	}
	var code goimap.ResponseCode
	if se := asServerError(err); se != nil {
		if limited(se) != nil {
			return false
		}
		code = se.Code
	}
	switch code {
	case goimap.ResponseCodeUnavailable, goimap.ResponseCodeInUse, goimap.ResponseCodeServerBug, goimap.ResponseCodeLimit:
		return false
	}
	return true
}

// search returns the UIDs that match, ascending, at most limit of the lowest (0: all).
func search(c *imapclient.Client, sel selection, crit *goimap.SearchCriteria, above uint32, limit int) ([]uint32, error) {
	data, err := c.UIDSearch(crit, nil).Wait()
	if err != nil {
		return nil, err
	}
	set, _ := data.All.(goimap.UIDSet)
	var out []uint32
	for _, r := range set {
		// n:* names the last message also when its UID is below n.
		for uid := uint64(max(uint32(r.Start), above+1)); uid <= uint64(r.Stop); uid++ {
			if limit > 0 && len(out) >= limit {
				return out, nil
			}
			if len(out) > int(sel.num)+1_000_000 {
				return nil, localError("imap: the server found more messages than the folder holds")
			}
			out = append(out, uint32(uid))
		}
	}
	return out, nil
}

// onFolders runs f for every watched folder, which it opens first. Folders that can't be opened are left out.
func (m *Mailbox) onFolders(ctx context.Context, verb string, f func(c *imapclient.Client, folder provider.Folder, sel selection) error) error {
	var folders []provider.Folder
	err := m.do(ctx, verb, func(c *imapclient.Client) (err error) {
		folders, err = m.watched(c)
		return err
	})
	if err != nil {
		return err
	}
	for _, folder := range folders {
		err := m.do(ctx, verb, func(c *imapclient.Client) error {
			sel, err := m.examine(c, folder.ID, true)
			if err != nil {
				if skippable(err) {
					return nil
				}
				return err
			}
			return f(c, folder, sel)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

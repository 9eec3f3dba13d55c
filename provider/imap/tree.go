package imap

import (
	"slices"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
)

// tree is every folder of the owner, and how a new one is named.
type tree struct {
	list    []*goimap.ListData
	folders []provider.Folder // that can be opened: the inbox first; drafts, junk and trash last
	prefix  string            // of new folders: "INBOX." on some servers
	delim   rune              // 0: folders don't nest
}

func (m *Mailbox) tree(c *imapclient.Client) (*tree, error) {
	folders, _, err := m.list(c, false)
	if err != nil {
		return nil, err
	}
	t := &tree{folders: slices.Clone(folders)}
	for _, d := range m.listed {
		if t.delim == 0 {
			t.delim = d.Delim
		}
		if !slices.ContainsFunc(m.prefixes, func(p string) bool { return strings.HasPrefix(d.Mailbox, p) }) {
			t.list = append(t.list, d)
		}
	}
	switch {
	case m.personal != nil:
		t.prefix = m.personal.Prefix
		if m.personal.Delim != 0 {
			t.delim = m.personal.Delim
		}
	case t.allBelowInbox():
		t.prefix = "INBOX" + string(t.delim)
	}
	if !m.gmail {
		// A view of the other folders: what is found there lies elsewhere.
		t.folders = slices.DeleteFunc(t.folders, func(f provider.Folder) bool { return f.Role == provider.RoleAll })
	}
	rank := map[provider.Role]int{provider.RoleInbox: -1, provider.RoleDrafts: 1, provider.RoleJunk: 2, provider.RoleTrash: 3}
	slices.SortStableFunc(t.folders, func(a, b provider.Folder) int { return rank[a.Role] - rank[b.Role] })
	return t, nil
}

// allBelowInbox: Seen in practice: Courier and Cyrus keep all folders below the inbox, and the old ones of them don't tell the
// namespace.
func (t *tree) allBelowInbox() bool {
	n := 0
	for _, d := range t.list {
		if strings.EqualFold(d.Mailbox, "INBOX") {
			continue
		}
		if n++; t.delim == 0 || !hasPrefixFold(d.Mailbox, "INBOX"+string(t.delim)) {
			return false
		}
	}
	return n > 0
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func (t *tree) roleOf(name string) provider.Role {
	for _, f := range t.folders {
		if f.ID == name || strings.EqualFold(f.ID, "INBOX") && strings.EqualFold(name, "INBOX") {
			return f.Role
		}
	}
	return ""
}

// roleIfMade is the role that a folder of that name has, or would have.
func (t *tree) roleIfMade(name string) provider.Role {
	for _, f := range roles(append(slices.Clone(t.list), &goimap.ListData{Mailbox: name, Delim: t.delim})) {
		if strings.EqualFold(f.ID, name) && f.Role != "" {
			return f.Role
		}
	}
	return ""
}

// existing returns the name of a folder as the server spells it, "" when there is none that can be opened.
func (t *tree) existing(name string) string {
	for _, exact := range []bool{true, false} {
		for _, f := range t.folders {
			if f.ID == name || !exact && strings.EqualFold(f.ID, name) {
				return f.ID
			}
		}
	}
	return ""
}

// withRole returns the folder of a role: not one below it, and one that can be opened if there is one. "" when none has it.
func (t *tree) withRole(role provider.Role) (name string, opens bool) {
	// Also a parent that can't be opened has a role: it is where the folder belongs.
	bare := make([]*goimap.ListData, len(t.list))
	for i, d := range t.list {
		b := *d
		b.Attrs = slices.DeleteFunc(slices.Clone(d.Attrs), func(a goimap.MailboxAttr) bool {
			return strings.EqualFold(string(a), `\Noselect`) || strings.EqualFold(string(a), `\NonExistent`)
		})
		bare[i] = &b
	}
	var tops []string
	all := roles(bare)
	for _, f := range all {
		if f.Role == role && !slices.ContainsFunc(all, func(up provider.Folder) bool {
			return up.Role == role && t.delim != 0 && strings.HasPrefix(f.ID, up.ID+string(t.delim))
		}) {
			tops = append(tops, f.ID)
		}
	}
	for _, n := range tops {
		if t.existing(n) != "" {
			return n, true
		}
	}
	if len(tops) > 0 {
		return tops[0], false
	}
	return "", false
}

// roleFolder returns the folder of a role, which is made where there is none.
func (m *Mailbox) roleFolder(c *imapclient.Client, t *tree, role provider.Role, name string, attr goimap.MailboxAttr) (string, error) {
	have, opens := t.withRole(role)
	if opens {
		return have, nil
	}
	if have != "" {
		// RFC 3501, 6.3.3: a name that only has children can be created.
		return m.makeFolder(c, t, attr, have)
	}
	names := []string{t.prefix + name}
	if t.prefix == "" && t.delim != 0 {
		names = append(names, "INBOX"+string(t.delim)+name) // the namespace is not told, and there is no folder to learn it from
	}
	return m.makeFolder(c, t, attr, names...)
}

// makeFolder makes the first folder of the names that the server takes, and subscribes to it, so that mail programs show it.
func (m *Mailbox) makeFolder(c *imapclient.Client, t *tree, attr goimap.MailboxAttr, names ...string) (string, error) {
	var refused error
	for _, name := range names {
		var opts *goimap.CreateOptions
		if attr != "" && m.has(goimap.CapCreateSpecialUse) {
			opts = &goimap.CreateOptions{SpecialUse: []goimap.MailboxAttr{attr}}
		}
		err := c.Create(name, opts).Wait()
		if err != nil && opts != nil && skippable(err) {
			err = c.Create(name, nil).Wait() // RFC 6154, 3: a server may refuse the attribute
		}
		if err != nil && !skippable(err) {
			return "", err
		}
		if err != nil {
			// Another client may have made it meanwhile.
			list, lerr := c.List("", name, nil).Collect()
			if lerr != nil && connectionDied(lerr) {
				return "", lerr
			}
			if !slices.ContainsFunc(list, func(d *goimap.ListData) bool {
				return d.Mailbox == name && !hasAttr(d, `\Noselect`) && !hasAttr(d, `\NonExistent`)
			}) {
				refused = err
				continue
			}
		}
		if err := c.Subscribe(name).Wait(); err != nil && connectionDied(err) {
			return "", err
		}
		t.folders = append(t.folders, provider.Folder{ID: name, Name: name})
		return name, nil
	}
	return "", &refusal{"the server does not let us make the folder that is needed", refused}
}

// refusal is a server's lasting no.
type refusal struct {
	why string
	err error
}

func (e *refusal) Error() string   { return "imap: " + e.why }
func (e *refusal) Unwrap() []error { return []error{provider.ErrUnsupported, e.err} }

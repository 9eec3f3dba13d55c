package imap

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
)

// has says whether the server offers a capability.
func (m *Mailbox) has(cap goimap.Cap) bool {
	return !slices.Contains(m.ignored, cap) && m.caps.Has(cap)
}

// list returns the owner's folders that can be opened. With status it returns their states too, as far as they come along: in one
// round trip where the server has LIST-STATUS.
func (m *Mailbox) list(c *imapclient.Client, status bool) ([]provider.Folder, map[string]selection, error) {
	var opts *goimap.ListOptions
	if (m.has(goimap.CapListExtended) || m.has(goimap.CapIMAP4rev2)) && !m.plainList {
		// RFC 6154, 2: without LIST-EXTENDED the attributes come unasked.
		opts = &goimap.ListOptions{ReturnSpecialUse: m.has(goimap.CapSpecialUse)}
		// Gmail counts each label for it, of which we watch a few.
		if status && m.has(goimap.CapListStatus) && !m.gmail {
			closed, err := m.unselect(c)
			if err != nil {
				return nil, nil, err
			}
			if closed {
				opts.ReturnStatus = m.statusItems(c)
			}
		}
		if *opts == (goimap.ListOptions{}) {
			opts = nil
		}
	}
	data, err := c.List("", "*", opts).Collect()
	if se := asServerError(err); opts != nil && se != nil && se.Type == goimap.StatusResponseTypeBad {
		m.plainList = true // it offers what it doesn't understand
		return m.list(c, status)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(data) == 0 {
		return nil, nil, localError("imap: the server lists no folder at all")
	}
	foreign, err := m.foreign(c)
	if err != nil {
		return nil, nil, err
	}
	var all []provider.Folder
next:
	for _, f := range roles(data) {
		for _, p := range foreign {
			if strings.HasPrefix(f.Name, p) || f.Name == strings.TrimRight(p, "/.\\") {
				continue next
			}
		}
		all = append(all, f)
	}
	states := map[string]selection{}
	for _, d := range data {
		// Seen in practice: some say nothing of a folder that they can't look into (RFC 5819, 2 allows it).
		if d.Status != nil && d.Status.UIDValidity != 0 {
			states[d.Mailbox] = stateOf(d.Status)
			m.opened[d.Mailbox] = true
		}
	}
	m.folders, m.listed = all, data
	return all, states, nil
}

// foreign returns the prefixes of other people's folders, asked once a connection.
func (m *Mailbox) foreign(c *imapclient.Client) ([]string, error) {
	if m.namespaces || !m.has(goimap.CapNamespace) {
		return m.prefixes, nil
	}
	ns, err := c.Namespace().Wait()
	if err != nil {
		if connectionDied(err) {
			return nil, err
		}
		ns = &goimap.NamespaceData{} // it won't say: all is the owner's
	}
	m.prefixes, m.personal, m.namespaces = nil, nil, true
	if len(ns.Personal) > 0 {
		m.personal = &ns.Personal[0]
	}
	for _, d := range slices.Concat(ns.Other, ns.Shared) {
		if d.Prefix != "" {
			m.prefixes = append(m.prefixes, d.Prefix)
		}
	}
	return m.prefixes, nil
}

// watched returns the folders whose mail is listed, inbox first, then sent, then by name.
func (m *Mailbox) watched(all []provider.Folder) []provider.Folder {
	var out []provider.Folder
	for _, f := range all {
		if m.watches(f, all) {
			out = append(out, f)
		}
	}
	rank := map[provider.Role]int{provider.RoleInbox: -2, provider.RoleSent: -1}
	sort.SliceStable(out, func(i, j int) bool {
		if a, b := rank[out[i].Role], rank[out[j].Role]; a != b {
			return a < b
		}
		return out[i].Name < out[j].Name
	})
	return out
}

func (m *Mailbox) watches(f provider.Folder, all []provider.Folder) bool {
	switch f.Role {
	case provider.RoleJunk, provider.RoleTrash, provider.RoleDrafts:
		return false
	case provider.RoleAll:
		// A view of the other folders, which are listed themselves; with Gmail it is the other way round.
		return m.gmail
	case provider.RoleInbox, provider.RoleSent:
		return true
	}
	return !m.gmail || !slices.ContainsFunc(all, func(f provider.Folder) bool { return f.Role == provider.RoleAll })
}

// watchedNow asks the server.
func (m *Mailbox) watchedNow(ctx context.Context) ([]provider.Folder, error) {
	var all []provider.Folder
	err := m.do(ctx, "reading the folders", func(c *imapclient.Client) (err error) {
		all, _, err = m.list(c, false)
		return err
	})
	return m.watched(all), err
}

// folder returns a folder with its role, as far as it is known without asking for others. ok is false when it does not exist
// or can't be selected.
func (m *Mailbox) folder(c *imapclient.Client, name string) (f provider.Folder, ok bool, err error) {
	data, err := c.List("", name, nil).Collect()
	if err != nil {
		return f, false, err
	}
	// A name may hold a wildcard, and then others answer too.
	data = slices.DeleteFunc(data, func(d *goimap.ListData) bool { return d.Mailbox != name })
	there := roles(data)
	if len(there) == 0 {
		return f, false, nil
	}
	for _, known := range m.folders {
		if known.ID == name {
			return known, true, nil
		}
	}
	return there[0], true, nil
}

// selection is a folder's state: when it was opened, or when the server was asked.
type selection struct {
	name                string
	validity, next, num uint32 // next is 0 where the server doesn't tell
	counted             bool   // num is known
	modSeq              uint64 // 0 without CONDSTORE, and for a folder that has none
}

func stateOf(d *goimap.StatusData) selection {
	s := selection{validity: d.UIDValidity, next: uint32(d.UIDNext), modSeq: d.HighestModSeq}
	if d.NumMessages != nil {
		s.num, s.counted = *d.NumMessages, true
	}
	return s
}

func (m *Mailbox) condStore(c *imapclient.Client) bool {
	return m.has(goimap.CapCondStore) && !m.plainSelect
}

func (m *Mailbox) statusItems(c *imapclient.Client) *goimap.StatusOptions {
	return &goimap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true, HighestModSeq: m.condStore(c)}
}

// examine opens a folder read-only; one that is open stays so unless its present state is wanted.
func (m *Mailbox) examine(c *imapclient.Client, name string, fresh bool) (selection, error) {
	if m.selected.name == name && name != "" && !fresh {
		return m.selected, nil
	}
	m.selected = selection{}
	opts := &goimap.SelectOptions{ReadOnly: true, CondStore: m.condStore(c)}
	d, err := c.Select(name, opts).Wait()
	if se := asServerError(err); opts.CondStore && se != nil && se.Type == goimap.StatusResponseTypeBad {
		m.plainSelect = true // it offers what it doesn't understand
		return m.examine(c, name, fresh)
	}
	if err != nil {
		return selection{}, m.refusal(name, err)
	}
	m.opened[name] = true
	m.selected = selection{name: name, validity: d.UIDValidity, next: uint32(d.UIDNext), num: d.NumMessages, counted: true, modSeq: d.HighestModSeq}
	return m.selected, nil
}

// unselect closes the open folder where that can be done without expunging it, and says whether none is open now.
func (m *Mailbox) unselect(c *imapclient.Client) (bool, error) {
	if m.selected.name == "" {
		return true, nil
	}
	if !m.has(goimap.CapUnselect) {
		return false, nil
	}
	m.selected = selection{}
	err := c.Unselect().Wait()
	if err != nil && !connectionDied(err) {
		return false, nil
	}
	return true, err
}

// states completes what LIST has told of folders, in few round trips. Folders that refuse are absent.
func (m *Mailbox) states(c *imapclient.Client, folders []provider.Folder, told map[string]selection) (map[string]selection, error) {
	out := map[string]selection{}
	var ask []string
	for _, f := range folders {
		if s, ok := told[f.ID]; ok {
			out[f.ID] = s
		} else {
			ask = append(ask, f.ID)
		}
	}
	// RFC 3501, 6.3.10: STATUS is not for the open folder; opening it again tells as much.
	if open := m.selected.name; slices.Contains(ask, open) {
		ask = slices.DeleteFunc(ask, func(n string) bool { return n == open })
		s, err := m.examine(c, open, true)
		switch {
		case err == nil:
			out[open] = s
		case !skippable(err):
			return nil, err
		}
	}
	const pipelined = 40
	for batch := range slices.Chunk(ask, pipelined) {
		cmds := make([]*imapclient.StatusCommand, len(batch))
		for i, name := range batch {
			cmds[i] = c.Status(name, m.statusItems(c))
		}
		var failed error
		for i, cmd := range cmds {
			d, err := cmd.Wait()
			switch {
			case err == nil:
				m.opened[batch[i]] = true
				out[batch[i]] = stateOf(d)
			default:
				if err = m.refusal(batch[i], err); !skippable(err) {
					failed = err
				}
			}
		}
		if failed != nil {
			return nil, failed
		}
	}
	return out, nil
}

// refusal says what a refusal to open a folder means. Seen in practice: a process of Dovecot's that has a folder's index in
// memory when that is replaced says [SERVERBUG] and then "Mailbox was deleted under us" for as long as it lives, and a new
// one is content. So the refusal of a folder that did open is taken for the connection's end; and of any other, where the
// connection has lived for a while.
func (m *Mailbox) refusal(name string, err error) error {
	se := asServerError(err)
	bug := se != nil && se.Code == goimap.ResponseCodeServerBug
	if !skippable(err) && !bug || lasting(err) || !m.opened[name] && time.Since(m.connected) < stuckAge {
		return err
	}
	delete(m.opened, name)
	return errStuck
}

// stuckAge bounds how often a folder that goes on refusing costs a new connection.
const stuckAge = 15 * time.Minute

// errStuck is a connection that has to be replaced; not a localError, for that leaves it in order.
var errStuck = errors.New("imap: a folder that could be opened before is refused")

// lasting reports whether a folder was refused with a reason that another connection wouldn't change.
func lasting(err error) bool {
	se := asServerError(err)
	return se != nil && (se.Code == goimap.ResponseCodeNoPerm || se.Code == goimap.ResponseCodeCannot || se.Code == goimap.ResponseCodeNonExistent)
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

// onFolders runs f for each folder, which it opens first; refused, which may be nil, is told of those that can't be opened.
func (m *Mailbox) onFolders(ctx context.Context, verb string, folders []provider.Folder, refused func(error),
	f func(c *imapclient.Client, folder provider.Folder, sel selection) error) error {
	for _, folder := range folders {
		err := m.do(ctx, verb, func(c *imapclient.Client) error {
			sel, err := m.examine(c, folder.ID, true)
			if err != nil {
				if skippable(err) {
					if refused != nil {
						refused(err)
					}
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

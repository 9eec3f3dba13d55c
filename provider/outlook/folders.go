package outlook

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// place is a folder, as a cursor and a tree remember it. Facts 2.3: its id is constant; name and parent are not.
type place struct {
	ID     string `json:"i"`
	Name   string `json:"n,omitempty"`
	Parent string `json:"p,omitempty"`
	Search bool   `json:"v,omitempty"` // it holds what lies elsewhere
}

// over is what is known of a folder, of which had was known before.
func (p place) over(had place) place {
	p.Name, p.Parent, p.Search = cmp.Or(p.Name, had.Name), cmp.Or(p.Parent, had.Parent), p.Search || had.Search
	return p
}

// Roles of folders by their well-known names (facts 2.3). What is out, and what lies below, holds no mail that is watched.
const (
	out      provider.Role = "out"
	archived string        = "archive"
)

var wellKnown = []struct {
	name string
	role provider.Role
}{
	{"inbox", provider.RoleInbox}, {"sentitems", provider.RoleSent}, {archived, provider.RoleArchive}, {"drafts", provider.RoleDrafts},
	{"deleteditems", provider.RoleTrash}, {"junkemail", provider.RoleJunk}, {"outbox", out}, {"conversationhistory", out},
}

// tree is the folders of a mailbox. Safe for concurrent use.
type tree struct {
	mu    sync.Mutex // guards what follows
	all   map[string]place
	roles map[string]provider.Role // by id
	asked bool                     // for the well-known folders
}

func newTree() *tree { return &tree{all: map[string]place{}, roles: map[string]provider.Role{}} }

func (t *tree) set(ps ...place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range ps {
		t.all[p.ID] = p.over(t.all[p.ID])
	}
}

func (t *tree) drop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, id)
	delete(t.roles, id)
}

func (t *tree) list() (out []place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.all {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// learn takes over what a cursor knows.
func (t *tree) learn(ps []place, roles map[string]provider.Role) {
	t.set(ps...)
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, r := range roles {
		t.roles[id] = r
	}
	t.asked = t.asked || len(roles) > 0
}

// known reports whether the well-known folders were asked for.
func (t *tree) known() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked
}

func (t *tree) roleMap() map[string]provider.Role {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]provider.Role{}
	for id, r := range t.roles {
		out[id] = r
	}
	return out
}

// depth is how many folders may lie in each other.
const depth = 300

// role is that of a folder; what lies below Junk Email, Deleted Items and Drafts has theirs. known is false where it or one above it is not known.
func (t *tree) role(id string) (r provider.Role, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.roleLocked(id)
}

// roleLocked is role; the caller holds t.mu.
func (t *tree) roleLocked(id string) (r provider.Role, known bool) {
	own := t.roles[id]
	p, ok := t.all[id]
	if !ok && own == "" {
		return "", false
	}
	if p.Search {
		return out, true
	}
	if own != "" && own != provider.RoleSent && own != provider.RoleArchive && own != provider.RoleInbox {
		return own, true
	}
	for range depth {
		switch up := t.roles[p.Parent]; up {
		case provider.RoleTrash, provider.RoleJunk, provider.RoleDrafts, out:
			return up, true
		}
		if p, ok = t.all[p.Parent]; !ok {
			break // the root, which is no folder of mail
		}
	}
	return own, true
}

func (t *tree) folder(id string) provider.Folder {
	r, _ := t.role(id)
	if r == out {
		r = ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return provider.Folder{ID: id, Name: cmp.Or(t.all[id].Name, id), Role: r}
}

// of returns the id of the folder of a role, "" where there is none: one that was thrown away has its role no more.
func (t *tree) of(role provider.Role) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, r := range t.roles {
		if r != role {
			continue
		}
		if is, _ := t.roleLocked(id); is == role {
			return id
		}
	}
	return ""
}

func watchedRole(r provider.Role) bool {
	return r != provider.RoleTrash && r != provider.RoleJunk && r != provider.RoleDrafts && r != out
}

// folderFields are what is asked of folders.
var folderFields = []string{"id", "displayName", "parentFolderId", "totalItemCount"}

func placeOf(f models.MailFolderable) place {
	_, search := f.(models.MailSearchFolderable)
	return place{ID: str(f.GetId()), Name: str(f.GetDisplayName()), Parent: str(f.GetParentFolderId()), Search: search}
}

// folderChange is what the delta of the folders tells of one.
type folderChange struct {
	place
	removed bool
}

// folderPage reads a page of the folders' delta, from its beginning where link is "".
func (m *Mailbox) folderPage(ctx context.Context, l quota.Lane, link string) (cs []folderChange, next, delta string, err error) {
	err = m.read(ctx, l, foldersDelta, func(ctx context.Context) error {
		b := m.me.MailFolders().Delta()
		cfg := &users.ItemMailFoldersDeltaRequestBuilderGetRequestConfiguration{Headers: prefer(m.p.o.PageSize)}
		if link != "" {
			if err := m.checkLink(link); err != nil {
				return err
			}
			b = b.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.ItemMailFoldersDeltaRequestBuilderGetQueryParameters{Select: folderFields}
		}
		r, err := b.GetAsDeltaGetResponse(ctx, cfg)
		if err != nil {
			return err
		}
		if r == nil || r.GetValue() == nil {
			return errEmpty
		}
		cs = nil
		for _, f := range r.GetValue() {
			if f == nil || str(f.GetId()) == "" {
				continue
			}
			_, removed := f.GetAdditionalData()["@removed"]
			cs = append(cs, folderChange{placeOf(f), removed})
		}
		next, delta = str(r.GetOdataNextLink()), str(r.GetOdataDeltaLink())
		return m.goesOn(link, next, delta)
	})
	return cs, next, delta, err
}

// loadTree reads all folders and where their delta goes on.
func (m *Mailbox) loadTree(ctx context.Context, l quota.Lane) (link string, err error) {
	fresh := map[string]place{}
	for n := 0; ; n++ {
		cs, next, delta, err := m.folderPage(ctx, l, link)
		if err == nil && n == endless {
			err = errLoop
		}
		if err != nil {
			return "", err
		}
		for _, c := range cs {
			if c.removed {
				delete(fresh, c.ID)
			} else {
				fresh[c.ID] = c.place
			}
		}
		if delta != "" {
			link = delta
			break
		}
		link = next
	}
	roles := map[string]provider.Role{}
	for _, w := range wellKnown {
		p, err := m.folderBy(ctx, l, w.name)
		if errors.Is(err, provider.ErrGone) {
			continue // facts 2.3: "may not exist until first used"
		}
		if err != nil {
			return "", err
		}
		fresh[p.ID], roles[p.ID] = p.over(fresh[p.ID]), w.role
	}
	// At once: a folder of which it is not known yet that it is the trash looks like any other to whoever reads at the same time, or after we were stopped.
	t := m.known.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, r := range t.roles {
		if _, there := fresh[id]; there && roles[id] == "" {
			roles[id] = r
		}
	}
	t.all, t.roles, t.asked = fresh, roles, true
	return link, nil
}

// loadRoles asks for the well-known folders, which v1.0 names nowhere else: once, and again where folders came, which may be those that were not there (facts 2.3:
// "until first used") or take the place of others.
func (m *Mailbox) loadRoles(ctx context.Context, l quota.Lane, again bool) error {
	t := m.known.tree
	if t.known() && !again {
		return nil
	}
	for _, w := range wellKnown {
		if err := m.loadRole(ctx, l, w.name, w.role); err != nil {
			return err
		}
	}
	t.mu.Lock()
	t.asked = true
	t.mu.Unlock()
	return nil
}

func (m *Mailbox) loadRole(ctx context.Context, l quota.Lane, name string, role provider.Role) error {
	p, err := m.folderBy(ctx, l, name)
	if errors.Is(err, provider.ErrGone) {
		return nil // facts 2.3: "may not exist until first used"
	}
	if err != nil {
		return err
	}
	m.known.tree.set(p)
	m.known.tree.mu.Lock()
	m.known.tree.roles[p.ID] = role
	m.known.tree.mu.Unlock()
	return nil
}

// folderBy gets a folder by its id or its well-known name.
func (m *Mailbox) folderBy(ctx context.Context, l quota.Lane, id string) (p place, err error) {
	err = m.read(ctx, l, folderGet, func(ctx context.Context) error {
		f, err := m.me.MailFolders().ByMailFolderId(id).Get(ctx, &users.ItemMailFoldersMailFolderItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemMailFoldersMailFolderItemRequestBuilderGetQueryParameters{Select: folderFields}})
		if err != nil {
			return err
		}
		if f == nil || str(f.GetId()) == "" {
			return errEmpty
		}
		p = placeOf(f)
		return nil
	})
	return p, err
}

// locateFolder makes a folder known in which a message was seen, with those above it.
func (m *Mailbox) locateFolder(ctx context.Context, l quota.Lane, id string) error {
	t := m.known.tree
	if !t.known() {
		if _, err := m.loadTree(ctx, l); err != nil {
			return err
		}
	}
	var found []place
	for range depth {
		if id == "" || slices.ContainsFunc(found, func(p place) bool { return p.ID == id }) {
			break
		}
		if _, ok := t.role(id); ok {
			break
		}
		p, err := m.folderBy(ctx, l, id)
		if errors.Is(err, provider.ErrGone) {
			break // it was deleted since, and what lay in it with it
		}
		if m.denied(ctx, l, err) {
			p, err = place{ID: id}, nil // what lies in it was shown all the same
		}
		if err != nil {
			return err
		}
		found = append(found, p)
		if id = p.Parent; id != "" {
			t.mu.Lock()
			_, known := t.all[id]
			root := t.all[t.inboxLocked()].Parent == id
			t.mu.Unlock()
			if known || root {
				break
			}
		}
	}
	t.set(found...) // at once: one whose parents are not known yet may lie in the trash
	return nil
}

// inboxLocked is the inbox's id; the caller holds t.mu.
func (t *tree) inboxLocked() string {
	for id, r := range t.roles {
		if r == provider.RoleInbox {
			return id
		}
	}
	return ""
}

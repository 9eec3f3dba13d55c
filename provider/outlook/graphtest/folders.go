package graphtest

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// folder is a folder of mail. Facts 2.3: its id is constant.
type folder struct {
	id, name string
	known    string // its well-known name, "" where it has none
	parent   *folder
	hidden   bool
	order    []*mail // newest first
	unread   int
	feed     feed
	epoch    int // how often its deltas expired
}

// wellKnown are the folders that have a name of their own in any language (facts 2.3).
var wellKnown = []struct{ name, display, parent string }{
	{"msgfolderroot", "Top of Information Store", ""},
	{"inbox", "Inbox", "msgfolderroot"},
	{"drafts", "Drafts", "msgfolderroot"},
	{"sentitems", "Sent Items", "msgfolderroot"},
	{"deleteditems", "Deleted Items", "msgfolderroot"},
	{"junkemail", "Junk Email", "msgfolderroot"},
	{"outbox", "Outbox", "msgfolderroot"},
	{"archive", "Archive", "msgfolderroot"},
	{"recoverableitemsdeletions", "Deletions", ""},
}

func (u *User) addFolder(name string, parent *folder, known string) *folder {
	f := &folder{id: "AAMkAGFl" + b64.EncodeToString(u.s.digest(40, "folder", u.OID, u.s.next())) + "AAA=", name: name, parent: parent, known: known}
	f.hidden = known == "recoverableitemsdeletions"
	u.folders = append(u.folders, f)
	u.noteFolder(f, "created")
	return f
}

// folder finds a folder by its id or its well-known name; nil: it isn't there.
func (u *User) folder(id string) *folder {
	for _, f := range u.folders {
		if f.id == id || f.known != "" && f.known == strings.ToLower(id) {
			return f
		}
	}
	return nil
}

// find finds one by its path as well.
func (u *User) find(id string) *folder {
	if f := u.folder(id); f != nil {
		return f
	}
	for _, f := range u.folders {
		if f.path() == id {
			return f
		}
	}
	return nil
}

// path is the display names below the root.
func (f *folder) path() string {
	if f.parent == nil || f.parent.known == "msgfolderroot" {
		return f.name
	}
	return f.parent.path() + "/" + f.name
}

func (u *User) children(f *folder) []*folder {
	var out []*folder
	for _, o := range u.folders {
		if o.parent == f {
			out = append(out, o)
		}
	}
	return out
}

func (u *User) archive() *folder {
	if f := u.folder("archive"); f != nil {
		return f
	}
	return u.addFolder("Archive", u.folder("msgfolderroot"), "archive")
}

// Folder returns the id of a folder by its well-known name or path, made where it is missing; below an existing path only its last name may be.
func (u *User) Folder(path string) (id string) {
	u.s.mu.Lock()
	f := u.find(path)
	if f == nil {
		parent, name := u.folder("msgfolderroot"), path
		if i := strings.LastIndex(path, "/"); i >= 0 {
			parent, name = u.find(path[:i]), path[i+1:]
		}
		if parent == nil {
			u.s.mu.Unlock()
			panic(fmt.Sprintf("graphtest: %s has no folder above %q", u.Address, path))
		}
		known := ""
		if strings.EqualFold(path, "archive") {
			known = "archive"
		}
		f = u.addFolder(name, parent, known)
	}
	u.s.mu.Unlock()
	u.s.flush()
	return f.id
}

// RenameFolder, MoveFolder and DeleteFolder are a person who does that. A folder that is deleted goes below Deleted Items, with what is in it
// (from memory).
func (u *User) RenameFolder(which, name string) {
	u.onFolder(which, func(f *folder) {
		f.name = name
		u.noteFolder(f, "updated")
	})
}

func (u *User) MoveFolder(which, below string) {
	u.onFolder(which, func(f *folder) {
		if p := u.find(below); p != nil {
			u.moveFolder(f, p)
		}
	})
}

func (u *User) DeleteFolder(which string) {
	u.onFolder(which, func(f *folder) { u.moveFolder(f, u.folder("deleteditems")) })
}

// PurgeFolder removes a folder for good, with the folders and the mail in it.
func (u *User) PurgeFolder(which string) { u.onFolder(which, u.purge) }

func (u *User) onFolder(id string, f func(*folder)) {
	u.s.mu.Lock()
	if o := u.find(id); o != nil {
		f(o)
	}
	u.s.mu.Unlock()
	u.s.flush()
}

func (u *User) moveFolder(f, below *folder) {
	for p := below; p != nil; p = p.parent {
		if p == f {
			return
		}
	}
	old := f.parent
	f.parent = below
	u.noteFolder(f, "updated")
	u.noteFolder(old, "updated")
	u.noteFolder(below, "updated")
}

func (u *User) purge(f *folder) {
	for _, c := range u.children(f) {
		u.purge(c)
	}
	for _, m := range slices.Clone(f.order) {
		u.remove(m)
	}
	u.folders = slices.DeleteFunc(u.folders, func(o *folder) bool { return o == f })
	u.noteFolder(f, "deleted")
}

// FolderCounts returns the paths of all folders, with how many messages each has.
func (u *User) FolderCounts() map[string]int {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.settle()
	out := map[string]int{}
	for _, f := range u.folders {
		out[f.path()] = len(f.order)
	}
	return out
}

func (u *User) wireFolder(f *folder) map[string]any {
	v := map[string]any{
		"id": f.id, "displayName": f.name, "childFolderCount": len(u.children(f)), "unreadItemCount": f.unread, "totalItemCount": len(f.order),
		"isHidden": f.hidden, "sizeInBytes": f.size(),
	}
	if f.parent != nil {
		v["parentFolderId"] = f.parent.id
	} else {
		v["parentFolderId"] = "AAMkAGFlcm9vdA==" // the store above has a root that is nobody's to see
	}
	return v
}

func (f *folder) size() int {
	n := 0
	for _, m := range f.order {
		n += len(m.raw)
	}
	return n
}

// pathFolder is the folder in the path of a call. Facts 2.3: a well-known name may be none yet: 404.
func (c *call) pathFolder() (*folder, *apiError) {
	if f := c.user.folder(c.args["folder"]); f != nil {
		return f, nil
	}
	return nil, c.noFolder(c.args["folder"])
}

func (c *call) noFolder(id string) *apiError {
	if !strings.HasPrefix(id, "AAMk") && !slices.ContainsFunc(wellKnown, func(k struct{ name, display, parent string }) bool { return k.name == strings.ToLower(id) }) {
		return malformed()
	}
	e := notFound()
	e.message = "The specified folder could not be found in the store."
	return e
}

// listFolders lists the folders below the root, or below one; hidden ones where they are asked for.
func (c *call) listFolders() (*reply, *apiError) {
	u := c.user
	at := u.folder("msgfolderroot")
	if _, named := c.args["folder"]; named {
		var e *apiError
		if at, e = c.pathFolder(); e != nil {
			return nil, e
		}
	}
	n, e := c.pageSize(10)
	if e != nil {
		return nil, e
	}
	all := slices.DeleteFunc(u.children(at), func(f *folder) bool {
		return f.hidden && !strings.EqualFold(c.query.Get("includeHiddenFolders"), "true")
	})
	if v := c.query.Get("$filter"); v != "" {
		keep, e := folderFilter(v)
		if e != nil {
			return nil, e
		}
		all = slices.DeleteFunc(all, func(f *folder) bool { return !keep(f) })
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].name < all[j].name })
	skip, e := c.skip()
	if e != nil {
		return nil, e
	}
	vs := []any{}
	for _, f := range all[min(skip, len(all)):min(skip+n, len(all))] {
		vs = append(vs, pick(u.wireFolder(f), c.selected()))
	}
	out := map[string]any{"@odata.context": c.context("mailFolders"), "value": vs}
	if skip+n < len(all) {
		out["@odata.nextLink"] = c.skipTo(skip + n)
	}
	return ok(out), nil
}

// folderFilter knows displayName eq '…', by which apps look folders up.
func folderFilter(v string) (func(*folder) bool, *apiError) {
	name, value, ok := strings.Cut(v, " eq ")
	value = strings.TrimSpace(value)
	if !ok || !strings.EqualFold(strings.TrimSpace(name), "displayName") || len(value) < 2 || value[0] != '\'' || value[len(value)-1] != '\'' {
		return nil, badRequest("ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")
	}
	want := strings.ReplaceAll(value[1:len(value)-1], "''", "'")
	return func(f *folder) bool { return strings.EqualFold(f.name, want) }, nil
}

// getFolder is one folder.
func (c *call) getFolder() (*reply, *apiError) {
	f, e := c.pathFolder()
	if e != nil {
		return nil, e
	}
	v := pick(c.user.wireFolder(f), c.selected())
	v["@odata.context"] = c.context("mailFolders/$entity")
	return ok(v), nil
}

// createFolder makes a folder, below the root or below one. From memory: a name that is there is 409.
func (c *call) createFolder() (*reply, *apiError) {
	u := c.user
	below := u.folder("msgfolderroot")
	if _, named := c.args["folder"]; named {
		var e *apiError
		if below, e = c.pathFolder(); e != nil {
			return nil, e
		}
	}
	var in struct {
		DisplayName string
		IsHidden    bool
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if e := c.free(below, in.DisplayName, nil); e != nil {
		return nil, e
	}
	known := ""
	if below == u.folder("msgfolderroot") && strings.EqualFold(in.DisplayName, "Archive") && u.folder("archive") == nil {
		known = "archive" // facts 2.3: "may not exist until first used"; that one made by its name is the one is from memory
	}
	f := u.addFolder(in.DisplayName, below, known)
	f.hidden = in.IsHidden
	u.noteFolder(below, "updated")
	return created(u.wireFolder(f)), nil
}

// free reports whether a folder may have a name.
func (c *call) free(below *folder, name string, but *folder) *apiError {
	if strings.TrimSpace(name) == "" {
		return badRequest("ErrorInvalidRequest", "A folder needs a displayName.")
	}
	for _, f := range c.user.children(below) {
		if f != but && strings.EqualFold(f.name, name) {
			return &apiError{status: http.StatusConflict, code: "ErrorFolderExists", message: "A folder with the specified name already exists."}
		}
	}
	return nil
}

// distinguished folders stay what they are.
func (c *call) ordinary() (*folder, *apiError) {
	f, e := c.pathFolder()
	if e == nil && f.known != "" {
		return nil, &apiError{status: http.StatusForbidden, code: "ErrorDeleteDistinguishedFolder", message: "Distinguished folders cannot be changed."}
	}
	return f, e
}

func (c *call) patchFolder() (*reply, *apiError) {
	f, e := c.ordinary()
	if e != nil {
		return nil, e
	}
	var in struct{ DisplayName string }
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if e := c.free(f.parent, in.DisplayName, f); e != nil {
		return nil, e
	}
	f.name = in.DisplayName
	c.user.noteFolder(f, "updated")
	return ok(c.user.wireFolder(f)), nil
}

func (c *call) deleteFolder() (*reply, *apiError) {
	f, e := c.ordinary()
	if e != nil {
		return nil, e
	}
	bin := c.user.folder("deleteditems")
	for p := f.parent; p != nil; p = p.parent {
		if p == bin {
			c.user.purge(f)
			return noContent, nil
		}
	}
	c.user.moveFolder(f, bin)
	return noContent, nil
}

func (c *call) moveFolder() (*reply, *apiError) {
	f, e := c.ordinary()
	if e != nil {
		return nil, e
	}
	to, e := c.destination()
	if e != nil {
		return nil, e
	}
	if e := c.free(to, f.name, f); e != nil {
		return nil, e
	}
	c.user.moveFolder(f, to)
	return created(c.user.wireFolder(f)), nil
}

// skip is $skip, and skipTo a link with another: that is how listings go on at Microsoft, and why they slip when mail comes or goes meanwhile.
func (c *call) skip() (int, *apiError) {
	v := c.query.Get("$skip")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, badRequest("ErrorInvalidUrlQuery", "$skip is out of range")
	}
	return n, nil
}

func (c *call) skipTo(n int) string {
	q := c.r.URL.Query()
	q.Set("$skip", strconv.Itoa(n))
	return c.here(q)
}

func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

package gmailtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/api/gmail/v1"
)

// maxLabels is how many labels a mailbox has at most (facts 1.5).
const maxLabels = 10_000

type label struct {
	id, name string
	system   bool
	list     string // labelListVisibility
	message  string // messageListVisibility
	color    *gmail.LabelColor
}

// Facts 1.5 name the system labels; CHAT is from 1.4.
var systemNames = []string{"INBOX", "SENT", "DRAFT", "SPAM", "TRASH", "UNREAD", "STARRED", "IMPORTANT", "CHAT",
	"CATEGORY_PERSONAL", "CATEGORY_SOCIAL", "CATEGORY_PROMOTIONS", "CATEGORY_UPDATES", "CATEGORY_FORUMS"}

func systemLabels() []*label {
	var out []*label
	for _, n := range systemNames {
		out = append(out, &label{id: n, name: n, system: true})
	}
	return out
}

// label finds a label by its id.
func (u *User) label(id string) *label {
	for _, l := range u.labels {
		if l.id == id {
			return l
		}
	}
	return nil
}

// named finds a label by its name. That case does not count is from memory.
func (u *User) named(name string) *label {
	for _, l := range u.labels {
		if strings.EqualFold(l.name, name) {
			return l
		}
	}
	return nil
}

// CreateLabel makes a label, "/" between levels, and returns its id; that of the one there is where the name is taken.
func (u *User) CreateLabel(name string) (id string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	if l := u.named(name); l != nil {
		return l.id
	}
	return u.addLabel(name).id
}

func (u *User) addLabel(name string) *label {
	l := &label{id: fmt.Sprintf("Label_%d", u.s.next()), name: name, list: "labelShow", message: "show"}
	u.labels = append(u.labels, l)
	return l
}

// RenameLabel is a person who renames a label. Facts 1.5: "names are editable", ids stay.
func (u *User) RenameLabel(id, name string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	if l := u.label(id); l != nil && !l.system {
		l.name = name
	}
}

// DeleteLabel takes a label away from the mailbox and off every message.
func (u *User) DeleteLabel(id string) {
	u.s.mu.Lock()
	if l := u.label(id); l != nil && !l.system {
		u.dropLabel(l)
	}
	u.s.mu.Unlock()
	u.s.flush()
}

func (u *User) dropLabel(l *label) {
	for _, m := range slices.Clone(u.order) {
		u.relabel(m, nil, []string{l.id})
	}
	u.labels = slices.DeleteFunc(u.labels, func(o *label) bool { return o == l })
}

// Labels returns the names of the person's own labels by their ids.
func (u *User) Labels() map[string]string {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	out := map[string]string{}
	for _, l := range u.labels {
		if !l.system {
			out[l.id] = l.name
		}
	}
	return out
}

func (l *label) wire() *gmail.Label {
	w := &gmail.Label{Id: l.id, Name: l.name, Type: "user", LabelListVisibility: l.list, MessageListVisibility: l.message, Color: l.color}
	if l.system {
		w.Type = "system"
	}
	return w
}

// listLabels is users.labels.list, which has no counts (G-disc).
func (c *call) listLabels() (any, *apiError) {
	out := &gmail.ListLabelsResponse{}
	for _, l := range c.user.labels {
		out.Labels = append(out.Labels, l.wire())
	}
	return out, nil
}

// getLabel is users.labels.get.
func (c *call) getLabel() (any, *apiError) {
	l := c.user.label(c.r.PathValue("id"))
	if l == nil {
		return nil, notFound()
	}
	w := l.wire()
	threads, unread := map[string]bool{}, map[string]bool{}
	for _, m := range c.user.order {
		if !m.has(l.id) {
			continue
		}
		w.MessagesTotal++
		threads[m.thread] = true
		if m.has("UNREAD") {
			w.MessagesUnread++
			unread[m.thread] = true
		}
	}
	w.ThreadsTotal, w.ThreadsUnread = int64(len(threads)), int64(len(unread))
	w.ForceSendFields = []string{"MessagesTotal", "MessagesUnread", "ThreadsTotal", "ThreadsUnread"}
	return w, nil
}

// nameable says what is wrong with a label's name, of another label than l. Facts 1.5: "name clash or reserved name -> 409/400".
func (u *User) nameable(l *label, name string) *apiError {
	if name == "" || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(name, "//") {
		return invalid("Invalid label name")
	}
	switch o := u.named(name); {
	case o == nil, o == l:
		return nil
	case o.system:
		return invalid("Invalid label name")
	default:
		return &apiError{status: http.StatusConflict, reason: "aborted", message: "Label name exists or conflicts"}
	}
}

// createLabel is users.labels.create. "A/B" makes no "A": facts 1.5, "/" nests in the interface.
func (c *call) createLabel() (any, *apiError) {
	var in gmail.Label
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if e := c.user.nameable(nil, in.Name); e != nil {
		return nil, e
	}
	if n := len(c.user.labels) - len(systemNames); n >= maxLabels {
		return nil, invalid("Maximum number of labels reached")
	}
	l := c.user.addLabel(in.Name)
	return l.set(&in), nil
}

func (l *label) set(in *gmail.Label) *gmail.Label {
	if in.LabelListVisibility != "" {
		l.list = in.LabelListVisibility
	}
	if in.MessageListVisibility != "" {
		l.message = in.MessageListVisibility
	}
	if in.Color != nil {
		l.color = in.Color
	}
	return l.wire()
}

// own is a label of the person's own: system labels are not to be changed.
func (c *call) own() (*label, *apiError) {
	l := c.user.label(c.r.PathValue("id"))
	switch {
	case l == nil:
		return nil, notFound()
	case l.system:
		return nil, invalid("Invalid update request")
	}
	return l, nil
}

// changeLabel is users.labels.patch and update.
func (c *call) changeLabel() (any, *apiError) {
	l, e := c.own()
	if e != nil {
		return nil, e
	}
	var in gmail.Label
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if in.Name != "" || c.m.verb == http.MethodPut {
		if e := c.user.nameable(l, in.Name); e != nil {
			return nil, e
		}
		l.name = in.Name
	}
	return l.set(&in), nil
}

// deleteLabel is users.labels.delete.
func (c *call) deleteLabel() (any, *apiError) {
	l, e := c.own()
	if e != nil {
		return nil, e
	}
	c.user.dropLabel(l)
	return nil, nil
}

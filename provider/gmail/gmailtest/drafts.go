package gmailtest

import (
	"fmt"
	"slices"

	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// draft is a draft: its id lasts, that of its message does not.
type draft struct {
	id   string
	mail *mail
}

func (u *User) draft(id string) *draft {
	for _, d := range u.drafts {
		if d.id == id {
			return d
		}
	}
	return nil
}

func (u *User) addDraft(raw []byte, thread string) *draft {
	d := &draft{id: fmt.Sprintf("r%d", 7000000000000000000+u.s.next()), mail: u.put(raw, u.s.now(), []string{"DRAFT"}, thread)}
	u.drafts = append(u.drafts, d)
	return d
}

// edit gives a draft another message. Facts 1.4: "A draft edit = messageDeleted + messageAdded with new id".
func (u *User) edit(d *draft, raw []byte, thread string) {
	old := d.mail
	d.mail = nil // or remove takes the draft as well
	u.remove(old)
	d.mail = u.put(raw, u.s.now(), []string{"DRAFT"}, thread)
}

// Draft is a person who begins a message in the web interface.
func (u *User) Draft(raw []byte) (draftID string) {
	u.s.mu.Lock()
	d := u.addDraft(raw, "")
	u.s.mu.Unlock()
	u.s.flush()
	return d.id
}

// EditDraft is a person who goes on writing.
func (u *User) EditDraft(draftID string, raw []byte) {
	u.onDraft(draftID, func(d *draft) { u.edit(d, raw, d.mail.thread) })
}

// DiscardDraft is a person who throws a draft away.
func (u *User) DiscardDraft(draftID string) { u.onDraft(draftID, func(d *draft) { u.remove(d.mail) }) }

// SendDraft is a person who sends a draft by hand, as it is. It reports whether there was one that could be sent.
func (u *User) SendDraft(draftID string) (id string, ok bool) {
	u.onDraft(draftID, func(d *draft) {
		if m, e := u.sendStaged(d); e == nil {
			id, ok = m.id, true
		}
	})
	return id, ok
}

func (u *User) onDraft(id string, f func(*draft)) {
	u.s.mu.Lock()
	if d := u.draft(id); d != nil {
		f(d)
	}
	u.s.mu.Unlock()
	u.s.flush()
}

// Drafts returns the ids of the drafts by those of their messages.
func (u *User) Drafts() map[string]string {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	out := map[string]string{}
	for _, d := range u.drafts {
		out[d.mail.id] = d.id
	}
	return out
}

// sendStaged sends a draft: it and its message go, and a message with another id comes. That the id is another is from memory, as facts 1.4 have
// it of edits; the thread is the draft's.
func (u *User) sendStaged(d *draft) (*mail, *apiError) {
	m, e := u.send(d.mail.raw, d.mail.thread)
	if e != nil {
		return nil, e
	}
	u.remove(d.mail)
	return m, nil
}

// createDraft is users.drafts.create.
func (c *call) createDraft() (any, *apiError) {
	raw, thread, e := c.staged()
	if e != nil {
		return nil, e
	}
	return c.user.addDraft(raw, thread).wire(), nil
}

// staged reads the message of a draft.
func (c *call) staged() (raw []byte, thread string, e *apiError) {
	var in gmail.Draft
	if e := c.decode(&in); e != nil {
		return nil, "", e
	}
	if in.Message == nil {
		in.Message = &gmail.Message{}
	}
	if raw, e = c.content(in.Message.Raw, maxSend); e != nil {
		return nil, "", e
	}
	thread, e = c.user.threadFor(fakemail.ParseHeader(raw), in.Message.ThreadId)
	return raw, thread, e
}

func (d *draft) wire() *gmail.Draft { return &gmail.Draft{Id: d.id, Message: brief(d.mail)} }

func (c *call) pathDraft() (*draft, *apiError) {
	if d := c.user.draft(c.r.PathValue("id")); d != nil {
		return d, nil
	}
	return nil, notFound()
}

// updateDraft is users.drafts.update.
func (c *call) updateDraft() (any, *apiError) {
	d, e := c.pathDraft()
	if e != nil {
		return nil, e
	}
	raw, thread, e := c.staged()
	if e != nil {
		return nil, e
	}
	c.user.edit(d, raw, thread)
	return d.wire(), nil
}

// getDraft is users.drafts.get.
func (c *call) getDraft() (any, *apiError) {
	d, e := c.pathDraft()
	if e != nil {
		return nil, e
	}
	m, e := c.view(d.mail, c.query.Get("format"))
	return &gmail.Draft{Id: d.id, Message: m}, e
}

// listDrafts is users.drafts.list.
func (c *call) listDrafts() (any, *apiError) {
	ms, e := c.search()
	if e != nil {
		return nil, e
	}
	ms = slices.DeleteFunc(slices.Clone(ms), func(m *mail) bool { return !m.has("DRAFT") })
	page, next, e := c.page(ms)
	if e != nil {
		return nil, e
	}
	out := &gmail.ListDraftsResponse{ResultSizeEstimate: estimate(len(ms)), NextPageToken: next}
	for _, m := range page {
		for _, d := range c.user.drafts {
			if d.mail == m {
				out.Drafts = append(out.Drafts, &gmail.Draft{Id: d.id, Message: &gmail.Message{Id: m.id, ThreadId: m.thread}})
			}
		}
	}
	return out, nil
}

// deleteDraft is users.drafts.delete: for good (G-disc).
func (c *call) deleteDraft() (any, *apiError) {
	d, e := c.pathDraft()
	if e != nil {
		return nil, e
	}
	c.user.remove(d.mail)
	return nil, nil
}

// sendDraft is users.drafts.send. With a message of its own the draft is that one first.
func (c *call) sendDraft() (any, *apiError) {
	var in gmail.Draft
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	d := c.user.draft(in.Id)
	if d == nil {
		return nil, notFound()
	}
	if c.media != nil || in.Message != nil && in.Message.Raw != "" {
		raw, thread, e := c.staged()
		if e != nil {
			return nil, e
		}
		if in.Message == nil || in.Message.ThreadId == "" {
			thread = d.mail.thread
		}
		c.user.edit(d, raw, thread)
	}
	m, e := c.user.sendStaged(d)
	if e != nil {
		return nil, e
	}
	return brief(m), nil
}

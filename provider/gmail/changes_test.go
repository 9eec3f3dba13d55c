package gmail_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

func start(t *testing.T, box *gmail.Mailbox) provider.Cursor {
	t.Helper()
	c, err := box.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// changes follows Changes to its end.
func changes(t *testing.T, box *gmail.Mailbox, c provider.Cursor) (all provider.Page) {
	t.Helper()
	for range 1000 {
		p, err := box.Changes(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		all.Items, all.Left, all.Restart = append(all.Items, p.Items...), append(all.Left, p.Left...), append(all.Restart, p.Restart...)
		if c, all.Next = p.Next, p.Next; !p.More {
			return all
		}
	}
	t.Fatal("there is no end of changes")
	return all
}

func folderNames(it provider.Item) string {
	var ids []string
	for _, f := range it.Folders {
		ids = append(ids, f.Name)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// What happens to a mailbox by hand, and what is told of it.
func TestChanges(t *testing.T) {
	mail := func(name string) []byte { return providertest.Mail(name, "about "+name) }
	var old string // a message that was there before
	for _, c := range []struct {
		name string
		do   func(w *world)
		// items as "name or id: folders", those whose header was read with "+"; left as "folder of id", "" for the mailbox.
		items, left []string
	}{
		{"new", func(w *world) { w.user.Deliver(mail("a"), day0) }, []string{"+a: INBOX"}, nil},
		{"filtered to a label", func(w *world) { w.user.Deliver(mail("a"), day0, w.user.CreateLabel("Deals")) }, []string{"+a: Deals"}, nil},
		{"sent", func(w *world) { w.user.Deliver(mail("a"), day0, "SENT") }, []string{"+a: SENT"}, nil},
		{"to oneself", func(w *world) { w.user.Deliver(mail("a"), day0, "SENT", "INBOX") }, []string{"+a: INBOX SENT"}, nil},
		{"archived by a filter", func(w *world) { w.user.Deliver(mail("a"), day0, gmailtest.Archived) }, []string{"+a: "}, nil},
		{"spam", func(w *world) { w.user.Deliver(mail("a"), day0, "SPAM") }, []string{"a: SPAM"}, nil},
		{"a chat", func(w *world) { w.user.Chat("hi", day0) }, nil, nil},
		{"a draft that is written", func(w *world) {
			d := w.user.Draft(mail("a"))
			w.user.EditDraft(d, mail("b"))
			w.user.EditDraft(d, mail("c"))
		}, nil, nil},
		{"a draft that is sent", func(w *world) {
			id := w.user.Draft([]byte("From: me@acme.example\r\nTo: ada@sender.example\r\nSubject: x\r\n\r\nx\r\n"))
			w.user.SendDraft(id)
		}, []string{"+: SENT"}, nil},
		{"added and deleted", func(w *world) { w.user.Delete(w.user.Deliver(mail("a"), day0)) }, nil, []string{" of new"}},
		{"added and archived", func(w *world) { w.user.Archive(w.user.Deliver(mail("a"), day0)) }, []string{"+a: "}, []string{"INBOX of new"}},
		{"added and thrown away", func(w *world) { w.user.Trash(w.user.Deliver(mail("a"), day0)) }, []string{"a: TRASH"}, []string{"INBOX of new"}},
		{"read, starred", func(w *world) { w.user.Read(old, true); w.user.Star(old, true); w.user.Star(old, false) }, nil, nil},
		{"archived", func(w *world) { w.user.Archive(old) }, []string{"old: "}, []string{"INBOX of old"}},
		{"archived and back", func(w *world) { w.user.Archive(old); w.user.Unarchive(old) }, []string{"old: INBOX"}, nil},
		{"labelled", func(w *world) { w.user.Label(old, "Deals", true) }, []string{"old: Deals INBOX"}, nil},
		{"label taken off", func(w *world) { w.user.Label(old, "Deals", true); w.user.Label(old, "Deals", false) },
			[]string{"old: INBOX"}, []string{"Deals of old"}},
		{"thrown away", func(w *world) { w.user.Trash(old) }, []string{"old: TRASH"}, []string{"INBOX of old"}},
		{"thrown away with its label", func(w *world) { w.user.Label(old, "Deals", true); w.user.Trash(old) }, []string{"old: TRASH"},
			[]string{"INBOX of old", "Deals of old"}},
		{"thrown away and back", func(w *world) { w.user.Trash(old); w.user.Untrash(old) }, []string{"old: INBOX"}, []string{"TRASH of old"}},
		{"called spam, and not", func(w *world) { w.user.Spam(old, true); w.user.Spam(old, false) }, []string{"old: INBOX"}, []string{"SPAM of old"}},
		{"deleted", func(w *world) { w.user.Delete(old) }, nil, []string{" of old"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(gmailtest.Options{}, gmail.Options{})
			old = w.user.Deliver(mail("old"), day0.Add(-time.Hour))
			box := w.open(t)
			cur := start(t, box)
			c.do(w)
			p := changes(t, box, cur)
			var items, left []string
			for _, it := range p.Items {
				e := it.Envelope
				name, _, _ := strings.Cut(e.MessageID, "@")
				if e.Has == message.HasHeader {
					if name != "old" && strings.HasPrefix(e.MessageID, "CA") {
						name = "" // Gmail's own id
					}
					name = "+" + name
				} else if m, ok := w.user.Message(string(it.ID)); ok {
					name, _, _ = strings.Cut(message.ParseHeader(m.Raw).MessageID, "@")
				}
				if e.Thread == "" || e.Sent != strings.Contains(folderNames(it), "SENT") {
					t.Errorf("%s has the thread %q, sent %v", it.ID, e.Thread, e.Sent)
				}
				items = append(items, name+": "+folderNames(it))
			}
			for _, r := range p.Left {
				whose := "new"
				if string(r.ID) == old {
					whose = "old"
				}
				folder := r.Folder
				if name, ok := w.user.Labels()[folder]; ok {
					folder = name
				}
				if l := folder + " of " + whose; !slices.Contains(left, l) && !strings.HasPrefix(c.name, "a draft") {
					left = append(left, l)
				}
			}
			if !slices.Equal(items, c.items) || !slices.Equal(left, c.left) {
				t.Errorf("told %q, left %q; want %q, %q", items, left, c.items, c.left)
			}
			if again := changes(t, box, p.Next); len(again.Items)+len(again.Left) > 0 {
				t.Errorf("told again: %v", again)
			}
		})
	}
}

// A page token that has died costs no message its telling, and no message is got twice.
func TestChangesStaleToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{PageSize: 5, PageTokenLife: time.Minute}, gmail.Options{})
		box := w.open(t)
		c := start(t, box)
		want := map[provider.ItemID]bool{}
		for i := range 23 {
			want[provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), time.Now()))] = true
		}
		seen := map[provider.ItemID]bool{}
		for {
			p, err := box.Changes(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range p.Items {
				seen[it.ID] = true
			}
			if c = p.Next; !p.More {
				break
			}
			if len(seen) == 10 {
				time.Sleep(2 * time.Minute)
			}
		}
		if len(seen) != len(want) {
			t.Errorf("%d of %d were told", len(seen), len(want))
		}
		// The record that was told last comes once more: whether others have its id is not known.
		if n := len(w.calls("gmail.users.messages.get")); n > len(want)+1 {
			t.Errorf("%d messages were got", n)
		}
	})
}

// An expired history: the places are announced, all mail is listed with them, nothing is read, and what happened meanwhile is not lost.
func TestChangesExpired(t *testing.T) {
	w := newWorld(gmailtest.Options{PageSize: 4}, gmail.Options{PageSize: 4})
	var ids []string
	for i := range 10 {
		ids = append(ids, w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), day0.Add(time.Duration(i)*time.Hour)))
	}
	box := w.open(t)
	c := start(t, box)
	w.user.Archive(ids[1])
	w.user.Label(ids[2], "Deals", true)
	w.user.Delete(ids[3])
	w.user.Trash(ids[4])
	sent := w.user.Deliver(providertest.Mail("s", "x"), day0, "SENT")
	w.user.ExpireHistory()
	w.srv.Forget()
	var p provider.Page
	placed := map[string][]string{}
	for more := true; more; more = p.More {
		var err error
		if p, err = box.Changes(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for _, f := range p.Restart {
			placed["restart"] = append(placed["restart"], f.Name)
		}
		for _, it := range p.Items {
			placed[string(it.ID)] = append(placed[string(it.ID)], folderNames(it))
			if it.Envelope.Sent != (string(it.ID) == sent && folderNames(it) == "SENT") {
				t.Errorf("%s in %q: sent %v", it.ID, folderNames(it), it.Envelope.Sent)
			}
		}
		if c = p.Next; len(placed) == 5 { // in the middle
			ids = append(ids, w.user.Deliver(providertest.Mail("late", "x"), day0))
		}
	}
	if got := fmt.Sprint(placed["restart"]); got != "[INBOX SENT DRAFT SPAM TRASH Deals ]" {
		t.Errorf("announced %s", got)
	}
	for i, id := range append(ids, sent) {
		want := "[ INBOX]"
		switch {
		case id == sent:
			want = "[ SENT]"
		case i == 1:
			want = "[]"
		case i == 2:
			want = "[ INBOX Deals]"
		case i == 3, i == 4:
			want = "[]"
		}
		got := fmt.Sprint(placed[id])
		if i == 1 && len(placed[id]) != 1 || (i == 3 || i == 4) && len(placed[id]) != 0 || i != 10 && got != want {
			t.Errorf("message %d lies in %s, want %s", i, got, want)
		}
		if i == 10 && id != sent && len(placed[id]) == 0 {
			t.Error("what came meanwhile is lost")
		}
	}
	if n := len(w.calls("gmail.users.messages.get")); n > 1 {
		t.Errorf("%d messages were read", n)
	}
	if again := changes(t, box, c); len(again.Items)+len(again.Restart) > 0 {
		t.Errorf("once more: %v", again)
	}
}

// What was received before anybody wanted it is left out of it.
func TestChangesExpiredSince(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	w.user.Deliver(providertest.Mail("old", "x"), day0.AddDate(0, 0, -10))
	fresh := w.user.Deliver(providertest.Mail("new", "x"), day0.AddDate(0, 0, 1))
	box := w.open(t)
	c := start(t, box)
	w.user.ExpireHistory()
	box.Since(day0)
	for _, it := range changes(t, box, c).Items {
		if string(it.ID) != fresh {
			t.Error("old mail was listed")
		}
	}
}

// A server without a history would have it expire for ever.
func TestChangesWithoutHistory(t *testing.T) {
	for _, status := range []int{404, 405, 501} {
		w := newWorld(gmailtest.Options{Missing: []string{"gmail.users.history.list"}, MissingStatus: status}, gmail.Options{})
		box := w.open(t)
		_, err := box.Changes(t.Context(), start(t, box))
		var missing *gmail.MissingError
		if !errors.As(err, &missing) || missing.Method != "history.list" || !errors.Is(err, provider.ErrUnsupported) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// A message that can't be got, though its kin can, is told with its error, and later again.
func TestChangesUnreadable(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	c := start(t, box)
	for i := range 3 {
		w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), day0)
	}
	w.srv.Fail("gmail.users.messages.get", 1, gmailtest.Fault{Status: 400, Reason: "invalidArgument", Message: "no"})
	var bad, good int
	for _, it := range changes(t, box, c).Items {
		if it.Err != nil {
			bad++
		} else {
			good++
		}
	}
	if bad != 1 || good != 2 {
		t.Errorf("%d unreadable, %d read", bad, good)
	}
}

// A message that goes between its listing and its reading is no error, and its going is told.
func TestChangesGoneInBetween(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	c := start(t, box)
	var ids []string
	for i := range 3 {
		ids = append(ids, w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), day0))
	}
	w.srv.Fail("gmail.users.history.list", 1, gmailtest.Fault{After: true, Reached: func() { w.user.Delete(ids[1]) }})
	p, err := box.Changes(t.Context(), c)
	if err != nil || len(p.Items) != 2 {
		t.Fatalf("%d items, %v", len(p.Items), err)
	}
	if left := changes(t, box, p.Next).Left; len(left) != 1 || string(left[0].ID) != ids[1] || left[0].Folder != "" {
		t.Errorf("left %v", left)
	}
}

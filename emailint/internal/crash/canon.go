package crash

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// picture is what became of everything, a line a fact, without ids and times that depend on the order of things.
type picture []string

// picture takes it. It asks the inside of every wrapper: looking is no part of a run. An error is a contradiction between what
// the state and the CRM say, and is no matter of comparison.
func (w *world) picture() (picture, error) {
	var out picture
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	w.learnSent()
	emails := map[int64]state.Email{}
	names := map[string]string{} // connection id -> mailbox
	for _, b := range w.boxes {
		if b.conn == 0 {
			continue
		}
		names[strconv.FormatInt(b.conn, 10)] = b.name
		c, err := w.store.Connection(w.ctx, org, b.conn)
		if err != nil {
			return nil, err
		}
		add("%s is %s", b.name, c.State)
		runs, err := w.store.Runs(w.ctx, org, b.conn)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			add("%s read history: %s, %d seen, done %v", b.name, r.Reason, r.Seen, r.Done)
		}
		for after := int64(0); ; {
			rows, err := w.store.Items(w.ctx, org, b.conn, after, 100)
			if err != nil {
				return nil, err
			}
			if len(rows) == 0 {
				break
			}
			for _, r := range rows {
				after = r.ID
				add("%s row %s", b.name, w.row(b, r, emails))
			}
		}
		w.holdings(b, add)
	}
	for _, k := range w.keys {
		o, err := w.store.OutboxGet(w.ctx, org, k)
		if w.receipt != "" && errors.Is(err, state.ErrNotFound) {
			continue // erased
		}
		if err != nil {
			return nil, err
		}
		there := o.Copy
		if there == state.CopyFound { // whether the service or we filed it, nobody can tell after a crash
			there = state.CopyFiled
		}
		add("outbox %s is %s, its copy %q", k, o.State, there)
		if _, ok := emails[o.Email]; !ok {
			emails[o.Email] = state.Email{}
		}
	}
	if w.receipt != "" {
		add("erased: %s", w.receipt)
	}
	saved := w.crm.Emails(org)
	for _, e := range saved {
		id, err := strconv.ParseInt(e.ID, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the CRM has an email that is called %q", e.ID)
		}
		if _, ok := emails[id]; !ok {
			emails[id] = state.Email{}
		}
	}
	for id, have := range emails {
		if have.ID != 0 {
			continue
		}
		e, err := w.store.Email(w.ctx, org, id)
		if err != nil {
			return nil, err
		}
		emails[id] = e
	}
	if err := w.mutations(names, emails, add); err != nil {
		return nil, err
	}
	if err := agree(emails, saved); err != nil {
		return nil, err
	}
	for _, e := range saved {
		if len(e.Links) > 0 {
			add("email %s", w.email(e, names))
		}
	}
	add("contacts created: %d", w.crm.Created(org))
	n, err := w.store.Declared(w.ctx, org)
	if err != nil {
		return nil, err
	}
	add("declared: %d, met: %d; emails of the CRM's: %d", n.Declared, n.Met, w.crm.Count(org)-len(saved))
	slices.Sort(out)
	return out, nil
}

// mutations lists what the rules of the inbox wanted and did.
func (w *world) mutations(names map[string]string, emails map[int64]state.Email, add func(string, ...any)) error {
	done := map[int64]int{}
	for _, b := range w.boxes {
		events, err := w.store.IntentLog(w.ctx, org, b.conn, 0, 1000)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if ev.State == state.IntentDone || ev.State == state.IntentUndone {
				done[ev.Intent]++
			}
		}
	}
	for id, e := range emails {
		is, err := w.store.IntentsOf(w.ctx, org, id)
		if err != nil {
			return err
		}
		for _, i := range is {
			add("rule %s on %s in %s: %s %s, logged as done or undone %d times", i.Rule, w.hashes[e.MessageID], names[strconv.FormatInt(i.Connection, 10)],
				i.State, w.named(i.Error), done[i.ID])
		}
	}
	return nil
}

// learnSent learns the Message-IDs that a service put in place of ours.
func (w *world) learnSent() {
	for _, b := range w.boxes {
		for _, d := range b.service.Sent() {
			w.learn(d.MessageID, message.ParseHeader(d.Raw).Subject)
		}
	}
}

func (w *world) row(b *box, r state.Row, known map[int64]state.Email) string {
	name := w.hashes[r.MessageID]
	if name == "" {
		name = b.items[r.Item]
	}
	if name == "" {
		name = "item " + string(r.Item)
	}
	var in []string
	for _, f := range r.Folders {
		in = append(in, f.Name)
	}
	s := fmt.Sprintf("%s in %v: %s", name, in, r.Fate)
	if r.Reason != "" {
		s += " (" + w.named(r.Reason) + ")"
	}
	if r.Left {
		s += ", left"
	}
	if r.Gone {
		s += ", gone"
	}
	if r.Sent {
		s += ", sent"
	}
	if r.History {
		s += ", history"
	}
	// A row that was linked once remembers its Email.
	if r.Email != 0 {
		e, ok := known[r.Email]
		if !ok {
			var err error
			e, err = w.store.Email(w.ctx, org, r.Email)
			must(err)
			known[r.Email] = e
		}
		if len(e.Effective()) > 0 {
			s += ", part of an email"
		}
	}
	return s
}

func (w *world) email(e crm.Email, names map[string]string) string {
	name := w.ids[e.Message.MessageID]
	if name == "" {
		name = "unknown mail " + e.Message.Subject
	}
	var holders, links []string
	for _, h := range e.Holders {
		holders = append(holders, names[h])
	}
	slices.Sort(holders)
	for _, l := range e.Links {
		links = append(links, w.link(l))
	}
	content := "with content"
	if e.Message.Text == "" {
		content = "headers only"
	}
	if e.Partial != "" {
		content += " (" + e.Partial + ")"
	}
	s := fmt.Sprintf("%s of %v, %s, links %v", name, holders, content, links)
	if e.HostID != "" {
		s += ", known as " + e.HostID
	}
	if e.Outbound {
		s += ", outbound"
	} else {
		s += ", " + e.When.UTC().Format("2006-01-02 15:04:05") // of what we sent it is the moment of sending
	}
	if e.History {
		s += ", history"
	}
	return s
}

func (w *world) link(l linker.Link) string {
	return fmt.Sprintf("%s:%s by %s %s %d", l.Kind, l.ID, l.By, w.named(l.Evidence), l.Strength)
}

// named puts the names of mails in place of their Message-IDs: a service may have given another.
func (w *world) named(s string) string {
	for id, name := range w.ids {
		s = strings.ReplaceAll(s, id, name)
	}
	return s
}

// holdings lists what lies in the mailbox.
func (w *world) holdings(b *box, add func(string, ...any)) {
	for messageID, name := range w.ids {
		for _, s := range b.service.Look(messageID) {
			slices.Sort(s.Labels)
			add("%s holds %s in %v labelled %v %v", b.name, name, folderNames(s.Folders), s.Labels, s.Flags)
		}
	}
	for _, d := range b.service.Sent() {
		add("%s sent %s to %v", b.name, message.ParseHeader(d.Raw).Subject, d.Recipients)
	}
}

func folderNames(fs []provider.Folder) []string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Name)
	}
	slices.Sort(out)
	return out
}

// agree compares the state's emails with the CRM's: nothing delivered that isn't decided, nothing decided that isn't delivered,
// no email under two ids.
func agree(emails map[int64]state.Email, saved []crm.Email) error {
	linked := map[string]crm.Email{}
	seen := map[string]string{}
	for _, e := range saved {
		if len(e.Links) == 0 {
			continue
		}
		linked[e.ID] = e
		if m := e.Message.MessageID; m != "" {
			if other := seen[m]; other != "" {
				return fmt.Errorf("the CRM has one mail under the ids %s and %s", other, e.ID)
			}
			seen[m] = e.ID
		}
	}
	for id, e := range emails {
		key := strconv.FormatInt(id, 10)
		have, ok := linked[key]
		delete(linked, key)
		switch want := e.Effective(); {
		case !ok && len(want) > 0 && e.Saved > 0:
			return fmt.Errorf("email %d counts as delivered with %d links and the CRM doesn't have it", id, len(want))
		case ok && e.Revision != have.Revision:
			return fmt.Errorf("email %d is at revision %d and the CRM has %d", id, e.Revision, have.Revision)
		case ok && !slices.Equal(want, have.Links):
			return fmt.Errorf("email %d has the links %v and the CRM %v", id, want, have.Links)
		case ok && len(e.Holders) != len(have.Holders):
			return fmt.Errorf("email %d has the holders %v and the CRM %v", id, e.Holders, have.Holders)
		}
	}
	for id := range linked {
		return fmt.Errorf("the CRM has email %s with links, which the state doesn't know by any mail or row", id)
	}
	return nil
}

// without leaves out the lines about one mail.
func (p picture) without(name string) picture {
	return slices.DeleteFunc(slices.Clone(p), func(l string) bool { return slices.Contains(strings.Fields(l), name) })
}

// settled leaves out what depends on the moment at which an exclusion came. Rows that lie nowhere and are no email: whether such a
// mail was decided once more, and confirmed to be gone, depends on when it could last be read. And the label of the inbox's
// rule: it acts on a mail's first decision, and never because links changed later.
func (p picture) settled() picture {
	var out picture
	for _, l := range p {
		gone := strings.Contains(l, " in []: ") && strings.Contains(l, ", left") && !strings.Contains(l, "part of an email")
		if gone || strings.HasPrefix(l, "rule label") || strings.Contains(l, " in [CRM]") {
			continue
		}
		l = strings.NewReplacer("[CRM INBOX]", "[INBOX]", "[INBOX CRM]", "[INBOX]").Replace(l)
		l, _, _ = strings.Cut(l, " labelled ")
		out = append(out, l)
	}
	slices.Sort(out)
	return out
}

// diff says what differs from the picture that is wanted, "" when nothing does.
func (p picture) diff(want picture) string {
	var b strings.Builder
	i, j := 0, 0
	for i < len(p) || j < len(want) {
		switch {
		case j == len(want) || i < len(p) && p[i] < want[j]:
			fmt.Fprintf(&b, "  is     %s\n", p[i])
			i++
		case i == len(p) || p[i] > want[j]:
			fmt.Fprintf(&b, "  wanted %s\n", want[j])
			j++
		default:
			i, j = i+1, j+1
		}
	}
	return b.String()
}

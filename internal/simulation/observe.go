package simulation

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/message"
)

// observe reads what the engine made of everything, and completes the truth with what became of sends. Looking is no part of a run.
func (w *world) observe() (o Observed, err error) {
	o.Bare, o.Kept, o.Owner = w.bare, w.kept, w.owner
	if o.Met, err = w.store.Declared(w.ctx, org); err != nil {
		return o, err
	}
	o.Sends, o.Outbox = map[string]int{}, map[string]string{}
	conns, err := w.store.Connections(w.ctx, org)
	if err != nil {
		return o, err
	}
	last := int64(0) // the highest id of an email that anything names
	subjects := map[int64]string{}
	for _, c := range conns {
		if c.State == state.Connected && c.Wake > c.Served {
			o.Wakes = append(o.Wakes, fmt.Sprintf("connection %d (%s) has wake %d and served %d", c.ID, c.Address, c.Wake, c.Served))
		}
		rows, err := w.store.Items(w.ctx, org, c.ID, 0, 100000)
		if err != nil {
			return o, err
		}
		for _, r := range rows {
			if state.IsOutbox(r.Item) { // stands for what no mailbox has shown yet
				last = max(last, r.Email)
				continue
			}
			row := Row{Conn: c.ID, Item: r.Item, Fate: string(r.Fate), Reason: r.Reason, Due: r.Due > r.Settled, Known: r.MessageID != "", Cites: len(r.Cites) > 0,
				Left: r.Left, Gone: r.Gone, Email: r.Email}
			for _, f := range r.Folders {
				row.Folders = append(row.Folders, f.Role)
			}
			o.Rows = append(o.Rows, row)
			last = max(last, r.Email)
			if m := w.mailAt(c.ID, row); m != nil && r.Email != 0 {
				subjects[r.Email] = m.Subject
			}
		}
	}
	for _, e := range w.crm.Emails(org) {
		id, err := strconv.ParseInt(e.ID, 10, 64)
		if err != nil {
			return o, fmt.Errorf("the CRM has an email that is called %q", e.ID)
		}
		x := Email{ID: e.ID, Subject: e.Message.Subject, Revision: e.Revision, Links: e.Links, Survivor: e.Survivor, HostID: e.HostID}
		for _, h := range e.Holders {
			x.Holders = append(x.Holders, connID(h))
		}
		o.Emails = append(o.Emails, x)
		last = max(last, id)
		subjects[id] = x.Subject
	}
	for _, m := range w.truth.Mails {
		if m.Key == "" {
			continue
		}
		for _, b := range w.boxes {
			for _, d := range b.fake.Sent() {
				if message.ParseHeader(d.Raw).Subject == m.Subject {
					o.Sends[m.Key]++
				}
			}
		}
		out, err := w.store.OutboxGet(w.ctx, org, m.Key)
		if errors.Is(err, state.ErrNotFound) { // it went with its mailbox
			continue
		} else if err != nil {
			return o, err
		}
		o.Outbox[m.Key], m.Asked, m.Failed = string(out.State), out.Created, out.State == state.OutFailed
		last = max(last, out.Email)
		subjects[out.Email] = m.Subject
	}
	// One that nothing names any more may be the host's email still.
	for id := int64(1); id <= last+20; id++ {
		e, err := w.store.Email(w.ctx, org, id)
		if errors.Is(err, state.ErrNotFound) {
			continue
		} else if err != nil {
			return o, err
		}
		last = max(last, id)
		x := Email{ID: strconv.FormatInt(id, 10), Subject: subjects[id], Revision: e.Revision, Holders: e.Holders, Links: e.Effective(), Envelope: len(e.Envelope) > 0,
			HostID: e.HostID, Effaced: e.Fingerprint == ""}
		if m := w.mail(x.Subject); m != nil && m.Key != "" {
			if is, there := o.Outbox[m.Key]; there && is != string(state.OutSent) || !m.Sent {
				x.Links = nil // held back from the CRM until it is known that it was sent
			}
		}
		if len(x.Links) == 0 {
			x.Holders = nil // one without links is told without holders
		}
		if e.Survivor != 0 {
			x.Survivor = strconv.FormatInt(e.Survivor, 10)
		}
		o.State = append(o.State, x)
	}
	for _, mu := range w.mutations {
		o.Moved = append(o.Moved, *mu)
	}
	slices.SortFunc(o.Moved, func(a, b Mutation) int { return strings.Compare(a.Box.Name+" "+a.Subject, b.Box.Name+" "+b.Subject) })
	return o, nil
}

// mailAt is the mail of a row.
func (w *world) mailAt(conn int64, r Row) *Mail {
	for _, b := range w.truth.Boxes {
		for _, c := range b.Copies {
			if b.Conn == conn && slices.Contains(c.Items, r.Item) {
				return c.Mail
			}
		}
	}
	return nil
}

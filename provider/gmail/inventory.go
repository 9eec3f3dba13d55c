package gmail

import (
	"context"
	"iter"
	"net/http"
	"slices"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider"
)

// Inventory implements provider.Mailbox: ids, and the folder that was asked for.
func (m *Mailbox) Inventory(ctx context.Context, s provider.Scope) iter.Seq2[provider.Item, error] {
	return func(yield func(provider.Item, error) bool) {
		if err := m.inventory(ctx, s, yield); err != nil {
			yield(provider.Item{}, err)
		}
	}
}

// idlePages is how many pages of an inventory in a row may tell nothing new.
const idlePages = 20

func (m *Mailbox) inventory(ctx context.Context, s provider.Scope, yield func(provider.Item, error) bool) error {
	var in []provider.Folder
	if s.Folder != "" {
		places, err := m.places(ctx, past)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(places, func(f provider.Folder) bool { return f.ID == s.Folder })
		if i < 0 || !watched(places[i]) {
			return nil
		}
		in = places[i : i+1]
	}
	q := query{window: s.Window, label: s.Folder}
	token := ""
	restarted := false
	idle, may := 0, idlePages // pages in a row that told nothing new
	pages := 0
	told := map[string]bool{} // a listing that begins anew tells nothing twice
	for {
		r, err := m.list(ctx, past, q, token, m.p.o.PageSize)
		if err != nil && token != "" && status(err) == http.StatusBadRequest && !restarted {
			restarted, token = true, ""
			idle, may = 0, pages+idlePages // what was told comes again
			continue
		}
		if err != nil {
			return err
		}
		pages++
		msgs, over := r.Messages, false
		if s.Window != (provider.Window{}) {
			if msgs, _, over, err = m.within(ctx, past, s.Window, r.Messages); err != nil {
				return err
			}
		}
		if len(r.Messages) == 0 || slices.IndexFunc(r.Messages, func(msg *gapi.Message) bool { return !told[msg.Id] }) < 0 {
			idle++
		} else {
			idle = 0
		}
		for _, msg := range msgs {
			if told[msg.Id] {
				continue
			}
			told[msg.Id] = true
			if err := ctx.Err(); err != nil {
				return err
			}
			it := provider.Item{ID: itemID(msg.Id), Folders: in}
			it.Envelope.Thread = msg.ThreadId
			if !yield(it, nil) {
				return nil
			}
		}
		switch {
		case r.NextPageToken == "" || over:
			return nil
		case r.NextPageToken == token, idle > may:
			return errSamePage
		}
		token = r.NextPageToken
	}
}

package outlook

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

const byMove = "move"

// Archive implements provider.Archiver: the message moves to the folder Archive, which is made where it is missing (facts 2.3). Its id stays.
func (m *Mailbox) Archive(ctx context.Context, t provider.Target) (provider.Mutation, error) {
	inbox, err := m.inbox(ctx)
	if err != nil {
		return provider.Mutation{}, err
	}
	x, err := m.target(ctx, t, idFields)
	if err != nil {
		return provider.Mutation{}, err
	}
	did := provider.Mutation{How: byMove, From: inbox, Item: x.id()}
	if at := x.folder(); at != inbox {
		if at == "" || at != m.known.tree.of(provider.RoleArchive) {
			return provider.Mutation{Already: true, Item: x.id()}, nil
		}
		did.Already, did.To = true, at // as a call without an answer leaves it
		return did, nil
	}
	if did.To, err = m.archive(ctx); err != nil {
		return provider.Mutation{}, err
	}
	if did.Item, err = m.move(ctx, x.id(), did.To); errors.Is(err, provider.ErrGone) {
		// The message, or the folder that it should go to?
		if _, look := m.get(ctx, quota.Live, x.id(), idFields); look == nil {
			m.known.tree.drop(did.To)
			return provider.Mutation{}, errors.New("outlook: the folder Archive vanished while a message was moved there")
		}
	}
	if err != nil {
		return provider.Mutation{}, err
	}
	return did, nil
}

// Unarchive implements provider.Archiver. What its owner moved on since stays there.
func (m *Mailbox) Unarchive(ctx context.Context, t provider.Target, was provider.Mutation) (provider.Mutation, error) {
	nothing := provider.Mutation{Already: true}
	if was == (provider.Mutation{}) || was.Already || was.How != byMove {
		return nothing, ctx.Err()
	}
	inbox, err := m.inbox(ctx)
	if err != nil {
		return provider.Mutation{}, err
	}
	x, err := m.target(ctx, t, idFields)
	if err != nil {
		return provider.Mutation{}, err
	}
	if x.folder() == inbox || x.folder() != was.To {
		return nothing, nil
	}
	id, err := m.move(ctx, x.id(), inbox)
	if err != nil {
		return provider.Mutation{}, err
	}
	return provider.Mutation{How: byMove, From: was.To, To: inbox, Item: id}, nil
}

// inbox is the id of the inbox.
func (m *Mailbox) inbox(ctx context.Context) (string, error) {
	if id := m.known.tree.of(provider.RoleInbox); id != "" {
		return id, ctx.Err()
	}
	if err := m.loadRoles(ctx, quota.Live, false); err != nil {
		return "", err
	}
	id := m.known.tree.of(provider.RoleInbox)
	if id == "" {
		return "", unsupported("the mailbox has no inbox")
	}
	return id, nil
}

// archive is the id of the folder Archive.
func (m *Mailbox) archive(ctx context.Context) (string, error) {
	t := m.known.tree
	// People throw away what is an ordinary folder to Exchange, as the one made here may be; what is moved there would be thrown away with it.
	for range 3 {
		id := t.of(provider.RoleArchive)
		if id == "" {
			break
		}
		p, err := m.folderBy(ctx, quota.Live, id)
		switch {
		case errors.Is(err, provider.ErrGone):
			t.drop(id)
		case err != nil:
			return "", err
		default:
			t.set(p)
			if t.of(provider.RoleArchive) == id {
				return id, nil
			}
		}
	}
	if err := m.loadRole(ctx, quota.Live, archived, provider.RoleArchive); err != nil {
		return "", err
	}
	if id := t.of(provider.RoleArchive); id != "" {
		return id, nil
	}
	const name = "Archive"
	var made place
	err := m.once(ctx, quota.Live, folderCreate, func(ctx context.Context) error {
		f := models.NewMailFolder()
		f.SetDisplayName(ptr(name))
		r, err := m.me.MailFolders().Post(ctx, f, nil)
		if err != nil {
			return err
		}
		if r == nil || str(r.GetId()) == "" {
			return errEmpty
		}
		made = placeOf(r)
		return nil
	})
	if status(err) == http.StatusConflict { // a folder of that name is there, which is not the archive to Exchange
		made, err = m.folderNamed(ctx, name)
	}
	if err != nil {
		return "", err
	}
	t.set(made)
	t.mu.Lock()
	t.roles[made.ID] = provider.RoleArchive
	t.mu.Unlock()
	return made.ID, nil
}

// folderNamed finds a folder beside the inbox by its name.
func (m *Mailbox) folderNamed(ctx context.Context, name string) (p place, err error) {
	filter := "displayName eq '" + strings.ReplaceAll(name, "'", "''") + "'"
	err = m.read(ctx, quota.Live, folderGet, func(ctx context.Context) error {
		r, err := m.me.MailFolders().Get(ctx, &users.ItemMailFoldersRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemMailFoldersRequestBuilderGetQueryParameters{Select: folderFields, Filter: &filter}})
		if err != nil {
			return err
		}
		if r != nil {
			for _, f := range r.GetValue() {
				if f != nil && strings.EqualFold(str(f.GetDisplayName()), name) {
					p = placeOf(f)
					return nil
				}
			}
		}
		return errors.New("the folder is there and can't be found")
	})
	return p, err
}

// move moves a message. It is not repeated here: what a call without an answer did is found out by whoever asks again.
func (m *Mailbox) move(ctx context.Context, id provider.ItemID, to string) (now provider.ItemID, err error) {
	err = m.once(ctx, quota.Live, messageMove, func(ctx context.Context) error {
		body := users.NewItemMessagesItemMovePostRequestBody()
		body.SetDestinationId(&to)
		r, err := m.me.Messages().ByMessageId(string(id)).Move().Post(ctx, body, nil)
		if err != nil {
			return err
		}
		if r == nil || str(r.GetId()) == "" { // facts 2.3: it returns the message
			return errEmpty
		}
		now = provider.ItemID(str(r.GetId()))
		return nil
	})
	return now, err
}

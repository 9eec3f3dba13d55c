package imap

import (
	"context"
	"errors"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
)

// Archive moves a message from the inbox to the archive: the folder with \Archive or a name like it, on Gmail \All, else a new
// "Archive". One that lies elsewhere, or that its owner has flagged \Deleted, is left alone. It needs MOVE, or UIDPLUS.
func (m *Mailbox) Archive(ctx context.Context, t provider.Target) (provider.Mutation, error) {
	if err := m.settled(ctx); err != nil {
		return provider.Mutation{}, err
	}
	i, err := parseTarget(t)
	if err != nil {
		return provider.Mutation{}, err
	}
	var did provider.Mutation
	// Of a first try whose connection died. Where the message lies then, it was us.
	var tried provider.Mutation
	err = m.do(ctx, "archiving a message", func(c *imapclient.Client) error {
		did = provider.Mutation{}
		folders, err := m.tree(c)
		if err != nil {
			return err
		}
		at, r, err := m.find(c, folders, i, t.MessageID, nil)
		if err != nil {
			return err
		}
		role := provider.RoleArchive
		if m.gmail {
			role = provider.RoleAll // facts 3.3: "on Gmail MOVE to \All"
		}
		if folders.roleOf(at.folder) != provider.RoleInbox {
			did.Already = true
			if tried.How != "" && at.folder == tried.To {
				did = tried
				did.Item = at.item()
			} else if folders.roleOf(at.folder) == role {
				did = provider.Mutation{Already: true, How: "move", From: folders.folders[0].ID, To: at.folder, Item: at.item()}
			}
			return nil
		}
		to, err := m.roleFolder(c, folders, role, "Archive", goimap.MailboxAttrArchive)
		if err != nil {
			return err
		}
		did, err = m.move(c, at, r, to, &tried)
		return err
	})
	if err != nil {
		return provider.Mutation{}, err
	}
	return did, nil
}

// Unarchive moves a message back to the inbox, from where Archive put it. What its owner has moved on since stays there.
func (m *Mailbox) Unarchive(ctx context.Context, t provider.Target, was provider.Mutation) (provider.Mutation, error) {
	if err := m.settled(ctx); err != nil {
		return provider.Mutation{}, err
	}
	if was == (provider.Mutation{}) || was.Already {
		return provider.Mutation{Already: true}, ctx.Err()
	}
	i, err := parseTarget(t)
	if err != nil {
		return provider.Mutation{}, err
	}
	archived, err := parseTarget(provider.Target{Item: was.Item})
	if err != nil {
		return provider.Mutation{}, err
	}
	var did, tried provider.Mutation
	err = m.do(ctx, "bringing a message back to the inbox", func(c *imapclient.Client) error {
		did = provider.Mutation{}
		folders, err := m.tree(c)
		if err != nil {
			return err
		}
		at := archived
		r, err := m.stat(c, at)
		if errors.Is(err, provider.ErrGone) {
			at, r, err = m.find(c, folders, i, t.MessageID, nil)
		}
		if err != nil {
			return err
		}
		inbox := folders.folders[0].ID
		switch {
		case folders.roleOf(inbox) != provider.RoleInbox:
			return localError("imap: the server lists no inbox")
		case at.folder != was.To:
			did.Already = true
			if tried.How != "" && at.folder == inbox {
				did = tried
				did.Item = at.item()
			}
			return nil
		case m.gmail:
			did, err = m.relabel(c, at, r, inbox)
		default:
			if m.has(goimap.CapMove) {
				// Its owner may have copied it back. Without MOVE a copy in the inbox is what a crash left: move finishes it.
				if have, _, err := m.twin(c, inbox, r); err != nil || have.uid != 0 {
					did.Already = true
					return err
				}
			}
			did, err = m.move(c, at, r, inbox, &tried)
		}
		return err
	})
	if err != nil {
		return provider.Mutation{}, err
	}
	return did, nil
}

// relabel gives a message on Gmail's \All the label of a folder: what lies there stays there.
func (m *Mailbox) relabel(c *imapclient.Client, at id, r *row, to string) (provider.Mutation, error) {
	if have, _, err := m.twin(c, to, r); err != nil || have.uid != 0 {
		return provider.Mutation{Already: true}, err
	}
	now, err := m.copy(c, at, r, to)
	return provider.Mutation{How: "label", From: at.folder, To: to, Item: now.known()}, err
}

// move moves a message between folders and says how. What it is about to do is noted in tried.
func (m *Mailbox) move(c *imapclient.Client, at id, r *row, to string, tried *provider.Mutation) (provider.Mutation, error) {
	did := provider.Mutation{How: "move", From: at.folder, To: to}
	var now id
	var err error
	if m.has(goimap.CapMove) {
		if r.has(goimap.FlagDeleted) {
			return provider.Mutation{Already: true}, nil
		}
		*tried = did
		if now, err = m.moveOnce(c, at, to); err != nil {
			return provider.Mutation{}, forbidden(err)
		}
		if now.uid == 0 {
			now, err = m.lookFor(c, at, r, to)
		}
	} else {
		did.How = "copy and expunge"
		if !m.has(goimap.CapUIDPlus) {
			return provider.Mutation{}, unsupported("the server has neither MOVE nor UIDPLUS: taking a message out of its folder would " +
				"expunge others with it")
		}
		*tried = did
		if now, err = m.copyAndExpunge(c, at, r, to); err == nil && now.uid == 0 {
			return provider.Mutation{Already: true}, nil
		}
	}
	did.Item = now.known()
	return did, err
}

// moveOnce sends MOVE. It is never called without that capability: go-imap would fall back to a plain EXPUNGE (facts 3.1).
func (m *Mailbox) moveOnce(c *imapclient.Client, at id, to string) (now id, err error) {
	err = m.change(c, at, func(*goimap.SelectData) error {
		if !c.Caps().Has(goimap.CapMove) {
			return errors.New("imap: the server has no MOVE any more") // the connection is given up, and the next is asked what it offers
		}
		d, err := c.Move(goimap.UIDSetNum(goimap.UID(at.uid)), to).Wait()
		if err != nil {
			return err
		}
		if m.has(goimap.CapUIDPlus) {
			now = copied(to, d.UIDValidity, d.DestUIDs)
		}
		return nil
	})
	return now, err
}

// lookFor finds the id of a message after a MOVE that did not tell it. The zero id: it is not told, and can't be found.
func (m *Mailbox) lookFor(c *imapclient.Client, was id, r *row, to string) (id, error) {
	now, _, err := m.twin(c, to, r)
	if err != nil || now.uid != 0 {
		return now, err
	}
	// RFC 6851, 3.3: MOVE answers OK also when there is no such message any more. RFC 4315, 3: with UIDPLUS no COPYUID means
	// that nothing was copied.
	_, err = m.stat(c, was)
	switch {
	case err == nil, errors.Is(err, provider.ErrGone) && m.has(goimap.CapUIDPlus):
		return id{}, localError("imap: the server moved nothing: the message may have been moved by another at the same time")
	case errors.Is(err, provider.ErrGone):
		return id{}, nil
	}
	return id{}, err
}

// copyAndExpunge moves by hand. A copy that a crash left behind is used, so that no second one is made. The zero id: its owner has
// flagged the message \Deleted, and it was left alone.
func (m *Mailbox) copyAndExpunge(c *imapclient.Client, at id, r *row, to string) (id, error) {
	now, _, err := m.twin(c, to, r)
	if err != nil {
		return id{}, err
	}
	if now.uid == 0 {
		if r.has(goimap.FlagDeleted) {
			return id{}, nil
		}
		if now, err = m.copy(c, at, r, to); err != nil {
			return id{}, err
		}
		if now.uid == 0 {
			return id{}, localError("imap: the server says that it copied the message, and shows no copy: the original stays")
		}
	}
	return now, forbidden(m.change(c, at, func(d *goimap.SelectData) error {
		// go-imap's memory server names only what is in use, and \*.
		if len(d.PermanentFlags) > 0 && !permanent(d, goimap.FlagDeleted) && !permanent(d, goimap.FlagWildcard) {
			return unsupported("the server lets nobody delete from that folder")
		}
		return expunge(c, at.uid)
	}))
}

// copy copies a message and returns the copy's id, the zero id when it can't be told.
func (m *Mailbox) copy(c *imapclient.Client, at id, r *row, to string) (id, error) {
	if err := m.open(c, at); err != nil { // EXAMINE is enough
		return id{}, err
	}
	d, err := c.Copy(goimap.UIDSetNum(goimap.UID(at.uid)), to).Wait()
	if err != nil {
		return id{}, forbidden(err)
	}
	if now := copied(to, d.UIDValidity, d.DestUIDs); now.uid != 0 && m.has(goimap.CapUIDPlus) {
		return now, nil
	}
	now, _, err := m.twin(c, to, r)
	return now, err
}

func permanent(d *goimap.SelectData, flag goimap.Flag) bool {
	for _, f := range d.PermanentFlags {
		if strings.EqualFold(string(f), string(flag)) {
			return true
		}
	}
	return false
}

// forbidden makes ErrUnsupported of the refusals that last (RFC 5530: NOPERM, CANNOT).
func forbidden(err error) error {
	if se := asServerError(err); se != nil && (se.Code == goimap.ResponseCodeNoPerm || se.Code == goimap.ResponseCodeCannot) {
		return &refusal{"the server does not allow it in that folder", err}
	}
	return err
}

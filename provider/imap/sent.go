package imap

import (
	"bytes"
	"context"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
)

// FindSent looks in the folders with the role Sent. Gmail, Exchange and Outlook.com file what was sent by their SMTP themselves
// (facts 3.3), some seconds later.
func (m *Mailbox) FindSent(ctx context.Context, messageID string) (provider.ItemID, error) {
	if err := m.settled(ctx); err != nil {
		return "", err
	}
	var found provider.ItemID
	err := m.do(ctx, "looking for a sent message", func(c *imapclient.Client) error {
		folders, err := m.tree(c)
		if err != nil {
			return err
		}
		for _, f := range folders.folders {
			if f.Role != provider.RoleSent {
				continue
			}
			validity, rows, err := m.withMessageID(c, f.ID, messageID)
			if err != nil {
				return err
			}
			if len(rows) > 0 {
				found = id{validity, rows[0].uid, f.ID}.item()
				return nil
			}
		}
		return nil
	})
	return found, err
}

// FileSent appends to the folder with the role Sent, made where there is none. When the connection breaks on the way the copy may
// be there or not: it is not tried again, FindSent tells. ErrUnsupported when the server takes no message of that size.
func (m *Mailbox) FileSent(ctx context.Context, raw []byte, at time.Time) (provider.ItemID, error) {
	if err := m.settled(ctx); err != nil {
		return "", err
	}
	raw = crlf(raw)
	var to string
	prepare := func(c *imapclient.Client) error {
		folders, err := m.tree(c)
		if err != nil {
			return err
		}
		if to, err = m.roleFolder(c, folders, provider.RoleSent, "Sent", goimap.MailboxAttrSent); err != nil {
			return err
		}
		return m.fits(c, to, int64(len(raw)))
	}
	if err := m.do(ctx, "opening the folder of sent mail", prepare); err != nil {
		return "", err
	}
	var now id
	// Once: what may have happened is not repeated.
	err := m.once(ctx, func(c *imapclient.Client) error {
		cmd := c.Append(to, int64(len(raw)), &goimap.AppendOptions{Flags: []goimap.Flag{goimap.FlagSeen}, Time: at})
		_, err := cmd.Write(raw)
		// The server's answer says more than that it took no more bytes.
		if cerr := cmd.Close(); err == nil {
			err = cerr
		}
		d, werr := cmd.Wait()
		if werr != nil {
			err = werr
		}
		if err == nil && d.UID != 0 && m.has(goimap.CapUIDPlus) {
			now = id{d.UIDValidity, uint32(d.UID), to} // facts 3.3: "APPENDUID only with UIDPLUS"
		}
		return err
	})
	if se := asServerError(err); se != nil && se.Code == goimap.ResponseCodeTooBig {
		err = tooBig
	}
	return now.known(), m.wrap(ctx, "filing a sent message", forbidden(err))
}

var tooBig = unsupported("the server takes no message of that size")

// fits asks for the limit of APPEND, where there is one to ask for (RFC 7889).
func (m *Mailbox) fits(c *imapclient.Client, folder string, size int64) error {
	limit, ok := m.caps.AppendLimit()
	if !ok {
		return nil
	}
	if limit == nil {
		d, err := c.Status(folder, &goimap.StatusOptions{AppendLimit: true}).Wait()
		if err != nil && connectionDied(err) {
			return err
		}
		if err != nil || d.AppendLimit == nil {
			return nil // the APPEND will tell
		}
		limit = d.AppendLimit
	}
	if size > int64(*limit) {
		return tooBig
	}
	return nil
}

// crlf ends every line as RFC 5322 wants it: a literal's size is exact, and servers differ in what they make of a bare LF.
func crlf(raw []byte) []byte {
	if n := bytes.Count(raw, []byte("\n")); n == bytes.Count(raw, []byte("\r\n")) {
		return raw
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

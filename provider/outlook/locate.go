package outlook

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// located is how many messages of one Message-ID are looked at.
const located = 50

// Locate implements provider.Mailbox. Facts 2.3: "internetMessageId = Message-ID with angle brackets"; a listing of the mailbox has all folders, Junk Email and Deleted Items
// too. A Message-ID that can't be asked for is an error: that nothing was found would be taken for a deletion.
func (m *Mailbox) Locate(ctx context.Context, id string) ([]provider.Item, error) {
	ms, err := m.locate(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []provider.Item
	for _, x := range ms {
		if _, _, err := m.watchedIn(ctx, quota.Live, x.folder()); err != nil {
			return nil, err
		}
		f := m.known.tree.folder(x.folder())
		it := provider.Item{ID: x.id(), Folders: []provider.Folder{f}}
		it.Envelope.Received, it.Envelope.Thread, it.Envelope.Sent = x.received(), str(x.GetConversationId()), f.Role == provider.RoleSent
		out = append(out, it)
	}
	return out, nil
}

func (m *Mailbox) locate(ctx context.Context, id string) (ms []*mail, err error) {
	if id == "" {
		return nil, ctx.Err()
	}
	if len(id) > 1000 || strings.ContainsFunc(id, unicode.IsControl) {
		return nil, errors.New("outlook: this Message-ID can't be searched for")
	}
	filter := "internetMessageId eq '<" + strings.ReplaceAll(id, "'", "''") + ">'"
	next := ""
	err = m.read(ctx, quota.Live, messagesList, func(ctx context.Context) error {
		r, err := m.me.Messages().Get(ctx, &users.ItemMessagesRequestBuilderGetRequestConfiguration{QueryParameters: &users.ItemMessagesRequestBuilderGetQueryParameters{
			Select: append([]string{"internetMessageId"}, idFields...), Filter: &filter, Top: ptr(int32(located))}})
		if err != nil {
			return err
		}
		if r == nil || r.GetValue() == nil {
			return errEmpty
		}
		ms, next = mails(r.GetValue()), str(r.GetOdataNextLink())
		return nil
	})
	other := func(x *mail) bool { return x.messageID() != id } // the comparison there need not mind case
	ms = slices.DeleteFunc(ms, other)
	for n := 0; err == nil && len(ms) == 0 && next != ""; n++ { // an empty page is no end
		if n == endless {
			return nil, errLoop
		}
		ms, next, err = m.nextPage(ctx, quota.Live, listing{}, next)
		ms = slices.DeleteFunc(ms, other)
	}
	return ms, err
}

// target finds the message that is to be changed, as it lies now: by its id, else by Message-ID, in the inbox first.
func (m *Mailbox) target(ctx context.Context, t provider.Target, fields []string) (*mail, error) {
	if t.Item != "" {
		x, err := m.getExactly(ctx, quota.Live, t.Item, fields)
		if err == nil || !errors.Is(err, provider.ErrGone) {
			return x, err
		}
	}
	ms, err := m.locate(ctx, t.MessageID)
	if err != nil {
		return nil, err
	}
	if len(ms) == 0 {
		return nil, provider.ErrGone
	}
	at := ms[0]
	for _, x := range ms {
		if r, _ := m.known.tree.role(x.folder()); r == provider.RoleInbox {
			at = x
			break
		}
	}
	return m.getExactly(ctx, quota.Live, at.id(), fields)
}

package outlook

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	abs "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/httpcall"
	"github.com/intellicon/email-integration/provider/internal/rawmail"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// dateField keeps the date that we gave: to what was sent Graph gives the time at which it was.
const dateField = "X-Emailint-Date"

func notSent(format string, args ...any) error {
	return &rawmail.NotSent{Err: fmt.Errorf("outlook: "+format, args...)}
}

// Facts 2.6: a request holds 4 MB, and base64 makes four bytes of three; an attachment goes at once below 3 MB, and up to 150 MB by an upload session.
const (
	mimeLimit   = 2_900_000
	attachLimit = 2_900_000
	fileLimit   = 150 << 20
)

// draftFields are what is asked of a draft.
var draftFields = []string{"id", "internetMessageId", "isDraft", "parentFolderId", "from"}

// Stage implements provider.Sender: a draft, made of the message as it is (facts 2.6: Exchange "keeps it more or less intact", so that References and In-Reply-To stay, which
// JSON can't set). Attachments that are too long for one request follow apart. Exchange sends to whom the header names: recipients that it leaves out become Bcc.
func (m *Mailbox) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	refuse := func(err error) (provider.Staged, error) {
		return provider.Staged{}, &rawmail.NotSent{Err: fmt.Errorf("outlook: %w", err)}
	}
	if err := rawmail.Addresses(o); err != nil {
		return refuse(err)
	}
	if !m.mayBe(o.From) {
		return provider.Staged{}, notSent("the mailbox has no address %s: send as %s", o.From, m.owner.address)
	}
	date := rawmail.Field{Name: dateField}
	if d := message.ParseHeader(raw).Date; !d.IsZero() {
		date.Value = d.UTC().Format(time.RFC1123Z)
	}
	ready, err := rawmail.Prepare(raw, o, "Exchange", date)
	if err != nil {
		return refuse(err)
	}
	rest, files, err := rawmail.Cut(ready, mimeLimit)
	if err != nil {
		return refuse(err)
	}
	total := int64(0)
	for _, f := range files {
		if total += int64(len(f.Data)); len(f.Data) > fileLimit {
			return refuse(errors.New("an attachment is longer than 150 MB, which is the most that Exchange takes"))
		}
	}
	if len(files) > 0 {
		if ok, wait := m.quota.Upload(total); !ok {
			return provider.Staged{}, &rawmail.NotSent{Err: &provider.RateLimitError{RetryAfter: wait, Err: errOwnLimit}, Later: true}
		}
	}
	o.Recipients = slices.Clone(o.Recipients)
	d, err := m.draft(ctx, rest)
	if err != nil {
		return provider.Staged{}, m.unsent(err)
	}
	// Facts 2.6: From may be rewritten where the tenant doesn't let people send from aliases.
	if from := recipients([]models.Recipientable{d.GetFrom()}); len(from) > 0 && from[0].Key != message.AddressKey(o.From) {
		m.discard(ctx, d.id())
		return provider.Staged{}, notSent("Exchange would send as %s: the organisation must allow sending from aliases for %s (docs/setup-microsoft.md, \"Aliases\")", from[0].Addr, o.From)
	}
	if err := m.conceal(ctx, d, message.ParseHeader(rest).Bcc); err != nil {
		m.discard(ctx, d.id())
		return provider.Staged{}, m.unsent(err)
	}
	for _, f := range files {
		if err := m.attach(ctx, d.id(), f); err != nil {
			m.discard(ctx, d.id())
			return provider.Staged{}, m.unsent(err)
		}
	}
	return provider.Staged{ID: string(d.id()) + " " + d.messageID(), Options: o}, nil
}

// mayBe reports whether an address is the mailbox's.
func (m *Mailbox) mayBe(from string) bool {
	k := message.AddressKey(from)
	return k == message.AddressKey(m.owner.address) || slices.ContainsFunc(m.owner.aliases, func(a string) bool { return message.AddressKey(a) == k })
}

// draft makes one of a message. The SDK has no call for it (facts 2.7, "Raw MIME send").
func (m *Mailbox) draft(ctx context.Context, raw []byte) (d *mail, err error) {
	err = m.once(ctx, quota.Live, messageCreate, func(ctx context.Context) error {
		ri := abs.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abs.POST, "{+baseurl}/users/{user%2Did}/messages",
			map[string]string{"baseurl": m.p.o.BaseURL, "user%2Did": meToken})
		ri.Headers.TryAdd("Accept", jsonType)
		ri.SetStreamContentAndContentType([]byte(base64.StdEncoding.EncodeToString(raw)), "text/plain")
		r, err := m.adapter.Send(ctx, ri, models.CreateMessageFromDiscriminatorValue, abs.ErrorMappings{"XXX": odataerrors.CreateODataErrorFromDiscriminatorValue})
		if err != nil {
			return err
		}
		x, _ := r.(models.Messageable)
		if x == nil {
			return errEmpty
		}
		if d = mailOf(x); d == nil {
			return errEmpty
		}
		return nil
	})
	return d, err
}

// conceal sees to it that a draft has its blind recipients: that a Bcc in MIME is taken is from memory (facts 2.6), and nobody would notice if it weren't.
func (m *Mailbox) conceal(ctx context.Context, d *mail, bcc []message.Address) error {
	if len(bcc) == 0 || len(d.GetBccRecipients()) > 0 {
		return nil
	}
	var rs []models.Recipientable
	for _, a := range bcc {
		r, e := models.NewRecipient(), models.NewEmailAddress()
		e.SetAddress(ptr(a.Addr))
		r.SetEmailAddress(e)
		rs = append(rs, r)
	}
	patch := models.NewMessage()
	patch.SetOdataType(nil)
	patch.SetBccRecipients(rs)
	return m.once(ctx, quota.Live, messageUpdate, func(ctx context.Context) error {
		r, err := m.me.Messages().ByMessageId(string(d.id())).Patch(ctx, patch, nil)
		if err == nil && (r == nil || len(r.GetBccRecipients()) == 0) {
			err = errEmpty
		}
		return err
	})
}

// discard throws a draft away that will not be sent. Where that fails it lies in Drafts, and nothing sends it.
func (m *Mailbox) discard(ctx context.Context, id provider.ItemID) {
	m.once(context.WithoutCancel(ctx), quota.Live, messageDelete, func(ctx context.Context) error { //nolint:errcheck // see above
		return m.me.Messages().ByMessageId(string(id)).Delete(ctx, nil)
	})
}

// Release implements provider.Sender. Facts 2.6: 202 means "accepted, not delivered", and the copy in Sent Items has the draft's immutable id; Exchange may have given
// it another Message-ID, so that is read again. Where it can't be yet, the draft's stands.
func (m *Mailbox) Release(ctx context.Context, s provider.Staged) (provider.Sent, error) {
	id, messageID := staged(s)
	if id == "" {
		return provider.Sent{}, notSent("there is no draft")
	}
	before := m.noteAttempt(id)
	err := m.once(ctx, quota.Live, messageSend, func(ctx context.Context) error {
		return m.me.Messages().ByMessageId(string(id)).Send().Post(ctx, nil)
	})
	words := "accepted by Microsoft"
	if err != nil {
		err = m.unsent(err)
		if errors.Is(err, provider.ErrNotSent) && !before {
			m.forget(id)
		}
		if !errors.Is(err, provider.ErrNotSent) || errors.Is(err, provider.ErrTryLater) {
			return provider.Sent{}, err
		}
		// Its owner may have sent it by hand, from Drafts, or we did and it is shown as a draft for a while: that is refused, too.
		x, look := m.get(ctx, quota.Live, id, draftFields)
		switch {
		case look == nil && x.draft() && !before:
			return provider.Sent{}, err
		case look != nil || x.draft():
			return provider.Sent{}, errors.New(err.Error()) // nobody knows
		}
		words = "sent already"
	}
	sent := provider.Sent{Item: id, MessageID: messageID, Response: words}
	if x, err := m.get(ctx, quota.Live, id, draftFields); err == nil {
		if x.messageID() != "" {
			sent.MessageID = x.messageID()
		}
		if from := recipients([]models.Recipientable{x.GetFrom()}); len(from) > 0 && from[0].Key != message.AddressKey(s.Options.From) {
			sent.Response += ", sent as " + from[0].Addr // facts 2.6: where the tenant doesn't let people send from aliases
		}
	}
	return sent, nil
}

// staged are the draft's id and the Message-ID that it had.
func staged(s provider.Staged) (id provider.ItemID, messageID string) {
	d, mid, _ := strings.Cut(s.ID, " ")
	if mid == "" {
		mid = s.Options.MessageID
	}
	return provider.ItemID(d), mid
}

// attempt is when this process tried to send a draft, without being told for sure that it was not sent.
type attempt struct{ first, last time.Time }

// doubt is how long a refusal of a draft that was perhaps sent before is taken for a sign that it was.
const doubt = time.Hour

// noteAttempt notes that a draft is sent now, and reports whether it was perhaps sent before.
func (m *Mailbox) noteAttempt(id provider.ItemID) (before bool) {
	m.known.mu.Lock()
	defer m.known.mu.Unlock()
	m.p.settle(m.known)
	a, before := m.known.released[id]
	a.last = m.p.o.Now()
	if !before {
		a.first = a.last
	}
	m.known.released[id] = a
	return before
}

// settle forgets what is in doubt no more; the caller holds k.mu.
func (p *Provider) settle(k *known) {
	now := p.o.Now()
	maps.DeleteFunc(k.released, func(_ provider.ItemID, a attempt) bool { return now.Sub(a.first) >= max(doubt, p.o.SendSettle) })
}

// perhapsSent reports whether there are drafts in doubt.
func (p *Provider) perhapsSent(k *known) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p.settle(k)
	return len(k.released) > 0
}

// forget notes that a draft was not sent.
func (m *Mailbox) forget(id provider.ItemID) {
	m.known.mu.Lock()
	defer m.known.mu.Unlock()
	delete(m.known.released, id)
}

// unsent says of an error whether it is sure that nothing was sent. Of a draft that is gone nobody knows.
func (m *Mailbox) unsent(err error) error {
	var rate *provider.RateLimitError
	var sign *provider.SignInError
	var token *tokenError
	s := status(err)
	code := ""
	var c *callError
	if errors.As(err, &c) {
		code = c.code
	}
	var known *rawmail.NotSent
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &rate), errors.As(err, &sign), errors.As(err, &token),
		code == "ErrorMessageSubmissionBlocked", code == "ErrorExceededMessageLimit", code == "ErrorExceededRecipientLimit": // of a day (facts 2.5)
		return &rawmail.NotSent{Err: err, Later: true}
	case code == "ErrorSendAsDenied":
		return &rawmail.NotSent{Err: fmt.Errorf("%w: the mailbox may not send as this address (docs/setup-microsoft.md, \"Aliases\")", err)}
	case errors.Is(err, provider.ErrGone):
		return err
	case errors.Is(err, provider.ErrUnsupported), s >= 400 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusConflict:
		return &rawmail.NotSent{Err: err}
	}
	return err
}

// Lookup implements provider.Sender, by the immutable id of the draft (facts 2.6): what it names is a draft still, or was sent. "may 404 or still be a draft for a
// while": so a draft that this process just tried to send is watched for a little, and one that is gone was perhaps sent and is not there yet, or thrown away:
// nobody knows.
func (m *Mailbox) Lookup(ctx context.Context, s provider.Staged) (provider.Outcome, provider.Sent, error) {
	id, messageID := staged(s)
	if id == "" {
		return provider.OutcomeUnknown, provider.Sent{}, nil
	}
	m.known.mu.Lock()
	tried, ok := m.known.released[id]
	m.known.mu.Unlock()
	left := time.Duration(0)
	if ok {
		left = min(tried.last.Add(m.p.o.SendSettle).Sub(m.p.o.Now()), m.p.o.SendSettle)
	}
	for {
		x, err := m.get(ctx, quota.Live, id, draftFields)
		switch {
		case err != nil && !errors.Is(err, provider.ErrGone):
			return provider.OutcomeUnknown, provider.Sent{}, err
		case err == nil && !x.draft():
			sent := provider.Sent{Item: id, MessageID: x.messageID()}
			if sent.MessageID == "" {
				sent.MessageID = messageID
			}
			return provider.OutcomeSent, sent, nil
		case left <= 0 && err != nil:
			return provider.OutcomeUnknown, provider.Sent{}, nil
		case left <= 0:
			if _, _, err := m.watchedIn(ctx, quota.Live, x.folder()); err != nil {
				return provider.OutcomeUnknown, provider.Sent{}, err
			}
			if r, _ := m.known.tree.role(x.folder()); r == provider.RoleTrash {
				return provider.OutcomeUnknown, provider.Sent{}, nil // its owner threw it away: it is not to be sent again by itself
			}
			return provider.OutcomeNotSent, provider.Sent{}, nil
		}
		wait := min(left, max(m.p.o.SendSettle/8, time.Millisecond))
		if left -= wait; !httpcall.Pause(ctx, wait) {
			return provider.OutcomeUnknown, provider.Sent{}, ctx.Err()
		}
	}
}

package outlook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/rawmail"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// rangeSize is what one PUT carries: at most 4 MB (facts 2.6), a multiple of 320 KiB as upload sessions like it elsewhere. (mem)
const rangeSize = 11 * 320 << 10

// attach puts a file on a draft.
func (m *Mailbox) attach(ctx context.Context, id provider.ItemID, f rawmail.File) error {
	if len(f.Data) > attachLimit {
		err := m.upload(ctx, id, f)
		var c *callError
		if !errors.As(err, &c) || c.code != "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize" {
			return err // else its megabytes are larger than ours
		}
	}
	a := models.NewFileAttachment()
	a.SetName(&f.Name)
	a.SetContentType(&f.Type)
	a.SetIsInline(&f.Inline)
	if f.ContentID != "" {
		a.SetContentId(&f.ContentID)
	}
	a.SetContentBytes(f.Data)
	return m.once(ctx, quota.Live, attachmentAdd, func(ctx context.Context) error {
		_, err := m.me.Messages().ByMessageId(string(id)).Attachments().Post(ctx, a, nil)
		return err
	})
}

// upload sends a file in ranges, in their order (facts 2.6). The address that takes them needs no token and gets none; it may be on another host.
func (m *Mailbox) upload(ctx context.Context, id provider.ItemID, f rawmail.File) error {
	at := ""
	item := models.NewAttachmentItem()
	item.SetAttachmentType(ptr(models.FILE_ATTACHMENTTYPE))
	item.SetName(&f.Name)
	item.SetContentType(&f.Type)
	item.SetIsInline(&f.Inline)
	if f.ContentID != "" {
		item.SetContentId(&f.ContentID)
	}
	item.SetSize(ptr(int64(len(f.Data))))
	if err := m.once(ctx, quota.Live, uploadSession, func(ctx context.Context) error {
		body := users.NewItemMessagesItemAttachmentsCreateUploadSessionPostRequestBody()
		body.SetAttachmentItem(item)
		r, err := m.me.Messages().ByMessageId(string(id)).Attachments().CreateUploadSession().Post(ctx, body, nil)
		if err == nil && r != nil {
			at = str(r.GetUploadUrl())
		}
		return err
	}); err != nil {
		return err
	}
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "https" && (u.Scheme != "http" || m.p.base.Scheme != "http" || !loopback(u.Hostname())) {
		return errors.New("outlook: an upload session has no address that may be used")
	}
	from, done := 0, false
	for !done {
		at, data, next := u.String(), f.Data[from:min(from+rangeSize, len(f.Data))], 0
		// A range may be sent again: it has its place. One that is there already is refused: where an answer was lost.
		err := m.read(ctx, quota.Live, uploadRange, func(ctx context.Context) (err error) {
			next, done, err = m.put(ctx, at, data, from, len(f.Data))
			return err
		})
		if status(err) == http.StatusRequestedRangeNotSatisfiable {
			err = m.read(ctx, quota.Live, uploadRange, func(ctx context.Context) (err error) {
				next, err = m.expected(ctx, at)
				return err
			})
		}
		switch {
		case ended(err):
			return &rawmail.NotSent{Err: err, Later: true} // another session may do better
		case err != nil:
			return err
		case !done && (next <= from || next >= len(f.Data)):
			return errors.New("outlook: an upload session took all and has no attachment, or takes no more")
		}
		from = next
	}
	return nil
}

// ended reports whether an upload session is over before the attachment is there: its address is known no more, or lets nobody in.
func ended(err error) bool {
	var sign *provider.SignInError
	var missing *MissingError
	s := status(err)
	return errors.As(err, &sign) || errors.As(err, &missing) || errors.Is(err, provider.ErrGone) || s == http.StatusForbidden || s == http.StatusNotFound || s == http.StatusGone
}

// expected asks an upload session what it wants next.
func (m *Mailbox) expected(ctx context.Context, at string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, err
	}
	resp, err := m.apart(ctx, r)
	if err != nil {
		return 0, err
	}
	return nextRange(resp)
}

// nextRange reads where the next range begins.
func nextRange(resp *http.Response) (int, error) {
	defer resp.Body.Close() //nolint:errcheck // it was read
	var s struct {
		Next []string `json:"nextExpectedRanges"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&s); err != nil || len(s.Next) == 0 {
		return 0, errEmpty
	}
	first, _, _ := strings.Cut(s.Next[0], "-")
	return strconv.Atoi(first)
}

// put sends a range, and returns where the next begins; done: the attachment is there (facts 2.6: "final 201 + Location").
func (m *Mailbox) put(ctx context.Context, at string, data []byte, from, of int) (next int, done bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, at, bytes.NewReader(data))
	if err != nil {
		return 0, false, err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+len(data)-1, of))
	resp, err := m.apart(ctx, r)
	if err != nil {
		return 0, false, err
	}
	if resp.StatusCode == http.StatusCreated {
		return of, true, resp.Body.Close()
	}
	next, err = nextRange(resp)
	return next, false, err
}

// apart makes a request of an upload session, without a token.
func (m *Mailbox) apart(ctx context.Context, r *http.Request) (*http.Response, error) {
	base := m.p.o.HTTPClient.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if a, ok := ctx.Value(answerKey{}).(*answer); ok {
		a.status, a.header = resp.StatusCode, resp.Header.Clone()
	}
	if resp.StatusCode >= 300 { // those below 400, too: nothing is sent elsewhere
		defer resp.Body.Close() //nolint:errcheck // it was read
		return nil, odata(resp)
	}
	return resp, nil
}

package gmail

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/httpcall"
)

// fetched is what became of messages that were to be got. Which are in neither were not asked for: there was no quota for them.
type fetched struct {
	got    map[provider.ItemID]*gapi.Message
	failed map[provider.ItemID]error // provider.ErrGone, or what kept failing
}

func (f *fetched) knows(id provider.ItemID) bool { return f.got[id] != nil || f.failed[id] != nil }

// getMany gets messages in order, in batches, for as long as the quota lasts, and no longer than a spell. An error says why it ended early; what it got until then counts.
func (m *Mailbox) getMany(ctx context.Context, l lane, ids []provider.ItemID, query url.Values) (*fetched, error) {
	out, err := m.getAll(ctx, l, ids, query)
	for id, denied := range out.failed {
		if needs(denied) {
			alone := m.single(ctx, l, denied)
			if needs(alone) {
				break // the others are told the same
			}
			out.failed[id] = alone
		}
	}
	return out, err
}

func (m *Mailbox) getAll(ctx context.Context, l lane, ids []provider.ItemID, query url.Values) (*fetched, error) {
	out := &fetched{map[provider.ItemID]*gapi.Message{}, map[provider.ItemID]error{}}
	failures := 0
	alone := 0      // so many are asked for one by one, as a batch did not tell of them
	gaveUp := false // batches failed altogether
	until := time.Now().Add(spell)
	for len(ids) > 0 {
		if len(out.got)+len(out.failed) > 0 && !time.Now().Before(until) {
			return out, errSlow
		}
		n := m.batchWidth()
		if m.noBatch || alone > 0 {
			n = 1
		}
		n, err := m.take(ctx, l, messagesGet, min(len(ids), n))
		if err != nil {
			return out, err
		}
		chunk := ids[:n]
		var answers []*answer
		func() {
			defer m.quota.settle(len(chunk) * units[messagesGet]) // also where it panics
			if n == 1 {
				answers, err = m.getOne(ctx, chunk[0], query)
			} else {
				answers, err = m.postBatch(ctx, chunk, query)
			}
		}()
		if err != nil {
			err = m.classify(ctx, messagesGet, err)
			var missing *MissingError
			if n > 1 && errors.As(err, &missing) {
				m.noBatch = true // then one by one
				continue
			}
			m.quota.learn(messagesGet, err)
			if n > 1 {
				m.quota.wide(n / 2) // it may have been too much for the time that a call has
			}
			if n == 1 && (errors.Is(err, httpcall.ErrTooLong) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil) { // that message's trouble alone
				out.failed[chunk[0]] = err
				ids, alone, failures = ids[1:], max(alone-1, 0), 0
				continue
			}
			if failures++; failures == tries && n > 1 && passing(err) && !m.tokenless {
				alone, failures, gaveUp = len(chunk), 0, true
				continue
			}
			if failures == tries || m.tokenless || !passing(err) {
				return out, err
			}
			if !httpcall.Pause(ctx, time.Duration(failures)*100*time.Millisecond) {
				return out, ctx.Err()
			}
			continue
		}
		if n > 1 && mixedUp(chunk, answers) { // then nothing that it says is of whom it says
			m.noBatch = true
			continue
		}
		var again []provider.ItemID
		var last error
		var sign *provider.SignInError
		var stop *provider.RateLimitError // the one that asks for most
		for i, id := range chunk {
			msg, err := answers[i].message()
			err = m.classify(ctx, messagesGet, err)
			var limit *provider.RateLimitError
			switch {
			case err == nil && msg.Id != string(id):
				again, last = append(again, id), m.classify(ctx, messagesGet, errNoAnswer)
			case err == nil:
				out.got[id] = msg
				m.noBatch = m.noBatch || gaveUp && n == 1 // it is the batches that don't work
			case errors.Is(err, provider.ErrGone):
				out.failed[id] = provider.ErrGone
			case errors.As(err, &limit):
				if stop == nil || limit.RetryAfter > stop.RetryAfter {
					stop = limit
				}
			case passing(err), n > 1 && errors.As(err, &sign): // a call of its own takes another token
				again, last = append(again, id), err
			case status(err) >= 400:
				out.failed[id] = err // this message alone can't be read
			default: // needs somebody, or a server without the method
				return out, err
			}
		}
		if stop != nil {
			m.quota.learn(messagesGet, stop)
			m.quota.wide(len(chunk) / 2)
			return out, stop
		}
		m.quota.wide(min(m.batchWidth()+5, m.p.o.BatchSize))
		was := alone
		ids, alone = ids[len(chunk):], max(alone-len(chunk), 0)
		if len(again) == 0 {
			failures = 0
			continue
		}
		if sign != nil {
			ids, alone = append(again, ids...), 1
			continue
		}
		if failures++; n > 1 && failures == tries {
			ids, alone, failures, gaveUp = append(again, ids...), len(again), 0, errors.Is(last, errNoAnswer)
			continue
		}
		if failures < tries {
			ids, alone = append(again, ids...), was
			if !httpcall.Pause(ctx, time.Duration(failures)*100*time.Millisecond) {
				return out, ctx.Err()
			}
			continue
		}
		failures = 0
		for _, id := range again {
			out.failed[id] = last
		}
	}
	return out, nil
}

// errSlow is of messages that took so long that some are left for another call.
var errSlow = errors.New("gmail: the server is slow: some messages were not read yet")

// single makes of the refusal of one message an error that is no more than that, where mail may be listed: what protects single messages asks nobody to
// connect the mailbox again.
func (m *Mailbox) single(ctx context.Context, l lane, err error) error {
	var action *provider.NeedsAction
	if !errors.As(err, &action) || !needs(err) {
		return err
	}
	if _, e := m.list(ctx, l, query{}, "", 1); e != nil {
		return err
	}
	return action.Err
}

// needs reports whether an error is a refusal for which somebody is to act.
func needs(err error) bool {
	var action *provider.NeedsAction
	return errors.As(err, &action) && status(err) == http.StatusForbidden
}

// mixedUp reports whether an answer holds another message than was asked for in its place.
func mixedUp(ids []provider.ItemID, answers []*answer) bool {
	for i, a := range answers {
		if msg, err := a.message(); err == nil && msg.Id != "" && msg.Id != string(ids[i]) {
			return true
		}
	}
	return false
}

// batchWidth is how many messages the next batch asks for.
func (m *Mailbox) batchWidth() int { return m.quota.batch(m.p.o.BatchSize) }

// getOne is a batch of one.
func (m *Mailbox) getOne(ctx context.Context, id provider.ItemID, query url.Values) ([]*answer, error) {
	call := m.api.Users.Messages.Get("me", string(id)).Context(ctx).Format(query.Get("format"))
	if hs := query["metadataHeaders"]; len(hs) > 0 {
		call = call.MetadataHeaders(hs...)
	}
	msg, err := call.Do()
	var g *googleapi.Error
	if err != nil && !errors.As(err, &g) {
		return nil, err
	}
	return []*answer{{msg: msg, err: err}}, nil
}

// postBatch asks for messages by one request (facts 1.5: multipart/mixed, inner requests with their path only).
func (m *Mailbox) postBatch(ctx context.Context, ids []provider.ItemID, query url.Values) ([]*answer, error) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	q := query.Encode()
	for i, id := range ids {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Id": {fmt.Sprintf("<item-%d>", i)}})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(part, "GET %sgmail/v1/users/me/messages/%s?%s\r\n\r\n", m.p.base.Path, url.PathEscape(string(id)), q)
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.p.o.BaseURL+"batch/gmail/v1", bytes.NewReader(body.Bytes()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "multipart/mixed; boundary="+w.Boundary())
	resp, err := m.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := googleapi.CheckResponse(resp); err != nil {
		var g *googleapi.Error
		if errors.As(err, &g) && g.Code == http.StatusNotFound {
			return nil, &MissingError{Method: "batch", Status: g.Code}
		}
		return nil, err
	}
	answers, err := parseBatch(resp.Header.Get("Content-Type"), resp.Body, len(ids))
	if err != nil && answers == nil {
		return nil, err
	}
	return answers, nil // what is missing at its end is asked for again
}

// answer is one part of the answer to a batch. nil: there is none.
type answer struct {
	status int
	header http.Header
	body   []byte

	msg *gapi.Message // of a call that was made alone
	err error
}

var errNoAnswer = errors.New("the answer to a batch is incomplete")

// message is what a part holds, or its error as calls return it.
func (a *answer) message() (*gapi.Message, error) {
	switch {
	case a == nil:
		return nil, errNoAnswer
	case a.msg != nil, a.err != nil:
		return a.msg, a.err
	}
	if err := googleapi.CheckResponseWithBody(&http.Response{StatusCode: a.status, Header: a.header}, a.body); err != nil {
		return nil, err
	}
	msg := &gapi.Message{}
	if err := json.Unmarshal(a.body, msg); err != nil {
		return nil, errNoAnswer
	}
	a.msg, a.body = msg, nil
	return msg, nil
}

// partLimit bounds a part of the answer to a batch.
const partLimit = 16 << 20

// parseBatch reads the answer to a batch of n requests. Facts 1.5: parts come in the order of requests "but match by Content-ID: <response-X>". What could be
// read is returned beside an error.
func parseBatch(contentType string, body io.Reader, n int) ([]*answer, error) {
	typ, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(typ, "multipart/") || params["boundary"] == "" {
		return nil, errors.New("the answer to a batch is not multipart")
	}
	out := make([]*answer, n)
	r := multipart.NewReader(body, params["boundary"])
	for i := 0; ; i++ {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		at := i
		if id := part.Header.Get("Content-Id"); id != "" {
			_, number, ok := strings.Cut(strings.Trim(id, "<> "), "response-item-")
			if at, err = strconv.Atoi(number); !ok || err != nil {
				continue
			}
		}
		if at < 0 || at >= n || out[at] != nil {
			continue
		}
		resp, err := http.ReadResponse(bufio.NewReader(part), nil)
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(resp.Body, partLimit+1))
		resp.Body.Close() //nolint:errcheck // it was read
		if err == nil && len(b) <= partLimit {
			out[at] = &answer{status: resp.StatusCode, header: resp.Header, body: b}
		}
	}
}

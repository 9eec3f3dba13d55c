package outlook_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/internal/microsoft"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
)

// sample is a request and its answer as Microsoft's documentation has them.
type sample struct {
	Request  struct{ URL, Method string }
	Response struct {
		StatusCode int
		Body       json.RawMessage
	}
}

// name is what the table below calls it: "GET /me/messages".
func (s sample) name() string {
	return s.Request.Method + " " + strings.TrimPrefix(s.Request.URL, "https://graph.microsoft.com/v1.0")
}

// placeholders stand where the documentation has no value, and are of the wrong type.
var placeholders = strings.NewReplacer(`"datetime-value"`, `"2026-03-02T09:00:00Z"`, `"contentBytes-value"`, `"eA=="`, `"contentType": ""`, `"contentType": "text"`)

// body is the answer. A few are texts, in which lines are wrapped within the JSON.
func (s sample) body() string {
	var text string
	switch {
	case string(s.Response.Body) == "null":
		return ""
	case json.Unmarshal(s.Response.Body, &text) == nil:
		return strings.ReplaceAll(text, "\n", "")
	}
	return placeholders.Replace(string(s.Response.Body))
}

// says reads some of the answer.
func (s sample) says(t *testing.T) (v struct {
	ID, Subject, UploadURL, ExpirationDateTime, ContentBytes string
	Value                                                    []struct{ ID, ParentFolderID string }
}) {
	t.Helper()
	if b := s.body(); b != "" {
		if err := json.Unmarshal([]byte(b), &v); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// replay is a Graph that answers one call with a sample, and the others with as little as they need.
type replay struct {
	sample
	at       string            // what is answered with it, "GET /me/messages/AAMk"
	otherway map[string]string // answers, by call: "409 {…}" has a status
	first    map[string]string // the first time, in place of these
	opts     outlook.Options
	asked    []string // "GET /me/messages/AAMk body", in order
	bare     []string // the hosts that were asked without a token
}

// quiet is what a mailbox with one folder and one message answers.
var quiet = map[string]string{
	"GET /me":                                                     `{"id":"48d31887","mail":"me@acme.example","userPrincipalName":"me@acme.example"}`,
	"GET /me/mailFolders/delta":                                   `{"value":[{"id":"AAMkFolder","displayName":"Inbox","parentFolderId":"root"}],"@odata.deltaLink":"https://graph.microsoft.com/v1.0/me/mailFolders/delta?x"}`,
	"GET /me/mailFolders/inbox":                                   `{"id":"AAMkFolder","displayName":"Inbox","parentFolderId":"root"}`,
	"GET /me/mailFolders/AAMkFolder":                              `{"id":"AAMkFolder","displayName":"Inbox","parentFolderId":"root"}`,
	"GET /me/messages/AAMk":                                       `{"id":"AAMk","parentFolderId":"AAMkFolder","categories":[],"@odata.etag":"W/\"1\""}`,
	"GET /me/messages/AAMkDraft":                                  `{"id":"AAMkDraft","parentFolderId":"AAMkFolder","isDraft":false,"internetMessageId":"<files@acme.example>"}`,
	"POST /me/messages":                                           `201 {"id":"AAMkDraft","parentFolderId":"AAMkFolder","isDraft":true,"internetMessageId":"<files@acme.example>"}`,
	"POST /me/messages/AAMkDraft/send":                            `202 `,
	"PATCH /me/messages/AAMk":                                     `{"id":"AAMk","parentFolderId":"AAMkFolder"}`,
	"POST /me/messages/AAMk/move":                                 `201 {"id":"AAMk","parentFolderId":"x"}`,
	"DELETE /me/messages/AAMkDraft":                               `204 `,
	"POST /me/messages/AAMkDraft/attachments/createUploadSession": `201 {"uploadUrl":"https://outlook.office.com/x"}`,
}

// RoundTrip implements http.RoundTripper.
func (g *replay) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	call := r.Method + " " + strings.TrimPrefix(strings.ReplaceAll(r.URL.Path, "delta()", "delta"), "/v1.0")
	g.asked = append(g.asked, call+" "+string(body))
	if r.Header.Get("Authorization") == "" {
		g.bare = append(g.bare, r.URL.Host)
	}
	text, ok := g.otherway[call]
	if !ok {
		text, ok = quiet[call]
	}
	if f, once := g.first[call]; once {
		text, ok = f, true
		delete(g.first, call)
	}
	status := http.StatusOK
	if n, err := fmt.Sscanf(text, "%3d ", &status); n == 1 && err == nil {
		text = text[4:]
	}
	switch {
	case call == g.at:
		status, text = g.Response.StatusCode, g.sample.body()
	case ok:
	case r.URL.Host == "outlook.office.com": // a session takes ranges, and has the attachment with the last (facts 2.6)
		var from, to, of int
		fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &of) //nolint:errcheck // then it is not the last
		if status, text = http.StatusCreated, ""; to+1 < of {
			status, text = http.StatusOK, fmt.Sprintf(`{"nextExpectedRanges":["%d"]}`, to+1)
		}
	case strings.Contains(call, "/messages/delta"):
		text = `{"value":[],"@odata.deltaLink":"https://graph.microsoft.com/v1.0/me/mailFolders/AAMkFolder/messages/delta?x"}`
	default:
		status, text = http.StatusNotFound, `{"error":{"code":"ErrorItemNotFound","message":"x"}}`
	}
	h := http.Header{}
	if text != "" {
		h.Set("Content-Type", "application/json;odata.metadata=minimal")
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: r}, nil
}

// count says how often a call was made whose name and body begin and contain so.
func (g *replay) count(call, within string) (n int) {
	for _, a := range g.asked {
		if strings.HasPrefix(a, call) && strings.Contains(a, within) {
			n++
		}
	}
	return n
}

func (g *replay) provider() *outlook.Provider {
	g.opts.HTTPClient = &http.Client{Transport: g}
	g.opts.NotifyURL, g.opts.PushKey = notifyURL, []byte("a key of the host's, kept secret")
	return outlook.New(&g.opts)
}

var anyToken = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"})

func (g *replay) open(t *testing.T) *outlook.Mailbox {
	t.Helper()
	m, err := g.provider().Mailbox(t.Context(), anyToken)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// met fails where the sample was not asked for.
func (g *replay) met(t *testing.T) {
	t.Helper()
	if g.count(g.at+" ", "") == 0 {
		t.Errorf("it never came to %s, only to %v", g.at, g.asked)
	}
}

var theMail = provider.Target{Item: "AAMk", MessageID: "x@y.example"}

func content(t *testing.T, s sample) {
	has := s.says(t)
	id := cmp.Or(has.ID, "AAMk")
	g := &replay{sample: s, at: "GET /me/messages/" + id}
	msg, err := g.open(t).Content(t.Context(), provider.ItemID(id))
	g.met(t)
	if has.ID == "" { // documentation that leaves it out
		if err == nil {
			t.Errorf("%+v of no message", msg)
		}
		return
	}
	if err != nil || msg.Has != message.HasHeader || has.Subject != "" && msg.Subject != strings.TrimSpace(has.Subject) {
		t.Errorf("%+v, %v", msg, err)
	}
}

func listing(t *testing.T, s sample) {
	g := &replay{sample: s, at: "GET /me/messages", otherway: map[string]string{}}
	for _, v := range s.says(t).Value {
		g.otherway["GET /me/mailFolders/"+v.ParentFolderID] = `{"id":"` + v.ParentFolderID + `","displayName":"Customers","parentFolderId":"root"}`
	}
	page, err := g.open(t).History(t.Context(), provider.Window{}, nil)
	g.met(t)
	if err != nil {
		t.Errorf("%+v, %v", page, err)
	}
	for _, v := range s.says(t).Value {
		// What was not asked for its folder lies in none that is watched.
		if v.ID != "" && v.ParentFolderID != "" && !slices.ContainsFunc(page.Items, func(it provider.Item) bool { return string(it.ID) == v.ID }) {
			t.Errorf("%s is not among %+v", v.ID, page.Items)
		}
	}
}

// stage stages a message with an attachment that goes apart: of medium size, or large.
func (g *replay) stage(t *testing.T, sizes ...int) (*outlook.Mailbox, provider.Staged, error) {
	t.Helper()
	m := g.open(t)
	st, err := m.Stage(t.Context(), large(sizes...), provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}, MessageID: "files@acme.example"})
	return m, st, err
}

// attached puts an attachment beside a draft, of 2.5 MB.
func attached(t *testing.T, s sample) {
	g := &replay{sample: s, at: "POST /me/messages/AAMkDraft/attachments"}
	_, st, err := g.stage(t, 1000, 2_500_000, 5<<20)
	g.met(t)
	if err != nil || !strings.HasPrefix(st.ID, "AAMkDraft ") {
		t.Errorf("%+v, %v", st, err)
	}
}

// named are listings of folders, looked through for one that can't be made as it is there already.
func named(found bool) func(*testing.T, sample) {
	return func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "GET /me/mailFolders", otherway: map[string]string{"POST /me/mailFolders": `409 {"error":{"code":"ErrorFolderExists","message":"x"}}`}}
		did, err := g.open(t).Archive(t.Context(), theMail)
		g.met(t)
		if found && (err != nil || did.To != s.says(t).Value[0].ID || g.count("POST /me/messages/AAMk/move ", did.To) != 1) || !found && err == nil {
			t.Errorf("%+v, %v", did, err)
		}
	}
}

// replays are the samples of what this package asks, and how each is asked for.
var replays = map[string]func(*testing.T, sample){
	"GET /me/messages/*": content,
	"GET /me/messages/*?$select=internetMessageHeaders":                                         content,
	"GET /me/messages/*?$select=subject,body,bodyPreview,uniqueBody":                            content,
	"GET /me/messages/*?$expand=microsoft.graph.eventMessage/event":                             content,
	"GET /me/messages/*?$expand=extensions($filter=id eq *)":                                    content,
	"GET /me/messages/*?$expand=singleValueExtendedProperties($filter=id eq * * * *)":           content,
	"GET /me/messages?$select=sender,subject":                                                   listing,
	"GET /me/messages?$filter=Extensions/any(f: f/id eq *)&$expand=Extensions($filter=id eq *)": listing,
	"GET /me/mailFolders/*/messages":                                                            listing,
	"GET /me/mailFolders/*/messages/delta": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "GET /me/mailFolders/AAMkFolder/messages/delta"}
		m := g.open(t)
		c, err := m.Start(t.Context())
		g.met(t)
		if err != nil {
			t.Fatal(err)
		}
		// Its only message has no id, which nothing can be told of; its next page is asked for.
		page, err := m.Changes(t.Context(), c)
		if err != nil || len(page.Items)+len(page.Left) > 0 || g.count("GET /me/mailFolders/{id}/messages/delta ", "") == 0 {
			t.Errorf("%+v, %v, %v", page, err, g.asked)
		}
	},
	"GET /me/mailFolders/delta": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "GET /me/mailFolders/delta"}
		_, err := g.open(t).Start(t.Context())
		g.met(t)
		// It has a next page, which is not among the samples: here it is the same again.
		if err == nil || !strings.Contains(err.Error(), "links to itself") {
			t.Error(err)
		}
	},
	"GET /me/mailFolders/*": func(t *testing.T, s sample) {
		id := s.says(t).ID
		g := &replay{sample: s, at: "GET /me/mailFolders/inbox", otherway: map[string]string{
			"GET /me/messages/AAMk":       `{"id":"AAMk","parentFolderId":"` + id + `"}`,
			"GET /me/mailFolders/archive": `{"id":"AAMkArchive","displayName":"Archive","parentFolderId":"root"}`, "GET /me/mailFolders/AAMkArchive": `{"id":"AAMkArchive","displayName":"Archive","parentFolderId":"root"}`}}
		did, err := g.open(t).Archive(t.Context(), theMail)
		g.met(t)
		if err != nil || did.From != id || did.To != "AAMkArchive" {
			t.Errorf("%+v, %v", did, err)
		}
	},
	"GET /me/mailFolders":                        named(true),
	"GET /me/mailFolders?includehiddenfolders=*": named(false),
	"POST /me/mailFolders": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "POST /me/mailFolders"}
		did, err := g.open(t).Archive(t.Context(), theMail)
		g.met(t)
		if err != nil || did.To != s.says(t).ID || g.count("POST /me/messages/AAMk/move ", did.To) != 1 {
			t.Errorf("%+v, %v", did, err)
		}
	},
	"POST /me/messages/*/move": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "POST /me/messages/AAMk/move", otherway: map[string]string{"POST /me/mailFolders": `201 {"id":"AAMkArchive","displayName":"Archive"}`}}
		did, err := g.open(t).Archive(t.Context(), theMail)
		g.met(t)
		if err != nil || string(did.Item) != s.says(t).ID {
			t.Errorf("%+v, %v", did, err)
		}
	},
	"PATCH /me/messages/*": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "PATCH /me/messages/AAMk"}
		did, err := g.open(t).Label(t.Context(), theMail, "Customers")
		g.met(t)
		if err != nil || did.Already || did.To != "Customers" || g.count("PATCH /me/messages/AAMk ", `"Customers"`) != 1 {
			t.Errorf("%+v, %v", did, err)
		}
	},
	"POST /me/messages": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "POST /me/messages"}
		_, st, err := g.stage(t, 10)
		g.met(t)
		if err != nil || !strings.HasPrefix(st.ID, s.says(t).ID+" ") {
			t.Errorf("%+v, %v", st, err)
		}
	},
	"POST /me/messages/*/send": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "POST /me/messages/AAMkDraft/send"}
		m, st, err := g.stage(t, 10)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := m.Release(t.Context(), st)
		g.met(t)
		if err != nil || sent.Item != "AAMkDraft" || sent.MessageID != "files@acme.example" {
			t.Errorf("%+v, %v", sent, err)
		}
	},
	"DELETE /me/messages/*": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "DELETE /me/messages/AAMkDraft", otherway: map[string]string{
			"POST /me/messages/AAMkDraft/attachments/createUploadSession": `413 {"error":{"code":"ErrorMessageSizeExceeded","message":"x"}}`}}
		_, _, err := g.stage(t, 5<<20)
		g.met(t)
		if !errors.Is(err, provider.ErrNotSent) {
			t.Error(err)
		}
	},
	"POST /me/messages/*/attachments":          attached,
	"POST /me/messages/AAMkpsDRVK/attachments": attached,
	"POST /me/messages/*/attachments/createUploadSession": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "POST /me/messages/AAMkDraft/attachments/createUploadSession"}
		_, _, err := g.stage(t, 5<<20)
		g.met(t)
		at, _, _ := strings.Cut(strings.TrimPrefix(s.says(t).UploadURL, "https://outlook.office.com"), "?")
		if err != nil || g.count("PUT "+at+" ", "") < 2 || slices.Contains(g.bare, "graph.microsoft.com") || len(g.bare) < 2 {
			t.Errorf("%v; without a token %v were asked", err, g.bare)
		}
	},
	"GET /me/messages/*/attachments": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "GET /me/messages/AAMk/attachments", first: map[string]string{"GET /me/messages/AAMk": `400 {"error":{"code":"BadRequest","message":"x"}}`},
			otherway: map[string]string{"GET /me/messages/AAMk": `{"id":"AAMk","parentFolderId":"AAMkFolder","hasAttachments":true}`}}
		m := g.open(t)
		msg, err := m.Content(t.Context(), "AAMk")
		g.met(t)
		if err != nil || len(msg.Attachments) != len(s.says(t).Value) {
			t.Errorf("%+v, %v", msg, err)
		}
	},
	"GET /me/messages/*/attachments/*": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "GET /me/messages/AAMk/attachments/A1", otherway: map[string]string{"GET /me/messages/AAMk/attachments/A1/$value": `501 {"error":{"code":"NotImplemented","message":"x"}}`}}
		body, err := g.open(t).Attachment(t.Context(), "AAMk", "A1")
		g.met(t)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(body); err != nil || !strings.HasPrefix(string(b), "PK\x03\x04") {
			t.Errorf("%q, %v", b, err)
		}
	},
	"GET /me/messages/*/attachments/*?$expand=microsoft.graph.itemattachment/item": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "GET /me/messages/AAMk/attachments/A1", otherway: map[string]string{"GET /me/messages/AAMk/attachments/A1/$value": `501 {"error":{"code":"NotImplemented","message":"x"}}`}}
		_, err := g.open(t).Attachment(t.Context(), "AAMk", "A1")
		g.met(t)
		if !errors.Is(err, provider.ErrUnsupported) {
			t.Error(err)
		}
	},
	"POST /me/outlook/masterCategories": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "POST /me/outlook/masterCategories", opts: outlook.Options{ColorCategories: true}}
		did, err := g.open(t).Label(t.Context(), theMail, "Customers")
		g.met(t)
		if err != nil || did.Already || did.To != "Customers" || g.count("POST /me/outlook/masterCategories ", "Customers") != 1 {
			t.Errorf("%+v, %v", did, err)
		}
	},
	"POST /subscriptions": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "POST /subscriptions"}
		w, err := g.provider().Watch(t.Context(), anyToken, nil)
		g.met(t)
		if err != nil || !strings.HasPrefix(string(w.Handle), s.says(t).ID+" ") || !strings.HasPrefix(s.says(t).ExpirationDateTime, w.Expires.Format("2006-01-02T15:04:05")) {
			t.Errorf("%+v, %v", w, err)
		}
	},
	"PATCH /subscriptions/*": func(t *testing.T, s sample) {
		id := s.says(t).ID
		g := &replay{sample: s, at: "PATCH /subscriptions/" + id, otherway: map[string]string{"POST /subscriptions": `201 {"id":"` + id + `"}`}}
		p := g.provider()
		first, err := p.Watch(t.Context(), anyToken, nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err := p.Watch(t.Context(), anyToken, first.Handle)
		g.met(t)
		if err != nil || string(w.Handle) != string(first.Handle) || !strings.HasPrefix(s.says(t).ExpirationDateTime, w.Expires.Format("2006-01-02T15:04:05")) {
			t.Errorf("%+v, %v", w, err)
		}
	},
	"DELETE /subscriptions/*": func(t *testing.T, s sample) {
		g := &replay{sample: s, at: "DELETE /subscriptions/7f105c7d", otherway: map[string]string{"POST /subscriptions": `201 {"id":"7f105c7d"}`}}
		p := g.provider()
		w, err := p.Watch(t.Context(), anyToken, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Unwatch(t.Context(), anyToken, w.Handle)
		g.met(t)
		if err != nil {
			t.Error(err)
		}
	},
}

// others are the samples that are not replayed, by the reason.
var others = map[string][]string{
	"it is not asked for: folders are told by the delta": {"GET /me/mailFolders/*/childFolders", "GET /me/mailFolders/*/childFolders?includehiddenfolders=*"},
	"nothing is done to folders but that Archive is made": {"POST /me/mailFolders/*/childFolders", "POST /me/mailFolders/*/copy", "POST /me/mailFolders/*/move", "PATCH /me/mailFolders/*",
		"DELETE /me/mailFolders/*", "PATCH /me/mailFolders/AAMkAGVmMDEzM"},
	"mail is read as JSON": {"GET /me/messages/*/$value"},
	"mail is sent as a draft made of MIME and nothing else": {"POST /me/sendMail", "POST /me/mailFolders/*/messages", "POST /me/messages/*/createReply", "POST /me/messages/*/createReplyAll",
		"POST /me/messages/*/createForward", "POST /me/messages/*/reply", "POST /me/messages/*/replyAll", "POST /me/messages/*/forward", "POST /me/messages/*/copy"},
	"a subscription is prolonged, which answers reauthorizationRequired too, and known by its handle": {"POST /subscriptions/*/reauthorize", "GET /subscriptions", "GET /subscriptions/*"},
	"categories are made, and no more": {"GET /me/outlook/masterCategories", "GET /me/outlook/masterCategories/*", "PATCH /me/outlook/masterCategories/*", "DELETE /me/outlook/masterCategories/*"},
	"ids are immutable from the first": {"POST /me/translateExchangeIds"},
	"settings and rules of the mailbox are the owner's": {"GET /me/mailboxSettings", "PATCH /me/mailboxSettings", "GET /me/mailboxSettings/automaticRepliesSetting", "GET /me/mailboxSettings/userPurpose",
		"GET /me/mailboxSettings/workingHours", "GET /me/mailFolders/inbox/messageRules", "GET /me/mailFolders/inbox/messageRules/*", "POST /me/mailFolders/inbox/messageRules",
		"PATCH /me/mailFolders/inbox/messageRules/*", "DELETE /me/mailFolders/inbox/messageRules/*", "GET /me/inferenceClassification/overrides", "POST /me/inferenceClassification/overrides",
		"PATCH /me/inferenceClassification/overrides/*", "DELETE /me/inferenceClassification/overrides/*"},
	"it is for calendars and languages":   {"GET /me/outlook/supportedLanguages", "GET /me/outlook/supportedTimeZones", "GET /me/outlook/supportedTimeZones(TimeZoneStandard=*)"},
	"nothing of ours is kept at messages": {"GET /me/messages/*/extensions/*", "POST /me/messages/*/extensions", "DELETE /me/messages/*/extensions/*"},
}

// The answers of Microsoft's documentation are read, with their quirks: each is replayed, or named with the reason why not. It has none of notifications, of errors and of signing in;
// these are written down in internal/notice, errors_test.go and oauth_test.go.
func TestSamples(t *testing.T) {
	b, err := os.ReadFile(microsoft.File(t, microsoft.Samples))
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	spared := map[string]bool{}
	for _, names := range others {
		for _, n := range names {
			spared[n] = true
		}
	}
	seen := map[string]bool{}
	for _, s := range all {
		name := s.name()
		f := replays[name]
		switch {
		case seen[name]:
			t.Errorf("there are two samples %s", name)
		case f == nil && !spared[name]:
			t.Errorf("%s is neither replayed nor among others, with the reason", name)
		case f != nil && spared[name]:
			t.Errorf("%s is replayed, and among others", name)
		case f != nil:
			t.Run(strings.ReplaceAll(name, "/", "."), func(t *testing.T) { f(t, s) })
		}
		seen[name] = true
	}
	for name := range replays {
		if !seen[name] {
			t.Errorf("there is no sample %s", name)
		}
	}
	for name := range spared {
		if !seen[name] {
			t.Errorf("there is no sample %s", name)
		}
	}
	t.Logf("%d samples, %d are replayed", len(all), len(replays))
}

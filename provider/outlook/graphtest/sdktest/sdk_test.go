package sdktest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	abs "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/authentication"
	absser "github.com/microsoft/kiota-abstractions-go/serialization"
	khttp "github.com/microsoft/kiota-http-go"
	kjson "github.com/microsoft/kiota-serialization-json-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"
	"github.com/microsoftgraph/msgraph-sdk-go/subscriptions"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// sdk is the client of one user.
type sdk struct {
	*khttp.NetHttpRequestAdapter
	me   *users.UserItemRequestBuilder
	subs *subscriptions.SubscriptionsRequestBuilder
}

// newSDK makes a client with the middleware that matters: it compresses bodies and tries again by itself. Its order is said here, for that of
// khttp.GetDefaultMiddlewares differs from one call to the next: where trying again comes first, a second try is labelled gzip and isn't.
func newSDK(t *testing.T, s *graphtest.Server, u *graphtest.User) *sdk {
	t.Helper()
	parse, write := absser.NewParseNodeFactoryRegistry(), absser.NewSerializationWriterFactoryRegistry()
	parse.ContentTypeAssociatedFactories["application/json"] = kjson.NewJsonParseNodeFactory()
	write.ContentTypeAssociatedFactories["application/json"] = kjson.NewJsonSerializationWriterFactory()
	next := u.Client(graphtest.ScopeReadWrite, graphtest.ScopeSend, graphtest.ScopeSettingsWrite, graphtest.ScopeUser).Transport
	c := &http.Client{Transport: khttp.NewCustomTransportWithParentTransport(next, khttp.NewCompressionHandler(), khttp.NewRetryHandler())}
	a, err := khttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(&authentication.AnonymousAuthenticationProvider{}, parse, write, c)
	if err != nil {
		t.Fatal(err)
	}
	a.SetBaseUrl(s.URL())
	return &sdk{a, users.NewUserItemRequestBuilderInternal(map[string]string{"baseurl": s.URL(), "user%2Did": u.OID}, a),
		subscriptions.NewSubscriptionsRequestBuilderInternal(map[string]string{"baseurl": s.URL()}, a)}
}

func headers(prefer ...string) *abs.RequestHeaders {
	h := abs.NewRequestHeaders()
	for _, p := range append(prefer, `IdType="ImmutableId"`) {
		h.Add("Prefer", p)
	}
	return h
}

func value[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

func ptr[T any](v T) *T { return &v }

// failure is the status and the code of an error.
func failure(t *testing.T, err error) (int, string) {
	t.Helper()
	e := (*odataerrors.ODataError)(nil)
	if !errors.As(err, &e) || e.GetErrorEscaped() == nil {
		t.Fatalf("%T %v", err, err)
	}
	return e.ResponseStatusCode, value(e.GetErrorEscaped().GetCode())
}

func letter(id, subject string) []byte {
	return []byte("From: Bob <bob@acme.example>\r\nTo: ada@example.com\r\nSubject: " + subject + "\r\nMessage-ID: <" + id + "@acme.example>\r\nX-Thing: 1\r\n\r\nHello.\r\n")
}

func TestListingsAndMessages(t *testing.T) {
	s := graphtest.New(graphtest.Options{Now: func() time.Time { return noon }})
	ada := s.AddUser("ada@example.com")
	c := newSDK(t, s, ada)
	first := ada.Deliver(letter("1", "One"), noon, "")
	second := ada.Deliver(letter("2", "Two"), noon.Add(time.Minute), "")
	l, err := c.me.Messages().Get(t.Context(), &users.ItemMessagesRequestBuilderGetRequestConfiguration{Headers: headers(), QueryParameters: &users.ItemMessagesRequestBuilderGetQueryParameters{
		Filter: ptr("receivedDateTime ge 2026-01-01T00:00:00Z"), Orderby: []string{"receivedDateTime desc"}, Select: []string{"subject", "from"}, Top: ptr(int32(1)), Count: ptr(true)}})
	if err != nil {
		t.Fatal(err)
	}
	if ms := l.GetValue(); len(ms) != 1 || value(ms[0].GetId()) != second || value(ms[0].GetSubject()) != "Two" || value(ms[0].GetFrom().GetEmailAddress().GetAddress()) != "bob@acme.example" || value(l.GetOdataCount()) != 2 {
		t.Errorf("%d messages", len(ms))
	}
	l, err = c.me.Messages().WithUrl(value(l.GetOdataNextLink())).Get(t.Context(), &users.ItemMessagesRequestBuilderGetRequestConfiguration{Headers: headers()})
	if err != nil || len(l.GetValue()) != 1 || value(l.GetValue()[0].GetId()) != first || l.GetOdataNextLink() != nil {
		t.Errorf("the next page: %v", err)
	}
	m, err := c.me.Messages().ByMessageId(first).Get(t.Context(), &users.ItemMessagesMessageItemRequestBuilderGetRequestConfiguration{Headers: headers(`outlook.body-content-type="text"`),
		QueryParameters: &users.ItemMessagesMessageItemRequestBuilderGetQueryParameters{Select: []string{"internetMessageHeaders", "body", "receivedDateTime"},
			Expand: []string{"singleValueExtendedProperties($filter=id eq 'String 0x001A')"}}})
	if err != nil {
		t.Fatal(err)
	}
	if !value(m.GetReceivedDateTime()).Equal(noon) || len(m.GetInternetMessageHeaders()) != 5 || value(m.GetBody().GetContentType()) != models.TEXT_BODYTYPE || len(m.GetSingleValueExtendedProperties()) != 1 {
		t.Errorf("message of %v, %d headers, %v", m.GetReceivedDateTime(), len(m.GetInternetMessageHeaders()), m.GetBody().GetContentType())
	}
	raw, err := c.me.Messages().ByMessageId(first).Content().Get(t.Context(), nil)
	if err != nil || !bytes.Equal(raw, letter("1", "One")) {
		t.Errorf("%q, %v", raw, err)
	}
	_, err = c.me.Messages().ByMessageId("AAgone=").Get(t.Context(), nil)
	if status, code := failure(t, err); status != 404 || code != "ErrorItemNotFound" {
		t.Error(status, code)
	}
}

func TestDeltaAndMoves(t *testing.T) {
	s := graphtest.New(graphtest.Options{Now: func() time.Time { return noon }})
	ada := s.AddUser("ada@example.com")
	c := newSDK(t, s, ada)
	id := ada.Deliver(letter("1", "One"), noon, "")
	d, err := c.me.MailFolders().ByMailFolderId("inbox").Messages().Delta().GetAsDeltaGetResponse(t.Context(),
		&users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetRequestConfiguration{Headers: headers("odata.maxpagesize=50"),
			QueryParameters: &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetQueryParameters{Select: []string{"subject"}}})
	if err != nil || len(d.GetValue()) != 1 {
		t.Fatal(err)
	}
	if calls := s.Calls(); !strings.Contains(calls[len(calls)-1].Path, "delta%28%29") && !strings.Contains(calls[len(calls)-1].Path, "delta()") {
		t.Errorf("called %s", calls[len(calls)-1].Path)
	}
	move := users.NewItemMessagesItemMovePostRequestBody()
	move.SetDestinationId(ptr("deleteditems"))
	moved, err := c.me.Messages().ByMessageId(id).Move().Post(t.Context(), move, &users.ItemMessagesItemMoveRequestBuilderPostRequestConfiguration{Headers: headers()})
	if err != nil || value(moved.GetId()) != id || value(moved.GetParentFolderId()) != ada.Folder("deleteditems") {
		t.Fatal(err)
	}
	next := users.NewItemMailFoldersItemMessagesDeltaRequestBuilder(value(d.GetOdataDeltaLink()), c)
	d, err = next.GetAsDeltaGetResponse(t.Context(), &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetRequestConfiguration{Headers: headers()})
	if err != nil || len(d.GetValue()) != 1 || value(d.GetValue()[0].GetId()) != id {
		t.Fatal(err)
	}
	if rm, ok := d.GetValue()[0].GetAdditionalData()["@removed"].(map[string]any); !ok || value(rm["reason"].(*string)) != "changed" {
		t.Errorf("removed %v", d.GetValue()[0].GetAdditionalData())
	}
	ada.ExpireDelta("")
	next = users.NewItemMailFoldersItemMessagesDeltaRequestBuilder(value(d.GetOdataDeltaLink()), c) // one of a raw link is good for one call
	_, err = next.GetAsDeltaGetResponse(t.Context(), nil)
	if status, code := failure(t, err); status != 410 || code != "SyncStateNotFound" {
		t.Errorf("%d %s %s", status, code, s.Calls()[len(s.Calls())-1].Path)
	}
	fs, err := c.me.MailFolders().Delta().GetAsDeltaGetResponse(t.Context(), nil)
	if err != nil || len(fs.GetValue()) != 6 || value(fs.GetValue()[0].GetDisplayName()) == "" {
		t.Error(err)
	}
}

func TestDraftsAndSending(t *testing.T) {
	s := graphtest.New(graphtest.Options{Now: func() time.Time { return noon }})
	ada, bob := s.AddUser("ada@example.com"), s.AddUser("bob@acme.example")
	c := newSDK(t, s, ada)
	m := models.NewMessage()
	m.SetSubject(ptr("Offer"))
	b := models.NewItemBody()
	b.SetContentType(ptr(models.HTML_BODYTYPE))
	b.SetContent(ptr("<p>Grüße</p>"))
	m.SetBody(b)
	r, a := models.NewRecipient(), models.NewEmailAddress()
	a.SetAddress(ptr("bob@acme.example"))
	r.SetEmailAddress(a)
	m.SetToRecipients([]models.Recipientable{r})
	f := models.NewFileAttachment()
	f.SetName(ptr("a.txt"))
	f.SetContentBytes([]byte("hi"))
	m.SetAttachments([]models.Attachmentable{f})
	d, err := c.me.Messages().Post(t.Context(), m, &users.ItemMessagesRequestBuilderPostRequestConfiguration{Headers: headers()})
	if err != nil {
		t.Fatal(err)
	}
	id := value(d.GetId())
	p := models.NewMessage()
	p.SetCategories([]string{"CRM"})
	h := headers()
	tag, ok := d.GetAdditionalData()["@odata.etag"].(*string)
	if !ok {
		t.Fatalf("no etag: %v", d.GetAdditionalData())
	}
	h.Add("If-Match", *tag)
	patch := &users.ItemMessagesMessageItemRequestBuilderPatchRequestConfiguration{Headers: h}
	if p, err := c.me.Messages().ByMessageId(id).Patch(t.Context(), p, patch); err != nil || !slices.Equal(p.GetCategories(), []string{"CRM"}) {
		t.Fatal(err)
	}
	_, err = c.me.Messages().ByMessageId(id).Patch(t.Context(), p, patch)
	if status, code := failure(t, err); status != 412 || code != "ErrorIrresolvableConflict" {
		t.Error(status, code)
	}
	if err := c.me.Messages().ByMessageId(id).Send().Post(t.Context(), &users.ItemMessagesItemSendRequestBuilderPostRequestConfiguration{Headers: headers()}); err != nil {
		t.Fatal(err)
	}
	sent, err := c.me.Messages().ByMessageId(id).Get(t.Context(), &users.ItemMessagesMessageItemRequestBuilderGetRequestConfiguration{Headers: headers()})
	if err != nil || value(sent.GetIsDraft()) || len(bob.Find(value(sent.GetInternetMessageId()))) != 1 {
		t.Errorf("sent %v", err)
	}
	reply, err := c.me.Messages().ByMessageId(id).CreateReply().Post(t.Context(), users.NewItemMessagesItemCreateReplyPostRequestBody(), nil)
	if err != nil || value(reply.GetSubject()) != "RE: Offer" || !value(reply.GetIsDraft()) {
		t.Errorf("reply %v", err)
	}
	in := users.NewItemSendMailPostRequestBody()
	m2 := models.NewMessage()
	m2.SetToRecipients([]models.Recipientable{r})
	x := models.NewInternetMessageHeader()
	x.SetName(ptr("In-Reply-To"))
	x.SetValue(ptr("<1@acme.example>"))
	m2.SetInternetMessageHeaders([]models.InternetMessageHeaderable{x})
	in.SetMessage(m2)
	if status, code := failure(t, c.me.SendMail().Post(t.Context(), in, nil)); status != 400 || code != "InvalidInternetMessageHeader" {
		t.Error(status, code)
	}
	item, session := models.NewAttachmentItem(), users.NewItemMessagesItemAttachmentsCreateUploadSessionPostRequestBody()
	item.SetAttachmentType(ptr(models.FILE_ATTACHMENTTYPE))
	item.SetName(ptr("big"))
	item.SetSize(ptr(int64(5 << 20)))
	session.SetAttachmentItem(item)
	if u, err := c.me.Messages().ByMessageId(value(reply.GetId())).Attachments().CreateUploadSession().Post(t.Context(), session, nil); err != nil || !strings.HasPrefix(value(u.GetUploadUrl()), "https://outlook.") {
		t.Error(err)
	}
}

// A whole message goes as a text of base64, by a request made by hand (facts 2.7).
func TestMIME(t *testing.T) {
	s := graphtest.New(graphtest.Options{Now: func() time.Time { return noon }})
	c := newSDK(t, s, s.AddUser("ada@example.com"))
	info := abs.NewRequestInformation()
	info.Method = abs.POST
	info.UrlTemplate = "{+baseurl}/me/sendMail"
	info.PathParameters = map[string]string{"baseurl": s.URL()}
	raw := []byte("To: bob@acme.example\r\nSubject: Hi\r\nMessage-ID: <m@crm.example>\r\n\r\nHello\r\n")
	info.SetStreamContentAndContentType([]byte(base64.StdEncoding.EncodeToString(raw)), "text/plain")
	if err := c.SendNoContent(t.Context(), info, nil); err != nil || len(s.Sent()) != 1 || s.Sent()[0].MessageID != "m@crm.example" {
		t.Errorf("%v, %+v", err, s.Sent())
	}
}

func TestSubscriptions(t *testing.T) {
	s := graphtest.New(graphtest.Options{Now: func() time.Time { return noon }})
	c := newSDK(t, s, s.AddUser("ada@example.com"))
	s.Webhook("https://crm.example/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(r.URL.Query().Get("validationToken")))
	}))
	o := models.NewSubscription()
	o.SetResource(ptr("/me/messages"))
	o.SetChangeType(ptr("created,updated"))
	o.SetNotificationUrl(ptr("https://crm.example/hook"))
	o.SetClientState(ptr("secret"))
	o.SetExpirationDateTime(ptr(noon.Add(24 * time.Hour)))
	made, err := c.subs.Post(t.Context(), o, nil)
	if err != nil || value(made.GetId()) == "" || !value(made.GetExpirationDateTime()).Equal(noon.Add(24*time.Hour)) {
		t.Fatal(err)
	}
	renew := models.NewSubscription()
	renew.SetExpirationDateTime(ptr(noon.Add(48 * time.Hour)))
	if o, err := c.subs.BySubscriptionId(value(made.GetId())).Patch(t.Context(), renew, nil); err != nil || !value(o.GetExpirationDateTime()).Equal(noon.Add(48*time.Hour)) {
		t.Error(err)
	}
	if err := c.subs.BySubscriptionId(value(made.GetId())).Delete(t.Context(), nil); err != nil {
		t.Error(err)
	}
	_, err = c.subs.BySubscriptionId(value(made.GetId())).Patch(t.Context(), renew, nil)
	if status, _ := failure(t, err); status != 404 {
		t.Error(status)
	}
}

// What facts 2.7 say of the client: errors in three forms, bodies that are compressed, and a sendMail that is sent again.
func TestTheClientsHabits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := graphtest.New(graphtest.Options{})
		c := newSDK(t, s, s.AddUser("ada@example.com"))
		list := func() error {
			_, err := c.me.Messages().Get(context.Background(), nil)
			return err
		}
		s.Fail("messages.list", 1, graphtest.ServerError)
		if status, code := failure(t, list()); status != 500 || code != "InternalServerError" {
			t.Error(status, code)
		}
		s.Fail("messages.list", 1, graphtest.Fault{Status: 500, Bare: true})
		if e := (*abs.ApiError)(nil); !errors.As(list(), &e) || e.ResponseStatusCode != 500 {
			t.Error("an error without a body")
		}
		s.Fail("messages.list", 1, graphtest.BadGateway)
		err := list()
		if e, o := (*abs.ApiError)(nil), (*odataerrors.ODataError)(nil); err == nil || errors.As(err, &e) || errors.As(err, &o) {
			t.Errorf("a page of a gateway's: %T %v", err, err)
		}
		in := users.NewItemSendMailPostRequestBody()
		m, r, a := models.NewMessage(), models.NewRecipient(), models.NewEmailAddress()
		a.SetAddress(ptr("bob@acme.example"))
		r.SetEmailAddress(a)
		m.SetToRecipients([]models.Recipientable{r})
		in.SetMessage(m)
		s.Fail("sendMail", 1, graphtest.Throttled)
		s.Fail("sendMail", 1, graphtest.AnswerBroken)
		if err := c.me.SendMail().Post(context.Background(), in, nil); err != nil || s.Count("sendMail") != 3 || len(s.Sent()) != 2 {
			t.Errorf("%v, %d calls, %d sent", err, s.Count("sendMail"), len(s.Sent()))
		}
	})
}

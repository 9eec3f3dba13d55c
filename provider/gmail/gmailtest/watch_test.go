package gmailtest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

// receiver is a CRM's push endpoint. It checks tokens by go-oidc.
type receiver struct {
	t        *testing.T
	verifier *oidc.IDTokenVerifier
	got      []string // historyId of each push, in order
	ids      []string // messageId
	status   []int    // what it answers next; 204
}

const endpoint = "https://crm.example/push"

func receive(t *testing.T, s *gmailtest.Server, c *clock) *receiver {
	t.Helper()
	ctx := oidc.ClientContext(context.Background(), s.Client())
	r := &receiver{t: t, verifier: oidc.NewVerifier(gmailtest.Issuer, oidc.NewRemoteKeySet(ctx, s.KeysURL()), &oidc.Config{ClientID: endpoint, Now: c.now})}
	s.Subscribe(gmailtest.Subscription{Topic: s.Topic("gmail"), Endpoint: endpoint, ServiceAccount: "push@crm.example", Handler: r})
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	token, _ := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
	id, err := r.verifier.Verify(q.Context(), token)
	if err != nil {
		r.t.Errorf("the push token: %v", err)
		return
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := id.Claims(&claims); err != nil || claims.Email != "push@crm.example" || !claims.Verified {
		r.t.Errorf("claims %+v, %v", claims, err)
	}
	var envelope struct {
		Message struct {
			Data      []byte
			MessageID string `json:"messageId"`
		}
		Subscription string
	}
	if err := json.NewDecoder(q.Body).Decode(&envelope); err != nil {
		r.t.Error(err)
	}
	var data struct {
		EmailAddress string
		HistoryID    json.RawMessage `json:"historyId"`
	}
	if err := json.Unmarshal(envelope.Message.Data, &data); err != nil || data.EmailAddress != "ada@example.com" {
		r.t.Errorf("data %s, %v", envelope.Message.Data, err)
	}
	r.got, r.ids = append(r.got, string(data.HistoryID)), append(r.ids, envelope.Message.MessageID)
	status := http.StatusNoContent
	if len(r.status) > 0 {
		status, r.status = r.status[0], r.status[1:]
	}
	w.WriteHeader(status)
}

func (r *receiver) take() []string {
	got := r.got
	r.got, r.ids = nil, nil
	return got
}

func watch(t *testing.T, svc *gmail.UsersService, s *gmailtest.Server, labels ...string) *gmail.WatchResponse {
	t.Helper()
	return must(svc.Watch("me", &gmail.WatchRequest{TopicName: s.Topic("gmail"), LabelIds: labels}).Do())(t)
}

func TestWatchPushes(t *testing.T) {
	s, c := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	r := receive(t, s, c)
	deliver := func() string {
		c.advance(10 * time.Second)
		ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), c.now())
		return fmt.Sprint(ada.HistoryID())
	}
	deliver()
	if got := r.take(); got != nil {
		t.Errorf("pushed %v and nobody watches", got)
	}
	w := watch(t, svc, s)
	if w.HistoryId != ada.HistoryID() || w.Expiration != c.now().Add(7*24*time.Hour).UnixMilli() {
		t.Errorf("watch answers %+v", w)
	}
	if got := r.take(); !slices.Equal(got, []string{fmt.Sprint(ada.HistoryID())}) { // at once
		t.Errorf("at the watch: %v", got)
	}
	want := deliver()
	if got := r.take(); !slices.Equal(got, []string{want}) {
		t.Errorf("pushed %v, want %s", got, want)
	}
	// One a second.
	deliver()
	r.take()
	for range 5 {
		ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), c.now())
	}
	if got := r.take(); got != nil {
		t.Errorf("within a second: %v", got)
	}
	dropped := 0
	for _, n := range s.Notifications() {
		if n.Dropped {
			dropped++
		}
	}
	if dropped != 5 {
		t.Errorf("%d dropped", dropped)
	}
	// What is not taken comes again, as the same message.
	r.status = []int{500, 503}
	want = deliver()
	for range 3 {
		c.advance(time.Minute)
		s.Push()
	}
	if !slices.Equal(r.got, []string{want, want, want}) || r.ids[0] != r.ids[2] {
		t.Errorf("pushed %v as %v, want three times %s", r.got, r.ids, want)
	}
	r.take()
	s.RepeatPushes(1)
	want = deliver()
	if got := r.take(); !slices.Equal(got, []string{want, want}) {
		t.Errorf("repeated: %v", got)
	}
	s.DropPushes(1)
	deliver()
	if got := r.take(); got != nil {
		t.Errorf("dropped: %v", got)
	}
	s.HoldPushes(true)
	s.ReorderPushes(true)
	first, second := deliver(), deliver()
	if got := r.take(); got != nil {
		t.Errorf("held: %v", got)
	}
	s.Push()
	if got := r.take(); !slices.Equal(got, []string{second, first}) {
		t.Errorf("in another order: %v", got)
	}
	s.HoldPushes(false)
	s.DelayPushes(5 * time.Minute)
	want = deliver()
	if got := r.take(); got != nil {
		t.Errorf("late ones came at once: %v", got)
	}
	c.advance(5 * time.Minute)
	s.Push()
	if got := r.take(); !slices.Equal(got, []string{want}) {
		t.Errorf("late: %v", got)
	}
	s.DelayPushes(0)
	if err := svc.Stop("me").Do(); err != nil {
		t.Fatal(err)
	}
	deliver()
	if got := r.take(); got != nil {
		t.Errorf("after stop: %v", got)
	}
	watch(t, svc, s)
	c.advance(7*24*time.Hour - time.Second)
	r.take()
	ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), c.now())
	if len(r.take()) != 1 {
		t.Error("nothing in the last second of a watch")
	}
	c.advance(time.Second)
	deliver()
	if got := r.take(); got != nil {
		t.Errorf("after a week: %v", got)
	}
}

func TestWatchRules(t *testing.T) {
	s, c := newServer(gmailtest.Options{Project: "mine", QuotedHistoryID: true})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	try := func(topic string) string {
		_, err := svc.Watch("me", &gmail.WatchRequest{TopicName: topic}).Do()
		return failure(err)
	}
	s.Grant(s.Topic("closed"), false)
	for _, x := range []struct{ topic, want string }{
		{"projects/other/topics/gmail", "400 invalidArgument"}, {"gmail", "400 invalidArgument"}, {s.Topic("closed"), "500 backendError"},
		{"projects/mine/topics/gmail", "none"}, {s.Topic("another"), "400 invalidArgument"}, {s.Topic("gmail"), "none"},
	} {
		if got := try(x.topic); got != x.want {
			t.Errorf("%s: %s, want %s", x.topic, got, x.want)
		}
	}
	if err := svc.Stop("me").Do(); err != nil {
		t.Error(err)
	}
	if got := try(s.Topic("another")); got != "none" {
		t.Errorf("after stop: %s", got)
	}
	if topic, until := ada.Watched(); topic != s.Topic("another") || !until.Equal(c.now().Add(7*24*time.Hour)) {
		t.Errorf("watched on %s until %v", topic, until)
	}
	svc.Stop("me").Do()
	r := receive(t, s, c)
	watch(t, svc, s, "INBOX")
	if got := r.take(); len(got) != 1 || !strings.HasPrefix(got[0], `"`) {
		t.Errorf("historyId %v is not quoted", got)
	}
	for labels, want := range map[string]int{"SENT": 0, "INBOX": 1} {
		c.advance(time.Minute)
		ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), c.now(), labels)
		if got := r.take(); len(got) != want {
			t.Errorf("mail in %s: %v", labels, got)
		}
	}
}

// What a CRM must refuse can be made: each of these is signed by the right key.
func TestForgedPushTokens(t *testing.T) {
	s, c := newServer(gmailtest.Options{})
	ctx := oidc.ClientContext(context.Background(), s.Client())
	p, err := oidc.NewProvider(ctx, gmailtest.Issuer) // its discovery document is found in memory
	if err != nil {
		t.Fatal(err)
	}
	v := p.Verifier(&oidc.Config{ClientID: endpoint, Now: c.now})
	for what, claims := range map[string]map[string]any{
		"audience": {"aud": "https://else.example"}, "issuer": {"aud": endpoint, "iss": "https://else.example"}, "expired": {"aud": endpoint, "exp": c.now().Add(-time.Minute).Unix()},
	} {
		if _, err := v.Verify(ctx, s.PushToken(claims)); err == nil {
			t.Errorf("another %s is taken", what)
		}
	}
	token := s.PushToken(map[string]any{"aud": endpoint})
	if _, err := v.Verify(ctx, token); err != nil {
		t.Error(err)
	}
	i := strings.LastIndexByte(token, '.')
	sig, _ := base64.RawURLEncoding.DecodeString(token[i+1:])
	sig[0] ^= 1
	if _, err := v.Verify(ctx, token[:i+1]+base64.RawURLEncoding.EncodeToString(sig)); err == nil {
		t.Error("a broken signature is taken")
	}
}

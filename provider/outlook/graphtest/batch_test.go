package graphtest_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// responses are the answers of a batch by their ids, and the ids in their order.
func responses(r *answer) (byID map[string]obj, order []string) {
	byID = map[string]obj{}
	for _, v := range r.m["responses"].([]any) {
		id := v.(obj)["id"].(string)
		byID[id] = v.(obj)
		order = append(order, id)
	}
	return byID, order
}

func TestBatch(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	id := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	r := a.post("/$batch", obj{"requests": []obj{
		{"id": "1", "method": "GET", "url": "/me/messages/" + id + "?$select=subject", "headers": obj{"Prefer": `IdType="ImmutableId"`}},
		{"id": "2", "method": "GET", "url": "me/messages/AAgone="},
		{"id": "3", "method": "PATCH", "url": "/me/messages/" + id, "headers": obj{"Content-Type": "application/json"}, "body": obj{"isRead": true}},
		{"id": "4", "method": "GET", "url": "/me/messages/" + id + "/$value"},
		{"id": "5", "method": "PATCH", "url": "/me/messages/" + id, "body": obj{"isRead": true}},
		{"id": "6", "method": "GET", "url": "/me/messages/" + id},
	}}).want(t, "200")
	got, order := responses(r)
	if !slices.Equal(order, []string{"1", "2", "3", "4", "5", "6"}) || got["1"]["status"] != 200.0 || got["1"]["body"].(obj)["id"] != id || got["2"]["status"] != 404.0 || got["3"]["status"] != 200.0 || got["5"]["status"] != 400.0 {
		t.Errorf("answers %s", r.raw)
	}
	if got["6"]["body"].(obj)["id"] == id {
		t.Error("Prefer reaches another item")
	}
	if raw, err := base64.StdEncoding.DecodeString(got["4"]["body"].(string)); err != nil || string(raw[:5]) != "From:" {
		t.Errorf("MIME %v", got["4"])
	}
	if m, _ := ada.Message(id); !m.Read {
		t.Error("not read")
	}
	if n := ada.Requests(); n != 5 {
		t.Errorf("%d requests", n)
	}
	s.ShuffleBatches(true)
	s.Fail("messages.get", 1, graphtest.Throttled)
	get := func(id string, on ...string) obj {
		return obj{"id": id, "method": "GET", "url": "/me/messages", "dependsOn": on}
	}
	r = a.post("/$batch", obj{"requests": []obj{{"id": "a", "method": "GET", "url": "/me/messages/" + id}, get("b", "a"), get("c")}}).want(t, "200")
	got, order = responses(r)
	if !slices.Equal(order, []string{"c", "b", "a"}) || got["a"]["status"] != 429.0 || got["a"]["headers"].(obj)["Retry-After"] != "10" || got["b"]["status"] != 424.0 || got["c"]["status"] != 200.0 {
		t.Errorf("answers %s", r.raw)
	}
	many := []obj{}
	for i := range 21 {
		many = append(many, get(fmt.Sprint(i)))
	}
	a.post("/$batch", obj{"requests": many}).want(t, "400 MaximumValueExceeded")
	a.post("/$batch", obj{"requests": many[:20]}).want(t, "200")
	for _, bad := range [][]obj{nil, {get("1"), get("1")}, {{"id": "1", "method": "GET", "url": "https://graph.test/v1.0/me"}}, {get("1", "2"), get("2")},
		{{"id": "1", "method": "GET", "url": "/me", "headers": obj{"Authorization": "Bearer x"}}}} {
		a.post("/$batch", obj{"requests": bad}).want(t, "400 BadRequest")
	}
	s.Fail("batch", 1, graphtest.ServerError)
	a.post("/$batch", obj{"requests": many[:1]}).want(t, "500 InternalServerError")
	(&app{t: t, s: s, client: s.Client()}).post("/$batch", obj{"requests": many[:1]}).want(t, "401 InvalidAuthenticationToken")
}

func TestABatchRunsFourAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := graphtest.New(graphtest.Options{Latency: 100 * time.Millisecond})
		ada := s.AddUser("ada@example.com")
		a := newApp(t, s, ada)
		many := []obj{}
		for i := range 20 {
			many = append(many, obj{"id": fmt.Sprint(i), "method": "GET", "url": "/me/messages"})
		}
		start := time.Now()
		r := a.post("/$batch", obj{"requests": many}).want(t, "200")
		got, _ := responses(r)
		for id, v := range got {
			if v["status"] != 200.0 {
				t.Errorf("%s: %v", id, v)
			}
		}
		if d := time.Since(start); d != 500*time.Millisecond || ada.AtOnce() != 4 || s.Throttled() != 0 {
			t.Errorf("%v, %d at once, %d refused", d, ada.AtOnce(), s.Throttled())
		}
	})
}

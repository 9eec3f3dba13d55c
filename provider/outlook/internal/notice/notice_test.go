package notice_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/provider/outlook/internal/notice"
)

func keeper(t testing.TB, key, url string) *notice.Keeper {
	t.Helper()
	k, err := notice.NewKeeper([]byte(key), url)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const key, url = "0123456789abcdef", "https://crm.example.com/email/push/outlook"

func TestStatesAndHandles(t *testing.T) {
	k, other := keeper(t, key, url), keeper(t, "fedcba9876543210", url)
	n := k.Nonce()
	if n == k.Nonce() || len(k.State(n)) > 128 {
		t.Errorf("nonce %q, state of %d characters", n, len(k.State(n))) // facts 2.4
	}
	if got, ok := k.Check(k.State(n)); !ok || got != n {
		t.Errorf("%q, %v", got, ok)
	}
	for _, s := range []string{"", ".", n, n + ".", other.State(n), k.State(n) + "x", k.State(n)[1:], strings.Repeat("x", 1<<20), n + "." + strings.Split(k.State(k.Nonce()), ".")[1]} {
		if _, ok := k.Check(s); ok {
			t.Errorf("%.100q was taken", s)
		}
	}
	h := k.Handle("sub-1", n)
	for name, c := range map[string]struct {
		k    *notice.Keeper
		ours bool
	}{"the same": {k, true}, "another process": {keeper(t, key, url), true}, "another key": {other, false}, "another address": {keeper(t, key, url+"2"), false}} {
		if id, ours := c.k.Subscription(h); id != "sub-1" || ours != c.ours {
			t.Errorf("%s: %q, %v", name, id, ours)
		}
	}
	for _, h := range []string{"", "x", "a b", "a b c d"} {
		if id, ours := k.Subscription([]byte(h)); id != "" || ours {
			t.Errorf("%q: %q, %v", h, id, ours)
		}
	}
	if _, err := notice.NewKeeper([]byte("short"), url); err == nil {
		t.Error("a short key was taken")
	}
}

func TestRead(t *testing.T) {
	k := keeper(t, key, url)
	n1, n2 := k.Nonce(), k.Nonce()
	one := func(sub, state, event string) string {
		return fmt.Sprintf(`{"subscriptionId":%q,"clientState":%q,"lifecycleEvent":%q,"resource":"Users/1/Messages/2"}`, sub, state, event)
	}
	post := func(ns ...string) string { return `{"value":[` + strings.Join(ns, ",") + `]}` }
	for name, c := range map[string]struct {
		body string
		want []notice.Notice // nil: forged
	}{
		"one":          {post(one("s1", k.State(n1), "")), []notice.Notice{{Handle: k.Handle("s1", n1)}}},
		"twice":        {post(one("s1", k.State(n1), ""), one("s1", k.State(n1), "")), []notice.Notice{{Handle: k.Handle("s1", n1)}}},
		"two":          {post(one("s1", k.State(n1), ""), one("s2", k.State(n2), "missed")), []notice.Notice{{Handle: k.Handle("s1", n1)}, {Handle: k.Handle("s2", n2), Event: "missed"}}},
		"one forged":   {post(one("s1", "x", ""), one("s2", k.State(n2), "")), []notice.Notice{{Handle: k.Handle("s2", n2)}}},
		"forged":       {post(one("s1", "x", "")), nil},
		"no state":     {post(`{"subscriptionId":"s1"}`), nil},
		"no id":        {post(one("", k.State(n1), "")), nil},
		"an odd id":    {post(one("a b", k.State(n1), "")), nil},
		"none":         {`{"value":[]}`, nil},
		"null":         {`{"value":[null]}`, nil},
		"another JSON": {`[1]`, nil},
		"no JSON":      {"hello", nil},
		"nothing":      {"", nil},
	} {
		got, err := k.Read(strings.NewReader(c.body))
		if c.want == nil {
			if !errors.Is(err, notice.ErrForged) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// Nobody without the key is believed, whatever they send.
func FuzzRead(f *testing.F) {
	k := keeper(f, key, url)
	other := keeper(f, "another key of sixteen", url)
	f.Add(`{"value":[{"subscriptionId":"s","clientState":"` + other.State("n") + `"}]}`)
	f.Add(`{"value":[{"subscriptionId":"s","clientState":"."}]}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, body string) {
		if got, err := k.Read(strings.NewReader(body)); err == nil {
			t.Errorf("believed %q", got)
		}
	})
}

package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// importer reads a whole mailbox as the engine does: it comes back when it is told to.
type importer struct {
	t    *testing.T
	w    *world
	read map[provider.ItemID]bool
	// waits are how long it was told to stay away, live those of live mail.
	waits []time.Duration
	live  time.Duration
}

// content reads what it can, and sleeps when there is no more quota.
func (im *importer) content(box *gmail.Mailbox, ids []provider.ItemID) {
	im.t.Helper()
	for len(ids) > 0 {
		box.Prefetch(ids)
		var limit *provider.RateLimitError
		for len(ids) > 0 {
			_, err := box.Content(im.t.Context(), ids[0])
			if errors.As(err, &limit) {
				im.waits = append(im.waits, limit.RetryAfter)
				time.Sleep(limit.RetryAfter)
				break
			}
			if err != nil {
				im.t.Fatal(err)
			}
			im.read[ids[0]] = true
			ids = ids[1:]
		}
	}
}

// changes reads live mail to the end, and notes how long that was held up.
func (im *importer) changes(box *gmail.Mailbox, c provider.Cursor) provider.Cursor {
	im.t.Helper()
	began := time.Now()
	for {
		p, err := box.Changes(im.t.Context(), c)
		var limit *provider.RateLimitError
		if errors.As(err, &limit) {
			time.Sleep(limit.RetryAfter)
			continue
		}
		if err != nil {
			im.t.Fatal(err)
		}
		for _, it := range p.Items {
			im.read[it.ID] = true
		}
		if c = p.Next; !p.More {
			im.live = max(im.live, time.Since(began))
			return c
		}
	}
}

// At least 95 % of what Google allows is used, and none of it in vain. After each minute of the virtual clock the mailbox looks for live mail, which is never
// held up.
func TestQuotaIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{UserUnits: 6000}, gmail.Options{})
		const minutes = 10
		for i := range minutes*300 + 100 {
			w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "old"), time.Now().AddDate(0, 0, -1).Add(-time.Duration(i)*time.Minute))
		}
		box := w.open(t)
		c, err := box.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		im := &importer{t: t, w: w, read: map[provider.ItemID]bool{}}
		var ids []provider.ItemID
		for h := provider.Cursor(nil); ; {
			p, err := box.History(t.Context(), provider.Window{}, h)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range p.Items {
				ids = append(ids, it.ID)
			}
			if h = p.Next; !p.More {
				break
			}
		}
		began := time.Now()
		for n := 0; len(ids) > 0; n++ {
			k := min(len(ids), 100)
			im.content(box, ids[:k])
			ids = ids[k:]
			if n%3 == 0 {
				w.user.Deliver(providertest.Mail(fmt.Sprint("live", n), "new"), time.Now())
				c = im.changes(box, c)
			}
		}
		used := 0
		for _, c := range w.srv.Calls() {
			if c.At.Sub(began) >= 0 && c.At.Sub(began) < minutes*time.Minute {
				used += c.Units
			}
		}
		const allowed = minutes * 6000
		t.Logf("%d units in %d minutes, %.1f %% of what is allowed; %d waits", used, minutes, 100*float64(used)/allowed, len(im.waits))
		if used < allowed*95/100 {
			t.Errorf("%d units were used of %d", used, allowed)
		}
		if n := w.srv.RateErrors(); n > 0 {
			t.Errorf("Google refused %d calls", n)
		}
		if im.live > 0 {
			t.Errorf("live mail was held up for %s", im.live)
		}
		if want := len(w.user.Messages()); len(im.read) != want {
			t.Errorf("%d of %d messages were read", len(im.read), want)
		}
	})
}

// A quota that is smaller than was believed is found out, and then kept to.
func TestQuotaAdapts(t *testing.T) {
	for name, e := range map[string]gmailtest.RateError{
		"403":                   {},
		"429":                   {Status: 429},
		"429 and Retry-After":   {Status: 429, Header: true},
		"403, when in the text": {InMessage: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(gmailtest.Options{UserUnits: 3000}, gmail.Options{})
				w.srv.SetRateError(e)
				var ids []provider.ItemID
				for i := range 1500 {
					ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "old"), time.Now())))
				}
				box := w.open(t)
				im := &importer{t: t, w: w, read: map[provider.ItemID]bool{}}
				began := time.Now()
				im.content(box, ids)
				took := time.Since(began)
				t.Logf("took %s, %d refusals", took, w.srv.RateErrors())
				if took > 16*time.Minute || len(im.read) != len(ids) { // ten minutes are the least
					t.Errorf("it took %s for %d", took, len(im.read))
				}
				// Now and then it tries whether more is allowed.
				if n := w.srv.RateErrors(); n > 15*50 {
					t.Errorf("Google refused %d calls", n)
				}
			})
		})
	}
}

// A worker is not held up: a wait that is longer than a moment is told, and before anything is asked for.
func TestQuotaNobodySleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{UserUnits: 6000}, gmail.Options{})
		var ids []provider.ItemID
		for i := range 400 {
			ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "old"), time.Now())))
		}
		box := w.open(t)
		box.Prefetch(ids)
		for _, id := range ids {
			began := time.Now()
			_, err := box.Content(t.Context(), id)
			if d := time.Since(began); d > 2*time.Second {
				t.Fatalf("it slept %s", d)
			}
			var limit *provider.RateLimitError
			if errors.As(err, &limit) {
				if limit.RetryAfter < 50*time.Second || limit.RetryAfter > 61*time.Second {
					t.Errorf("retry after %s", limit.RetryAfter)
				}
				// Another box of the same mailbox knows of it as well.
				if _, err := w.open(t).Content(t.Context(), id); !errors.As(err, &limit) {
					t.Errorf("another box: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Error("400 messages cost no more than 6,000 units")
	})
}

// When history has had all that it may, live mail is read at once.
func TestQuotaLiveGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{UserUnits: 6000}, gmail.Options{})
		var ids []provider.ItemID
		for i := range 400 {
			ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "old"), time.Now())))
		}
		box := w.open(t)
		c := start(t, box)
		var limit *provider.RateLimitError
		var err error
		for i := 0; i < len(ids) && err == nil; i++ { // one by one: nothing is left that a smaller call could have
			_, err = box.Content(t.Context(), ids[i])
		}
		if !errors.As(err, &limit) {
			t.Fatalf("%v", err)
		}
		began := time.Now()
		for i := range 5 {
			w.user.Deliver(providertest.Mail(fmt.Sprint("live", i), "new"), time.Now())
		}
		p, err := box.Changes(t.Context(), c)
		if err != nil || len(p.Items) != 5 || time.Since(began) > 0 {
			t.Fatalf("%d items after %s, %v", len(p.Items), time.Since(began), err)
		}
		if _, err := box.Content(t.Context(), p.Items[0].ID); err != nil {
			t.Errorf("its content: %v", err)
		}
	})
}

// What several mailboxes of one app share is shared: history leaves the last of it to live mail.
func TestQuotaOfTheApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{UserUnits: 6000, ProjectUnits: 8000}, gmail.Options{ProjectUnitsPerMinute: 8000})
		other := w.srv.AddUser("colleague@acme.example")
		im := &importer{t: t, w: w, read: map[provider.ItemID]bool{}}
		var ids [2][]provider.ItemID
		for i := range 500 {
			for k, u := range []*gmailtest.User{w.user, other} {
				ids[k] = append(ids[k], provider.ItemID(u.Deliver(providertest.Mail(fmt.Sprint("m", k, i), "old"), time.Now())))
			}
		}
		first := w.open(t)
		second, err := w.prov.Mailbox(t.Context(), other.TokenSource(gmailtest.ScopeModify))
		if err != nil {
			t.Fatal(err)
		}
		for len(ids[0]) > 0 {
			im.content(first, ids[0][:50])
			im.content(second, ids[1][:50])
			ids[0], ids[1] = ids[0][50:], ids[1][50:]
		}
		if n := w.srv.RateErrors(); n > 0 {
			t.Errorf("Google refused %d calls", n)
		}
		if len(im.read) != 1000 {
			t.Errorf("%d messages were read", len(im.read))
		}
	})
}

// A page of changes comes short when the quota ends in it, and nothing is lost or read twice.
func TestQuotaShortPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{UserUnits: 600}, gmail.Options{UnitsPerMinute: 600})
		box := w.open(t)
		c, err := box.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 100 {
			want = append(want, w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "new"), time.Now()))
		}
		seen := map[string]int{}
		pages := 0
		for {
			p, err := box.Changes(t.Context(), c)
			var limit *provider.RateLimitError
			if errors.As(err, &limit) {
				time.Sleep(limit.RetryAfter)
				box = w.open(t) // by another worker
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range p.Items {
				seen[string(it.ID)]++
			}
			if len(p.Items) > 0 {
				pages++
			}
			if c = p.Next; !p.More {
				break
			}
		}
		for _, id := range want {
			if seen[id] != 1 {
				t.Errorf("%s was told %d times", id, seen[id])
			}
		}
		if n := len(w.calls("gmail.users.messages.get")); n != 100 || pages < 3 || w.srv.RateErrors() > 0 {
			t.Errorf("%d messages were got, on %d pages, with %d refusals", n, pages, w.srv.RateErrors())
		}
		if !slices.IsSortedFunc(w.srv.Calls(), func(a, b gmailtest.Call) int { return a.At.Compare(b.At) }) {
			t.Error("the log is not in order")
		}
	})
}

// Where Google minds how many calls are made at once, batches get smaller, and what is allowed in a minute is not doubted.
func TestQuotaOfCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{UserUnits: 6000}, gmail.Options{})
		var ids []provider.ItemID
		for i := range 200 {
			ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "old"), time.Now())))
		}
		box := w.open(t)
		w.srv.Fail("gmail.users.messages.get", 30, gmailtest.TooManyRequests)
		im := &importer{t: t, w: w, read: map[provider.ItemID]bool{}}
		began := time.Now()
		im.content(box, ids)
		if took := time.Since(began); len(im.read) != len(ids) || took > 30*time.Second {
			t.Errorf("%d were read in %s", len(im.read), took)
		}
		var sizes []int // of batches
		for _, c := range w.srv.Calls() {
			if c.Method == "batch" {
				sizes = append(sizes, 0)
			} else if c.Method == "gmail.users.messages.get" && len(sizes) > 0 {
				sizes[len(sizes)-1]++
			}
		}
		if len(sizes) < 3 || slices.Max(sizes[1:min(3, len(sizes))]) > 31 {
			t.Errorf("batches of %v", sizes)
		}
	})
}

// budget notes what is asked of it, and gives half.
type budget struct {
	urgent, patient int
	apps            map[string]bool
	empty           bool
}

func (b *budget) Take(_ context.Context, app string, units, least int, urgent bool) (int, time.Duration, error) {
	b.apps[app] = true
	if urgent {
		b.urgent++
	} else {
		b.patient++
	}
	if b.empty {
		return 0, 40 * time.Second, nil
	}
	return max(units/2, least), 0, nil
}

// tokensOf are an app's.
type tokensOf struct {
	oauth2.TokenSource
	app string
}

func (t tokensOf) App() string { return t.app }

// What a budget has is asked of it before each call, and a batch is as large as it allows.
func TestBudget(t *testing.T) {
	b := &budget{apps: map[string]bool{}}
	w := newWorld(gmailtest.Options{}, gmail.Options{Budget: b})
	var ids []provider.ItemID
	for i := range 40 {
		ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "old"), time.Now())))
	}
	w.open(t)
	box, err := w.prov.Mailbox(t.Context(), tokensOf{w.user.TokenSource(gmailtest.ScopeModify), "crm-app"})
	if err != nil {
		t.Fatal(err)
	}
	clear(b.apps)
	before := b.urgent
	box.Prefetch(ids)
	for _, id := range ids {
		if _, err := box.Content(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if b.urgent != before || b.patient < 2 || !b.apps["crm-app"] || len(b.apps) != 1 {
		t.Errorf("%+v", b)
	}
	if _, err := box.Start(t.Context()); err != nil || b.urgent != before+1 {
		t.Errorf("%+v, %v", b, err)
	}
	b.empty = true
	var limit *provider.RateLimitError
	if _, err := box.Start(t.Context()); !errors.As(err, &limit) || limit.RetryAfter != 40*time.Second {
		t.Errorf("%v", err)
	}
	if n := len(w.calls("gmail.users.getProfile")); n != 3 {
		t.Errorf("%d calls", n)
	}
}

package gmail

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/intellicon/email-integration/provider"
)

// method is a method of the API, as its discovery document names it, less "gmail.users.".
type method string

const (
	getProfile     method = "getProfile"
	messagesList   method = "messages.list"
	messagesGet    method = "messages.get"
	messagesModify method = "messages.modify"
	messagesSend   method = "messages.send"
	attachmentsGet method = "messages.attachments.get"
	threadsGet     method = "threads.get"
	historyList    method = "history.list"
	labelsList     method = "labels.list"
	labelsCreate   method = "labels.create"
	draftsCreate   method = "drafts.create"
	draftsGet      method = "drafts.get"
	draftsSend     method = "drafts.send"
	sendAsList     method = "settings.sendAs.list"
	watchStart     method = "watch"
	watchStop      method = "stop"
)

// units is what calls cost of the quota (facts 1.6, as of May 2026). Not told there: drafts.get (taken for a messages.get) and settings.sendAs.list.
var units = map[method]int{
	getProfile: 1, messagesList: 5, messagesGet: 20, messagesModify: 5, messagesSend: 100, attachmentsGet: 20, threadsGet: 40, historyList: 2,
	labelsList: 1, labelsCreate: 5, draftsCreate: 10, draftsGet: 20, draftsSend: 100, sendAsList: 1, watchStart: 100, watchStop: 50,
}

// lane is what a call is for: live mail goes before history.
type lane int

const (
	live lane = iota
	past
)

// window is what was spent in the last minute. Google does not document where a minute begins: who spends no more in any sixty seconds stays within
// every reading of it.
type window struct {
	spent []charge // oldest first
	sum   int
}

type charge struct {
	at    time.Time
	units int
}

// minute is a little more than one: clocks differ.
const minute = time.Minute + 100*time.Millisecond

func (w *window) forget(now time.Time) {
	// A clock that was set back would make it wait until it has caught up.
	for i := len(w.spent) - 1; i >= 0 && w.spent[i].at.After(now); i-- {
		w.spent[i].at = now
	}
	n := 0
	for n < len(w.spent) && now.Sub(w.spent[n].at) >= minute {
		w.sum -= w.spent[n].units
		n++
	}
	w.spent = w.spent[n:]
}

func (w *window) add(now time.Time, units int) {
	if units <= 0 {
		return
	}
	if n := len(w.spent); n > 0 && now.Sub(w.spent[n-1].at) < 10*time.Millisecond {
		w.spent[n-1] = charge{now, w.spent[n-1].units + units}
	} else {
		w.spent = append(w.spent, charge{now, units})
	}
	w.sum += units
}

// free is how long it takes until so many units more than now are free.
func (w *window) free(now time.Time, units int) time.Duration {
	for _, c := range w.spent {
		if units -= c.units; units <= 0 {
			return max(c.at.Add(minute).Sub(now), 0)
		}
	}
	return minute
}

// quota is what a mailbox may spend. Safe for concurrent use.
type quota struct {
	now   func() time.Time
	limit int // units a minute, as documented or set

	mu       sync.Mutex // guards what follows
	all      window     // what was answered
	live     window     // of it, for live mail
	flying   int        // units of calls that are under way
	allowed  int        // units a minute that Google is believed to allow; 0: limit
	struck   time.Time  // when it refused last, or allowed was raised last
	strikes  int        // refusals in a row
	until    time.Time  // nothing is asked for before
	unsent   time.Time  // nothing is sent before
	urgently int        // of flying, for live mail
	total    int64      // units of all calls so far
	page     int        // how many entries of a listing came in time of late; 0: as many as may be
	width    int        // messages of the next batch; 0: as many as may be
}

// batch is how many messages the next batch asks for, at most so many.
func (q *quota) batch(most int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.width == 0 {
		return most
	}
	return min(q.width, most)
}

// wide says how many messages the next batch asks for.
func (q *quota) wide(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.width = max(n, 1)
}

// shortest is how few entries of a listing are asked for at least.
const shortest = 5

// pageSize is how many entries of a listing are asked for, at most so many.
func (q *quota) pageSize(most int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.page == 0 {
		return most
	}
	return min(most, q.page)
}

// shorten makes pages shorter where one of so many entries took too long.
func (q *quota) shorten(took int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.page = max(took/2, shortest)
}

// lengthen makes them slowly longer again with each that came, until they are as long as they may be.
func (q *quota) lengthen(most int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.page == 0 {
		return
	}
	if q.page += 1 + q.page/20; q.page >= most {
		q.page = 0
	}
}

// few is what a batch for history is worth waiting for.
const few = 10

// take takes the units of n calls, or as many as there is room for; 0: wait says when it is worth to ask again.
func (q *quota) take(l lane, n, cost int) (got int, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	if back := q.struck.Sub(now); back > 0 { // the clock was set back
		q.struck, q.until, q.unsent = now, q.until.Add(-back), q.unsent.Add(-back)
	}
	if now.Before(q.until) {
		return 0, q.until.Sub(now)
	}
	if cost == 0 {
		return n, 0
	}
	q.heal(now)
	q.all.forget(now)
	q.live.forget(now)
	room := q.allowed - q.all.sum - q.flying
	least := cost
	if l == past {
		// The last fortieth is live mail's, as far as it hasn't had it.
		room -= max(0, q.allowed/40-q.live.sum-q.urgently)
		least = max(cost, min(cost*min(n, few), q.allowed/2))
	}
	if q.all.sum == 0 && q.flying == 0 {
		room = max(room, cost) // a call that costs more than a minute has
		least = min(least, room)
	}
	if room < least {
		want := least
		if l == past {
			want = max(least, min(n*cost, q.allowed/4)) // whoever comes back finds something to do
		}
		return 0, q.all.free(now, want-room)
	}
	got = min(n, room/cost)
	q.flying += got * cost
	if l == live {
		q.urgently += got * cost
	}
	return got, 0
}

// refused reports whether Google said that nothing is to be asked for now.
func (q *quota) refused() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.now().Before(q.until)
}

// heal raises what is allowed again, by a twentieth of the quota for each minute without a refusal.
func (q *quota) heal(now time.Time) {
	if q.allowed == 0 {
		q.allowed = q.limit
	}
	for q.allowed < q.limit && now.Sub(q.struck) >= time.Minute {
		q.struck, q.strikes = q.struck.Add(time.Minute), 0
		q.allowed = min(q.limit, q.allowed+max(q.limit/20, 1))
	}
}

// settle ends calls that were answered, or failed: they count from now on, for by now at the latest Google has counted them.
func (q *quota) settle(units int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying -= units
	now := q.now()
	q.all.add(now, units)
	q.total += int64(units)
	if n := min(units, q.urgently); n > 0 {
		q.urgently -= n
		q.live.add(now, n)
	}
}

// back gives back what was taken and not used.
func (q *quota) back(units int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying -= units
	q.urgently -= min(units, q.urgently)
}

// charge counts a call that was made without asking.
func (q *quota) charge(units int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all.add(q.now(), units)
	q.total += int64(units)
}

// Spent is how many units this Provider spent on the mailbox of an address, for all apps, since it was made. Where it has more than 10,000 mailboxes, those
// of which there is nothing to remember for a minute begin anew.
func (p *Provider) Spent(address string) (units int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, q := range p.quotas {
		if _, whose, _ := strings.Cut(key, " "); whose == strings.ToLower(address) {
			q.mu.Lock()
			units += q.total
			q.mu.Unlock()
		}
	}
	return units
}

// learn takes a refusal to heart: nothing is asked for until it is over, and less is believed to be allowed, as others may use the same quota. It fills in
// how long that is where Google didn't say.
func (q *quota) learn(meth method, err error) {
	var limit *provider.RateLimitError
	if !errors.As(err, &limit) || limit.Err == errOwnLimit {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.heal(now)
	if limit.RetryAfter == 0 { // facts 1.6: "truncated exponential backoff with jitter"
		limit.RetryAfter = 5 * time.Second << min(q.strikes, 4)
		limit.RetryAfter += rand.N(limit.RetryAfter / 4)
	}
	if sends(meth) && limit.RetryAfter > 2*time.Minute {
		// It is about how much may be sent in a day (facts 1.6), and says nothing of reading.
		q.unsent, q.struck = now.Add(limit.RetryAfter), now
		return
	}
	if until := now.Add(limit.RetryAfter); until.After(q.until) {
		q.until = until
	}
	if !crowded(err) {
		q.allowed = max(q.allowed*3/4, q.limit/10, 1)
	}
	q.strikes++
	q.struck = now
}

// sends reports whether a method sends mail.
func sends(meth method) bool { return meth == draftsSend || meth == messagesSend }

// mute is how long nothing may be sent.
func (q *quota) mute() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.unsent.Sub(q.now())
}

// crowded reports whether a refusal is about calls that are made at once (facts 1.6: "per-user concurrency"), not about units.
func crowded(err error) bool {
	var g *googleapi.Error
	return errors.As(err, &g) && strings.Contains(strings.ToLower(g.Message), "concurrent")
}

// idle reports whether there is nothing to remember.
func (q *quota) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.all.forget(now)
	return q.flying == 0 && q.all.sum == 0 && !now.Before(q.until) && !now.Before(q.unsent) && q.page == 0 && (q.allowed == 0 || q.allowed == q.limit)
}

// appBudget is the quota of apps as far as this process spends it.
type appBudget struct {
	limit int
	now   func() time.Time

	mu   sync.Mutex // guards apps
	apps map[string]*window
}

// Take implements provider.Budget.
func (b *appBudget) Take(_ context.Context, app string, units, least int, urgent bool) (int, time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.apps[app]
	if w == nil {
		w = &window{}
		b.apps[app] = w
	}
	now := b.now()
	w.forget(now)
	room := b.limit - w.sum
	if !urgent {
		room -= b.limit / 40
	}
	if w.sum == 0 {
		room = max(room, least) // else it would never be
	}
	if room < least {
		return 0, w.free(now, least-room), nil
	}
	units = min(units, room)
	w.add(now, units)
	return units, 0, nil
}

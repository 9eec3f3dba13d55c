package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/intellicon/email-integration/provider"
)

func (f *Fake) locked(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// TrustAuth believes the Authentication-Results that a server of that name writes, in mail that comes from now on. By default none
// is believed.
func (f *Fake) TrustAuth(server string) {
	f.locked(func() { f.parser.AuthServers = append(f.parser.AuthServers, server) })
}

// SetPageSize sets how many entries a page holds. The default is 50.
func (f *Fake) SetPageSize(n int) { f.locked(func() { f.pageSize = max(n, 1) }) }

// ExpireCursors makes every cursor of Changes that is out invalid. Facts 1.4: a startHistoryId that is too old is 404,
// "full sync", the mailbox as a whole. Facts 2.2: 410 Gone, folder by folder. IMAP has no expiry; there every folder's
// UIDVALIDITY changes, which also voids the ids (facts 3.3).
func (f *Fake) ExpireCursors() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.folders {
		f.reset(d)
	}
}

// ResetFolder does the same to the folder of one role. On Gmail the whole history expires: it has no smaller part.
func (f *Fake) ResetFolder(role provider.Role) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.byRole(role); d != nil {
		f.reset(d)
	}
}

func (f *Fake) reset(d *folder) {
	s := f.stream(d.ID)
	f.gens[s]++
	f.events[s] = nil
	if f.personality != IMAP {
		return
	}
	// Facts 3.3: "UIDVALIDITY change => drop all UIDs of that mailbox and resync".
	d.uidValidity++
	d.nextUID = 1
	var ms []*mail
	for _, m := range f.order {
		if slices.Contains(m.folders, d.ID) {
			ms = append(ms, m)
		}
	}
	slices.SortFunc(ms, func(a, b *mail) int { return int(a.serial) - int(b.serial) })
	for _, m := range ms {
		delete(f.byID, m.id)
		m.id = provider.ItemID(fmt.Sprintf("%s:%d:%d", d.ID, d.uidValidity, d.nextUID))
		d.nextUID++
		f.byID[m.id] = m
	}
	f.ring(nil)
}

// FailNext makes the next n calls return err.
func (f *Fake) FailNext(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		f.failures = append(f.failures, err)
	}
}

// RefuseSignIn makes the next n calls of Provider.Open return a *provider.SignInError (facts 8: a refused sign-in is no proof
// of a changed password).
func (f *Fake) RefuseSignIn(n int) { f.locked(func() { f.refuse = n }) }

// FailLocate makes the next n calls of Locate return err.
func (f *Fake) FailLocate(n int, err error) {
	f.locked(func() {
		for range n {
			f.unlocated = append(f.unlocated, err)
		}
	})
}

// Throttle refuses every call until d has passed on the fake's clock, with what remains of it as RetryAfter.
// Facts 2.5: Retry-After counts; calls made before it has passed are refused as well.
func (f *Fake) Throttle(d time.Duration) { f.locked(func() { f.throttled = f.now().Add(d) }) }

// Forget drops what happened since cursors of Changes were last read, and tells nobody: a service with a hole in its history. What is
// there is listed by History and Inventory.
func (f *Fake) Forget() { f.locked(func() { clear(f.events) }) }

// Hide makes the mailbox look empty: nothing is listed, found or handed out, and nothing is told, as on a server whose storage is
// not there. Off, all is as it was.
func (f *Fake) Hide(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on {
		f.hidden, f.order = f.order, nil
		f.hiddenID, f.byID = f.byID, map[provider.ItemID]*mail{}
		return
	}
	f.order, f.byID, f.hidden, f.hiddenID = f.hidden, f.hiddenID, nil, nil
}

// Revoke withdraws the owner's consent: every call asks for the user until Grant.
func (f *Fake) Revoke() { f.locked(func() { f.revoked = true }) }

// Grant undoes Revoke.
func (f *Fake) Grant() { f.locked(func() { f.revoked = false }) }

// CutAfter lets n more calls through and then cuts the connection: the call after returns ErrCut, and so do all
// mailboxes that were open. A mailbox opened afterwards works.
func (f *Fake) CutAfter(n int) { f.locked(func() { f.cutAfter = n }) }

// CutWaits ends every Wait under way with err.
func (f *Fake) CutWaits(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring(err)
}

// RepeatPages makes the next n pages come twice: their Next leads to the same page again (facts 2.2: "Replays and
// repeated entities are normal").
func (f *Fake) RepeatPages(n int) { f.locked(func() { f.repeat = n }) }

// Reorder turns the order within pages of Changes round (facts 2.2: "order not guaranteed").
func (f *Fake) Reorder(on bool) { f.locked(func() { f.reorder = on }) }

// Spoil makes a message unreadable: listings carry it with err, Content returns err. A nil err heals it.
func (f *Fake) Spoil(h Handle, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.mails[h]; m != nil {
		m.err = err
	}
}

// Calm takes back all trouble that was asked for and has not come yet: failures, cuts, limits, refusals, lost answers.
func (f *Fake) Calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures, f.unlocated, f.lose, f.losing, f.throttled = nil, nil, nil, nil, time.Time{}
	f.cutAfter, f.refuse, f.repeat, f.revoked = -1, 0, 0, false
	for _, m := range f.mails {
		m.err = nil
	}
}

// LoseMutation makes the answer of the next change of the mailbox get lost: archiving, labelling, undoing them, filing in Sent.
func (f *Fake) LoseMutation(l Loss) { f.locked(func() { f.losing = append(f.losing, l) }) }

// NoKeywords makes the IMAP personality keep no keywords, as Exchange's does (facts 3.3): labels become copies in a folder.
func (f *Fake) NoKeywords(on bool) { f.locked(func() { f.noKeywords = on }) }

// NoUIDPlus takes UIDPLUS from the IMAP personality: new ids are not told, and nothing can be expunged alone (facts 3.1).
func (f *Fake) NoUIDPlus(on bool) { f.locked(func() { f.noUIDPlus = on }) }

// NoSentCopy makes the IMAP personality's Release file no copy in Sent, as generic servers don't after SMTP (facts 3.3).
func (f *Fake) NoSentCopy(on bool) { f.locked(func() { f.noSentCopy = on }) }

// NoIdle takes IDLE from the IMAP personality: Wait is no more than a pause, and Polling says so.
func (f *Fake) NoIdle(on bool) { f.locked(func() { f.noIdle = on }) }

// NoMove takes MOVE from the IMAP personality: archiving copies and expunges, for which it needs UIDPLUS (facts 3.1).
func (f *Fake) NoMove(on bool) { f.locked(func() { f.noMove = on }) }

// Calls returns the counters so far.
func (f *Fake) Calls() Calls {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

var (
	errRevoked = errors.New("providertest: consent was revoked")
	errRefused = errors.New("providertest: sign-in was refused")
)

// enter counts a call and answers whether it may go on. The caller holds mu.
func (f *Fake) enter(ctx context.Context, epoch int, counter *int, units int) error {
	*counter++
	if f.personality != Gmail {
		units = 1
	}
	f.calls.Units += units
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.cutAfter == 0 {
		f.cutAfter = -1
		f.epoch++
		return ErrCut
	}
	if f.cutAfter > 0 {
		f.cutAfter--
	}
	if epoch != f.epoch {
		return ErrCut
	}
	if f.revoked {
		return &provider.NeedsAction{Who: provider.User, Reason: "Connect the mailbox again", Err: errRevoked}
	}
	if wait := f.throttled.Sub(f.now()); wait > 0 {
		return &provider.RateLimitError{RetryAfter: wait}
	}
	if len(f.failures) > 0 {
		err := f.failures[0]
		f.failures = f.failures[1:]
		return err
	}
	return nil
}

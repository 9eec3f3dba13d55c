package statetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
)

// Who may do what, and when: credentials, consents, pauses, settings, keys.
var controlCases = []testCase{
	{"Refresh", "one worker at a time may refresh a credential, that right runs out, and what is stored late is refused", refresh},
	{"Quota", "what several take of a quota is never more than it has, and it fills with time", quota},
	{"RefreshErased", "a credential that is gone, or another organisation's, is not found", func(h *house) {
		c := h.connect("u")
		for _, of := range []struct {
			org string
			id  int64
		}{{"other", c.ID}, {org, c.ID + 1}} {
			_, err := h.s.ClaimRefresh(h.Context(), of.org, of.id, "a", start, time.Minute)
			h.is(err, state.ErrNotFound)
			_, err = h.s.SetCredential(h.Context(), of.org, of.id, 1, []byte("x"))
			h.is(err, state.ErrNotFound)
			h.is(h.s.Nudge(h.Context(), of.org, of.id, start), state.ErrNotFound)
		}
		_, err := h.s.ClaimRefresh(h.Context(), org, c.ID, "a", start, time.Minute)
		h.ok(err)
		h.ok(h.s.EndRefresh(h.Context(), "other", c.ID, "a"))
		_, err = h.s.ClaimRefresh(h.Context(), org, c.ID, "b", start, time.Minute)
		h.is(err, state.ErrNoneDue)
	}},
	{"RefreshReconnected", "who connects a mailbox anew ends the refreshing of its former credential", func(h *house) {
		c := h.connect("u")
		h.equal("version", c.CredentialVersion, int64(1))
		h.equal("client", c.Client, "")
		_, err := h.s.ClaimRefresh(h.Context(), org, c.ID, "a", start, time.Hour)
		h.ok(err)
		c.Credential, c.Client, c.CredentialVersion = []byte("of the new client"), "client", 7
		c, err = h.s.AddConnection(h.Context(), c, state.Change{})
		h.ok(err)
		h.equal("version", c.CredentialVersion, int64(2))
		h.equal("client", c.Client, "client")
		_, err = h.s.SetCredential(h.Context(), org, c.ID, 1, []byte("of the old one"))
		h.is(err, state.ErrStale)
		c, err = h.s.ClaimRefresh(h.Context(), org, c.ID, "b", start, time.Hour)
		h.ok(err)
		h.equal("credential", string(c.Credential), "of the new client")
	}},

	{"Consent", "a consent is answered once, and in time", func(h *house) {
		soon, late := start.Add(time.Minute), start.Add(time.Hour)
		add := func(key state.Hash, expires, now time.Time) {
			h.Helper()
			h.ok(h.s.AddConsent(h.Context(), state.Consent{Key: key, Org: org, User: "u", Sealed: []byte("sealed " + key), Expires: expires}, now))
		}
		taken := func(key state.Hash, now time.Time, want error) state.Consent {
			h.Helper()
			c, err := h.s.TakeConsent(h.Context(), key, now)
			h.is(err, want)
			return c
		}
		add("one", soon, start)
		add("two", soon, start)
		taken("three", start, state.ErrNotFound)
		c := taken("one", soon.Add(-time.Microsecond), nil)
		h.equal("key", c.Key, state.Hash("one"))
		h.equal("of", c.Org+" "+c.User, org+" u")
		h.equal("sealed", string(c.Sealed), "sealed one")
		h.equal("expires", c.Expires, soon)
		taken("one", start, state.ErrNotFound)
		h.equal("nothing of one that is over", taken("two", soon, state.ErrNotFound).User, "")
		taken("two", start, state.ErrNotFound) // it went
		// Another goes with the next that is stored when its time is over, and not before.
		add("three", soon, start)
		add("four", late, soon.Add(-time.Microsecond))
		taken("three", start, nil)
		add("three", soon, start)
		add("five", late, soon)
		taken("three", start, state.ErrNotFound)
		taken("four", start, nil)
	}},

	{"ConsentRead", "a consent that is read stays", func(h *house) {
		h.ok(h.s.AddConsent(h.Context(), state.Consent{Key: "one", Org: org, User: "u", Sealed: []byte("sealed"), Expires: start.Add(time.Minute)}, start))
		for range 2 {
			c, err := h.s.Consent(h.Context(), "one", start)
			h.ok(err)
			h.equal("consent", c.Org+" "+c.User+" "+string(c.Sealed), org+" u sealed")
			h.equal("expires", c.Expires, start.Add(time.Minute))
		}
		_, err := h.s.Consent(h.Context(), "two", start)
		h.is(err, state.ErrNotFound)
		_, err = h.s.Consent(h.Context(), "one", start.Add(time.Minute))
		h.is(err, state.ErrNotFound)
		_, err = h.s.TakeConsent(h.Context(), "one", start)
		h.ok(err)
	}},
	{"Retry", "a mailbox is tried again where somebody had to act, and is so still", func(h *house) {
		c := h.connect("u")
		for _, s := range []state.ConnState{state.NeedsUser, state.NeedsAdmin, state.Misconfigured} {
			h.ok(h.s.SetState(h.Context(), org, c.ID, s, "act"))
			h.is(h.s.Retry(h.Context(), org, c.ID, state.Connected), state.ErrStale)
			h.is(h.s.Retry(h.Context(), "other", c.ID, s), state.ErrNotFound)
			h.ok(h.s.Retry(h.Context(), org, c.ID, s))
			got, err := h.s.Connection(h.Context(), org, c.ID)
			h.ok(err)
			h.equal("state", string(got.State)+got.Reason, "connected")
			h.equal("due", got.Wake > got.Served, true)
			h.is(h.s.Retry(h.Context(), org, c.ID, s), state.ErrStale)
		}
		for _, s := range []state.ConnState{state.Disconnected, state.Paused, state.Connected} {
			h.ok(h.s.SetState(h.Context(), org, c.ID, s, ""))
			h.is(h.s.Retry(h.Context(), org, c.ID, s), state.ErrStale)
		}
		_, err := h.s.Erase(h.Context(), org, c.ID, start, state.Change{}, 10)
		h.ok(err)
		h.is(h.s.Retry(h.Context(), org, c.ID, state.NeedsUser), state.ErrNotFound)
	}},
	{"Watch", "who has the lease notes what stands at the service; it ends with the connection, and is renewed when that is made again", func(h *house) {
		c := h.connect("u")
		is := func(want state.Watch) {
			h.Helper()
			got, err := h.s.Connection(h.Context(), org, c.ID)
			h.ok(err)
			h.equal("handle", string(got.Watch.Handle), string(want.Handle))
			h.equal("expires", got.Watch.Expires, want.Expires)
			h.equal("next", got.Watch.Next, want.Next)
			h.equal("tries", got.Watch.Tries, want.Tries)
		}
		is(state.Watch{})
		l := h.claim(c.ID)
		w := state.Watch{Handle: []byte("h\x00"), Expires: start.Add(7 * 24 * time.Hour), Next: start.Add(24 * time.Hour), Tries: 2}
		h.ok(h.s.SetWatch(h.Context(), l, w))
		is(w)
		// What is to be renewed before its time is due now, and stands until then.
		before, err := h.s.Connection(h.Context(), org, c.ID)
		h.ok(err)
		h.ok(h.s.Rewatch(h.Context(), org, c.ID))
		h.is(h.s.Rewatch(h.Context(), "other", c.ID), state.ErrNotFound)
		after, err := h.s.Connection(h.Context(), org, c.ID)
		h.ok(err)
		h.equal("wake", after.Wake, before.Wake+1)
		is(state.Watch{Handle: w.Handle, Expires: w.Expires})
		h.ok(h.s.SetWatch(h.Context(), l, w))
		_, err = h.s.AddConnection(h.Context(), c, state.Change{})
		h.ok(err)
		w.Next, w.Tries = time.Time{}, 0
		is(w)
		h.is(h.s.SetWatch(h.Context(), l, w), state.ErrStale)
		told := func(of, address, handle string, want ...int64) {
			h.Helper()
			cs, err := h.s.Told(h.Context(), of, address, []byte(handle))
			h.ok(err)
			var ids []int64
			for _, c := range cs {
				ids = append(ids, c.ID)
			}
			h.equal("told of "+address+handle, fmt.Sprint(ids), fmt.Sprint(want))
		}
		told(c.Provider, "", "h\x00", c.ID)
		told(c.Provider, "", "h")
		told("other", "", "h\x00")
		told(c.Provider, strings.ToUpper(c.Address), "", c.ID)
		told(c.Provider, c.Address+"x", "")
		umlaut := h.connect("\u00c4da") // a database need not know of them that they are large
		told(umlaut.Provider, umlaut.Address, "", umlaut.ID)
		told(umlaut.Provider, "\x00", "")
		told("other", c.Address, "")
		told(c.Provider, "", "")
		h.ok(h.s.SetState(h.Context(), org, c.ID, state.NeedsUser, "x"))
		told(c.Provider, c.Address, "")
		h.ok(h.s.SetState(h.Context(), org, c.ID, state.Connected, ""))
		h.is(h.s.EndWatch(h.Context(), "other", c.ID), state.ErrNotFound)
		h.ok(h.s.EndWatch(h.Context(), org, c.ID))
		is(state.Watch{})
	}},
	{"Pause", "a pause of any scope ends leases and keeps mailboxes from being claimed, and nothing else; at its end they are due", pauses},
	{"PausesOverlap", "a mailbox is worked on when no pause is left, at once", func(h *house) {
		c := h.connect("u")
		h.ok(h.s.Release(h.Context(), h.claim(c.ID), state.Released{Served: true, NextDue: start.Add(time.Hour)}))
		wide := state.Pause{By: "operator", Reason: "a bad release", At: start.Add(time.Hour)}
		narrow := state.Pause{Org: org, Provider: "fake", By: "admin", Reason: "too slow", At: start}
		h.ok(h.s.SetPause(h.Context(), wide))
		h.ok(h.s.SetPause(h.Context(), narrow))
		narrow.Reason = "still too slow"
		h.ok(h.s.SetPause(h.Context(), narrow))
		ps, err := h.s.Pauses(h.Context())
		h.ok(err)
		h.equal("the oldest first", slices.Equal(ps, []state.Pause{narrow, wide}), true)
		h.is(h.s.EndPause(h.Context(), org, "", false), state.ErrNotFound)
		h.ok(h.s.EndPause(h.Context(), "", "", false))
		_, err = h.s.Claim(h.Context(), "w", start, time.Minute)
		h.is(err, state.ErrNoneDue)
		h.ok(h.s.EndPause(h.Context(), org, "fake", false))
		h.is(h.s.EndPause(h.Context(), org, "fake", false), state.ErrNotFound)
		l, err := h.s.Claim(h.Context(), "w", start, time.Minute)
		h.ok(err)
		h.equal("claimed", l.Connection, c.ID)
		ps, err = h.s.Pauses(h.Context())
		h.ok(err)
		h.equal("pauses", len(ps), 0)
	}},
	{"PausesApart", "the administrator's pause and the operator's end each by itself", func(h *house) {
		c := h.connect("u")
		operator := state.Pause{Org: org, By: "operator", Reason: "a bad release", At: start}
		admin := state.Pause{Org: org, Admin: true, By: "admin", Reason: "a merger", At: start.Add(time.Second)}
		claims := func(want error) {
			h.Helper()
			l, err := h.s.Claim(h.Context(), "w", start, time.Minute)
			h.is(err, want)
			if err == nil {
				h.equal("claimed", l.Connection, c.ID)
				h.ok(h.s.Release(h.Context(), l, state.Released{}))
			}
		}
		for _, first := range []bool{true, false} {
			h.ok(h.s.SetPause(h.Context(), operator))
			h.is(h.s.EndPause(h.Context(), org, "", true), state.ErrNotFound)
			h.ok(h.s.SetPause(h.Context(), admin))
			ps, err := h.s.Pauses(h.Context())
			h.ok(err)
			h.equal("both stand", slices.Equal(ps, []state.Pause{operator, admin}), true)
			h.ok(h.s.EndPause(h.Context(), org, "", first))
			claims(state.ErrNoneDue)
			h.is(h.s.EndPause(h.Context(), org, "", first), state.ErrNotFound)
			h.ok(h.s.EndPause(h.Context(), org, "", !first))
			claims(nil)
		}
	}},
	{"PauseOutbox", "what is paused is not sent, by whoever has it in hand, and no copy of it is filed", pausedOutbox},

	{"SentOnly", "where only the look for sent mail is due, the lease is for sent mail; whatever else comes makes it whole", sentOnly},
	{"NudgeDuringPass", "a nudge during a pass leaves the mailbox due for sent mail after it", func(h *house) {
		c := h.connect("u")
		l := h.claim(c.ID)
		h.ok(h.s.Nudge(h.Context(), org, c.ID, start))
		h.ok(h.s.Release(h.Context(), l, state.Released{Served: true, NextDue: start.Add(time.Hour), NextSent: start.Add(time.Hour)}))
		l, err := h.s.Claim(h.Context(), "w", start, time.Minute)
		h.ok(err)
		h.equal("sent only", l.SentOnly, true)
		h.ok(h.s.Nudge(h.Context(), org, c.ID, start)) // at the same time of the clock
		h.ok(h.s.Release(h.Context(), l, state.Released{NextSent: start.Add(time.Hour)}))
		l, err = h.s.Claim(h.Context(), "w", start, time.Minute)
		h.ok(err)
		h.ok(h.s.Release(h.Context(), l, state.Released{NextSent: start.Add(time.Hour)}))
		_, err = h.s.Claim(h.Context(), "w", start, time.Minute)
		h.is(err, state.ErrNoneDue)
	}},

	{"SettingsSecrets", "secrets are replaced with the settings they belong to, or not at all, and are one organisation's", func(h *house) {
		save := func(of string, version int64, secrets map[string][]byte, want error) {
			h.Helper()
			n, err := h.s.SaveSettings(h.Context(), of, state.Settings{Body: []byte(`{"a":1}`), Secrets: secrets, Version: version}, false)
			h.is(err, want)
			if want == nil {
				h.equal("version", n, version+1)
			}
		}
		stored := func(of string, version int64, want map[string][]byte) {
			h.Helper()
			s, err := h.s.Settings(h.Context(), of)
			h.ok(err)
			h.equal("version", s.Version, version)
			h.equal("body", s.Body == nil, version == 0)
			if !maps.EqualFunc(s.Secrets, want, slices.Equal) {
				h.Fatalf("%s has secrets %q, want %q", of, s.Secrets, want)
			}
		}
		stored(org, 0, nil)
		first := map[string][]byte{"a": []byte("1\x00"), "b": []byte("2")}
		save(org, 0, first, nil)
		save("other", 0, map[string][]byte{"a": []byte("theirs")}, nil)
		stored(org, 1, first)
		save(org, 0, map[string][]byte{"a": []byte("late")}, state.ErrStale)
		stored(org, 1, first)
		save(org, 1, map[string][]byte{"b": []byte("3"), "c": []byte("4"), "empty": nil}, nil)
		stored(org, 2, map[string][]byte{"b": []byte("3"), "c": []byte("4")})
		save(org, 2, nil, nil)
		stored(org, 3, nil)
		stored("other", 1, map[string][]byte{"a": []byte("theirs")})
		stored("third", 0, nil)
	}},
	{"UserSettings", "a user's settings are replaced by version, and are one user's", func(h *house) {
		stored := func(of, user, want string, version int64) {
			h.Helper()
			s, v, err := h.s.UserSettings(h.Context(), of, user)
			h.ok(err)
			h.equal("settings", string(s), want)
			h.equal("version", v, version)
		}
		save := func(of, user, settings string, version int64, want error) {
			h.Helper()
			n, err := h.s.SaveUserSettings(h.Context(), of, user, []byte(settings), version)
			h.is(err, want)
			if want == nil {
				h.equal("version", n, version+1)
			}
		}
		stored(org, "u", "", 0)
		save(org, "u", `{"a":0}`, 1, state.ErrStale)
		stored(org, "u", "", 0)
		save(org, "u", `{"a":1}`, 0, nil)
		save(org, "u", `{"a":2}`, 0, state.ErrStale)
		stored(org, "u", `{"a":1}`, 1)
		save(org, "u", `{"a":3}`, 1, nil)
		save("other", "u", `{"a":4}`, 0, nil)
		stored(org, "u", `{"a":3}`, 2)
		stored(org, "v", "", 0)
		stored("other", "u", `{"a":4}`, 1)
	}},
	{"EraseUserSettings", "a user's settings are erased without a trace, and nobody else's", func(h *house) {
		for _, u := range []string{"u", "v"} {
			_, err := h.s.SaveUserSettings(h.Context(), org, u, []byte(`{"a":1}`), 0)
			h.ok(err)
		}
		for range 2 {
			h.ok(h.s.EraseUserSettings(h.Context(), org, "u"))
			h.ok(h.s.EraseUserSettings(h.Context(), "other", "v"))
		}
		s, version, err := h.s.UserSettings(h.Context(), org, "u")
		h.ok(err)
		h.equal("settings", string(s), "")
		h.equal("version", version, int64(0))
		s, _, err = h.s.UserSettings(h.Context(), org, "v")
		h.ok(err)
		h.equal("settings", string(s), `{"a":1}`)
		_, err = h.s.SaveUserSettings(h.Context(), org, "u", []byte(`{}`), 1)
		h.is(err, state.ErrStale)
	}},
	{"Deployment", "an installation that is replaced by another can't be so twice", func(h *house) {
		is := func(want string) {
			h.Helper()
			id, err := h.s.Deployment(h.Context())
			h.ok(err)
			h.equal("deployment", id, want)
		}
		is("")
		h.is(h.s.SetDeployment(h.Context(), "a", "b"), state.ErrStale)
		is("")
		h.ok(h.s.SetDeployment(h.Context(), "", "a"))
		h.is(h.s.SetDeployment(h.Context(), "", "b"), state.ErrStale)
		is("a")
		h.ok(h.s.SetDeployment(h.Context(), "a", "b"))
		is("b")
	}},

	{"Reseal", "whatever is sealed is found, page by page, until it begins with the prefix, and is replaced only as it was found", reseal},
	{"EraseSecrets", "an erased mailbox leaves no credential behind, nor takes one back; what is its user's or its organisation's stays", func(h *house) {
		c := h.connect("u")
		l := h.claim(c.ID)
		h.import1(l, "1", ada)
		_, err := h.s.ClaimRefresh(h.Context(), org, c.ID, "w", start, time.Hour)
		h.ok(err)
		_, err = h.s.SaveSettings(h.Context(), org, state.Settings{Body: []byte(`{}`), Secrets: map[string][]byte{"a": []byte("new secret")}}, false)
		h.ok(err)
		_, err = h.s.SaveUserSettings(h.Context(), org, "u", []byte(`{"a":1}`), 0)
		h.ok(err)
		h.ok(h.s.AddConsent(h.Context(), state.Consent{Key: "key", Org: org, User: "u", Sealed: []byte("x"), Expires: start.Add(time.Hour)}, start))
		found, err := h.s.Sealed(h.Context(), []byte("new"), nil, 10)
		h.ok(err)
		h.equal("credential and envelope", len(found), 2)
		for i := range found {
			found[i].New = []byte("new")
		}
		_, err = h.s.Erase(h.Context(), org, c.ID, start, state.Change{}, 1) // it is not over yet
		h.ok(err)
		n, err := h.s.Reseal(h.Context(), found[:1])
		h.ok(err)
		h.equal("credentials resealed", n, 0)
		_, err = h.s.SetCredential(h.Context(), org, c.ID, 1, []byte("x"))
		h.is(err, state.ErrNotFound)
		_, err = h.s.ClaimRefresh(h.Context(), org, c.ID, "w", start.Add(2*time.Hour), time.Hour)
		h.is(err, state.ErrNotFound)
		h.erase(c.ID, 10)
		n, err = h.s.Reseal(h.Context(), found)
		h.ok(err)
		h.equal("resealed", n, 0)
		found, err = h.s.Sealed(h.Context(), []byte("other"), nil, 10)
		h.ok(err)
		h.equal("sealed", len(found), 1)
		h.equal("it is", found[0].Kind+" "+found[0].Name, "secret a")
		s, _, err := h.s.UserSettings(h.Context(), org, "u")
		h.ok(err)
		h.equal("user's", string(s), `{"a":1}`)
		_, err = h.s.TakeConsent(h.Context(), "key", start)
		h.ok(err)
	}},
}

func refresh(h *house) {
	c := h.connect("u")
	claim := func(worker string, after time.Duration, want error) state.Connection {
		h.Helper()
		got, err := h.s.ClaimRefresh(h.Context(), org, c.ID, worker, start.Add(after), time.Minute)
		h.is(err, want)
		return got
	}
	h.equal("version", claim("a", 0, nil).CredentialVersion, int64(1))
	claim("b", 59*time.Second, state.ErrNoneDue)
	claim("a", 59*time.Second, state.ErrNoneDue) // another goroutine of that worker
	h.ok(h.s.EndRefresh(h.Context(), org, c.ID, "b"))
	claim("b", 59*time.Second, state.ErrNoneDue)
	claim("b", time.Minute, nil)
	h.ok(h.s.EndRefresh(h.Context(), org, c.ID, "a")) // its right ran out, and it doesn't know
	claim("c", time.Minute, state.ErrNoneDue)
	v, err := h.s.SetCredential(h.Context(), org, c.ID, 1, []byte("b's"))
	h.ok(err)
	h.equal("version", v, int64(2))
	got := claim("c", time.Minute, nil) // the right ended with it
	h.equal("version", got.CredentialVersion, int64(2))
	h.equal("credential", string(got.Credential), "b's")
	_, err = h.s.SetCredential(h.Context(), org, c.ID, 1, []byte("a's"))
	h.is(err, state.ErrStale)
	claim("d", time.Minute, state.ErrNoneDue)
	got, err = h.s.Connection(h.Context(), org, c.ID)
	h.ok(err)
	h.equal("credential", string(got.Credential), "b's")
	h.equal("version", got.CredentialVersion, int64(2))
	h.ok(h.s.EndRefresh(h.Context(), org, c.ID, "c"))
	claim("d", time.Minute, nil)
}

// pauses tries every scope on mailboxes of two organisations and two providers.
func pauses(h *house) {
	type box struct{ org, provider string }
	boxes := []box{{org, "fake"}, {org, "other"}, {"beta", "fake"}, {"beta", "other"}}
	ids := map[box]int64{}
	for i, b := range boxes {
		// The first is due longest: claims must pass over it.
		c, err := h.s.AddConnection(h.Context(), state.Connection{Org: b.org, User: "u", Provider: b.provider, Address: "u@own.example",
			NextDue: start.Add(time.Duration(i) * time.Second)}, state.Change{})
		h.ok(err)
		ids[b] = c.ID
	}
	now := start
	for _, p := range []state.Pause{{}, {Org: org}, {Provider: "fake"}, {Org: org, Provider: "fake"}, {Org: "gamma"}, {Org: "gamma", Provider: "fake"}, {Provider: "gamma"}} {
		p.By, p.Reason, p.At = "operator", "to see", now
		scope := fmt.Sprintf("a pause of %q, %q: ", p.Org, p.Provider)
		covers := func(b box) bool {
			return (p.Org == "" || p.Org == b.org) && (p.Provider == "" || p.Provider == b.provider)
		}
		leases := map[box]state.Lease{}
		for _, b := range boxes {
			l, err := h.s.ClaimConnection(h.Context(), b.org, ids[b], "w", now, time.Minute)
			h.ok(err)
			leases[b] = l
		}
		h.ok(h.s.SetPause(h.Context(), p))
		lost := func(when string, want func(b box) bool) {
			h.Helper()
			for _, b := range boxes {
				l := leases[b]
				_, renewed := h.s.Renew(h.Context(), l, now, time.Minute)
				_, pending := h.s.Pending(h.Context(), l, now, 1, 1)
				for _, err := range []error{renewed, pending} {
					if want(b) != errors.Is(err, state.ErrStale) || err != nil && !errors.Is(err, state.ErrStale) {
						h.Fatalf("%s%s: the lease of %v: %v", scope, when, b, err)
					}
				}
			}
		}
		lost("while it stands", covers)
		// When all leases have run out, whatever is not paused is claimed.
		now = now.Add(time.Hour)
		claimed := map[int64]state.Lease{}
		claims := func() {
			for {
				l, err := h.s.Claim(h.Context(), "w", now, time.Minute)
				if errors.Is(err, state.ErrNoneDue) {
					return
				}
				h.ok(err)
				claimed[l.Connection] = l
			}
		}
		claims()
		for _, b := range boxes {
			if _, ok := claimed[ids[b]]; ok == covers(b) {
				h.Fatalf("%s%v claimed: %v", scope, b, ok)
			}
			_, err := h.s.ClaimConnection(h.Context(), b.org, ids[b], "w", now, time.Minute)
			h.is(err, state.ErrNoneDue) // paused, or claimed
			if l, ok := claimed[ids[b]]; ok {
				leases[b] = l
				h.ok(h.s.Release(h.Context(), l, state.Released{Served: true, NextDue: now.Add(time.Hour)}))
			} else {
				// Only the pause keeps it.
				c, err := h.s.Connection(h.Context(), b.org, ids[b])
				h.ok(err)
				h.equal(scope+"state", c.State, state.Connected)
			}
		}
		clear(claimed)
		h.ok(h.s.EndPause(h.Context(), p.Org, p.Provider, false))
		lost("at its end", func(box) bool { return true })
		claims()
		for _, b := range boxes {
			l, ok := claimed[ids[b]]
			if ok != covers(b) {
				h.Fatalf("%s%v is due at its end: %v", scope, b, ok)
			}
			if ok {
				h.equal("whole", l.SentOnly, false)
				h.ok(h.s.Release(h.Context(), l, state.Released{Served: true, NextDue: now}))
			} else {
				h.ok(h.s.Wake(h.Context(), b.org, ids[b]))
			}
		}
	}
}

func pausedOutbox(h *house) {
	u, err := h.s.AddConnection(h.Context(), state.Connection{Org: org, User: "u", Provider: "fake"}, state.Change{})
	h.ok(err)
	v, err := h.s.AddConnection(h.Context(), state.Connection{Org: org, User: "v", Provider: "other"}, state.Change{})
	h.ok(err)
	for _, c := range []state.Connection{u, v} {
		for _, what := range []string{"mail", "copy"} {
			key := what + " of " + c.User
			_, _, err := h.s.OutboxAdd(h.Context(), org, state.Outgoing{Key: key, Connection: c.ID, Raw: []byte("x"), Created: start,
				Value: state.EmailValue{MessageID: state.Hash("id " + key)}})
			h.ok(err)
			_, err = h.s.OutboxStep(h.Context(), org, key, state.OutQueued, state.OutStaged, state.Step{Staged: []byte("s")})
			h.ok(err)
			if what == "copy" {
				_, err = h.s.OutboxStep(h.Context(), org, key, state.OutStaged, state.OutSent, state.Step{CopyAt: start})
				h.ok(err)
			}
		}
	}
	due := func(of string, want ...string) {
		h.Helper()
		mails, err := h.s.OutboxDue(h.Context(), of, start, 10)
		h.ok(err)
		copies, err := h.s.CopiesDue(h.Context(), of, start, 10)
		h.ok(err)
		var got []string
		for _, o := range append(mails, copies...) {
			got = append(got, o.Key)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			h.Fatalf("due are %q, want %q", got, want)
		}
	}
	all := []string{"copy of u", "copy of v", "mail of u", "mail of v"}
	due("", all...)
	for _, p := range []state.Pause{{}, {Org: org}} {
		h.ok(h.s.SetPause(h.Context(), p))
		due("")
		due(org)
		h.ok(h.s.EndPause(h.Context(), p.Org, p.Provider, false))
		due("", all...)
	}
	h.ok(h.s.SetPause(h.Context(), state.Pause{Org: "beta"}))
	due("", all...)
	h.ok(h.s.SetPause(h.Context(), state.Pause{Provider: "fake"}))
	due("", "copy of v", "mail of v")
	due(org, "copy of v", "mail of v")
	_, err = h.s.OutboxStep(h.Context(), org, "mail of u", state.OutStaged, state.OutSending, state.Step{})
	h.is(err, state.ErrStale)
	_, err = h.s.OutboxStep(h.Context(), org, "mail of v", state.OutStaged, state.OutSending, state.Step{})
	h.ok(err)
	h.ok(h.s.EndPause(h.Context(), "", "fake", false))
	_, err = h.s.OutboxStep(h.Context(), org, "mail of u", state.OutStaged, state.OutSending, state.Step{})
	h.ok(err)
	// What is on its way when a pause begins ends as it ends.
	h.ok(h.s.SetPause(h.Context(), state.Pause{}))
	_, err = h.s.OutboxStep(h.Context(), org, "mail of u", state.OutSending, state.OutSent, state.Step{})
	h.ok(err)
}

func sentOnly(h *house) {
	c := h.connect("u")
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	claim := func(minutes int, only bool) state.Lease {
		h.Helper()
		l, err := h.s.Claim(h.Context(), "w", at(minutes), time.Minute)
		h.ok(err)
		h.equal("connection", l.Connection, c.ID)
		h.equal("sent only", l.SentOnly, only)
		return l
	}
	none := func(minutes int) {
		h.Helper()
		_, err := h.s.Claim(h.Context(), "w", at(minutes), time.Minute)
		h.is(err, state.ErrNoneDue)
	}
	release := func(l state.Lease, r state.Released) {
		h.Helper()
		h.ok(h.s.Release(h.Context(), l, r))
	}
	pending := func(l state.Lease, minutes int, want ...string) {
		h.Helper()
		b, err := h.s.Pending(h.Context(), l, at(minutes), 100, 1<<20)
		h.ok(err)
		var got []string
		for _, r := range b.Rows {
			got = append(got, string(r.Item))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			h.Fatalf("%q are pending, want %q", got, want)
		}
	}
	l := claim(0, false) // it is new
	got, sent := row("got"), row("sent")
	sent.Sent = true
	h.page(l, got, sent)
	pending(l, 0, "got", "sent")
	release(l, state.Released{Served: true, NextDue: at(60), NextSent: at(5)})
	stored, err := h.s.Connection(h.Context(), org, c.ID)
	h.ok(err)
	h.equal("next", stored.NextSent, at(5))
	none(4)
	l = claim(5, true)
	pending(l, 5, "sent")
	release(l, state.Released{NextSent: at(10)})
	none(9)
	l = claim(10, true)
	release(l, state.Released{}) // unchanged
	// Woken, it is whole; as it is when its poll is due, and when it is claimed by name.
	h.ok(h.s.Wake(h.Context(), org, c.ID))
	l = claim(10, false)
	pending(l, 10, "got", "sent")
	release(l, state.Released{Served: true, NextSent: at(60)})
	none(59)
	l = claim(60, false)
	release(l, state.Released{Served: true, NextDue: at(120), NextSent: at(65)})
	l, err = h.s.ClaimConnection(h.Context(), org, c.ID, "w", at(65), time.Minute)
	h.ok(err)
	h.equal("sent only", l.SentOnly, false)
	release(l, state.Released{NextSent: at(110)})
	// A wake that comes during a pass for sent mail alone is served by the next.
	h.ok(h.s.Nudge(h.Context(), org, c.ID, at(70)))
	none(69)
	l = claim(70, true)
	h.ok(h.s.Wake(h.Context(), org, c.ID))
	pending(l, 70, "sent")
	release(l, state.Released{NextSent: at(110)})
	l = claim(70, false)
	release(l, state.Released{Served: true, NextSent: at(110)})
	// A rate limit holds back a nudge too. A later nudge puts nothing off.
	h.ok(h.s.Nudge(h.Context(), org, c.ID, at(71)))
	h.ok(h.s.Nudge(h.Context(), org, c.ID, at(75)))
	release(claim(71, true), state.Released{NotBefore: at(80)})
	none(79)
	// What was decided under older rules waits for a whole pass.
	l = claim(80, true)
	b := h.pending(l)
	h.settle(l, b, linked(b.Rows[0], ada))
	for v := range int64(2) {
		_, err = h.s.SaveSettings(h.Context(), org, state.Settings{Body: []byte(`{}`), Version: v}, true)
		h.ok(err)
	}
	pending(l, 80)
	release(l, state.Released{NextSent: at(110)})
	l = claim(80, false)
	pending(l, 80, "got", "sent")
	release(l, state.Released{Served: true, NextSent: at(110)})
	// Those that are due for sent mail wait in one line with the others.
	d, err := h.s.AddConnection(h.Context(), state.Connection{Org: org, User: "v", Provider: "fake", NextDue: at(115)}, state.Change{})
	h.ok(err)
	l, err = h.s.ClaimConnection(h.Context(), org, d.ID, "w", at(80), time.Minute)
	h.ok(err)
	release(l, state.Released{Served: true})
	l = claim(118, true) // since 110, the other since 115
	release(l, state.Released{NextSent: at(116)})
	l, err = h.s.Claim(h.Context(), "w", at(118), time.Minute)
	h.ok(err)
	h.equal("due longest", l.Connection, d.ID)
	h.equal("sent only", l.SentOnly, false)
}

func reseal(h *house) {
	old := func(what string) []byte { return []byte("old:" + what) }
	for _, user := range []string{"u", "v"} {
		subject := ""
		if user == "v" {
			subject = "17"
		}
		c, err := h.s.AddConnection(h.Context(), state.Connection{Org: org, User: user, Provider: "fake", Address: user + "@own.example", Subject: subject,
			Credential: old(user), ConnectedAt: start}, state.Change{})
		h.ok(err)
		l := h.claim(c.ID)
		h.page(l, row("of "+user))
		b := h.pending(l)
		s := linked(b.Rows[0], ada)
		s.Email.Envelope = old("mail of " + user)
		h.settle(l, b, s)
	}
	// Without a credential, and without an envelope.
	c, err := h.s.AddConnection(h.Context(), state.Connection{Org: "beta", User: "w", Provider: "fake", ConnectedAt: start}, state.Change{})
	h.ok(err)
	_, _, err = h.s.OutboxAdd(h.Context(), "beta", state.Outgoing{Key: "k", Connection: c.ID, Raw: []byte("x"), Created: start, Value: state.EmailValue{MessageID: "draft"}})
	h.ok(err)
	for _, of := range []string{"beta", org} {
		_, err := h.s.SaveSettings(h.Context(), of, state.Settings{Body: []byte(`{}`), Secrets: map[string][]byte{
			"a": old("a of " + of), "b": []byte("new:b"), "c": old("c of " + of)}}, false)
		h.ok(err)
	}
	want := []string{"credential acme u/fake/u@own.example: old:u", "credential acme v/fake/17: old:v",
		"envelope acme finger-id-of-of u: old:mail of u", "envelope acme finger-id-of-of v: old:mail of v",
		"secret acme a: old:a of acme", "secret acme c: old:c of acme", "secret beta a: old:a of beta", "secret beta c: old:c of beta"}
	text := func(v state.Sealed) string {
		name := ""
		switch v.Kind {
		case "credential":
			name = " " + v.User + "/" + v.Provider + "/" + v.Mailbox
		case "envelope":
			name = " " + string(v.Fingerprint)
		case "secret":
			name = " " + v.Name
		}
		h.equal("id of a "+v.Kind, v.ID > 0, v.Kind != "secret")
		return v.Kind + " " + v.Org + name + ": " + string(v.Value)
	}
	var all []state.Sealed
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		all = nil
		var after *state.Sealed
		for len(got) <= len(want) {
			page, err := h.s.Sealed(h.Context(), []byte("new:"), after, limit)
			h.ok(err)
			for _, v := range page {
				got = append(got, text(v))
			}
			all = append(all, page...)
			if len(page) < limit {
				break
			}
			after = &page[limit-1]
		}
		if !slices.Equal(got, want) {
			h.Fatalf("%d at a time these are sealed:\n%q\nwant\n%q", limit, got, want)
		}
	}
	page, err := h.s.Sealed(h.Context(), []byte("old:"), nil, 100)
	h.ok(err)
	h.equal("with the new key", len(page), 2)
	page, err = h.s.Sealed(h.Context(), nil, nil, 100)
	h.ok(err)
	h.equal("that do not begin with nothing", len(page), 0)

	before, err := h.s.Email(h.Context(), org, all[2].ID)
	h.ok(err)
	// One of each kind changes meanwhile, and one of each is asked for as another organisation's.
	for i := range all {
		all[i].New = append([]byte("new:"), all[i].Value[4:]...)
	}
	_, err = h.s.SetCredential(h.Context(), org, all[1].ID, 1, old("refreshed"))
	h.ok(err)
	wrong := slices.Clone(all[:6])
	for i := range wrong {
		wrong[i].Value = []byte("was")
	}
	n, err := h.s.Reseal(h.Context(), wrong)
	h.ok(err)
	h.equal("replaced of what changed", n, 0)
	wrong = slices.Clone(all[:6])
	for i := range wrong {
		wrong[i].Org = "beta"
	}
	n, err = h.s.Reseal(h.Context(), wrong)
	h.ok(err)
	h.equal("replaced of another organisation's", n, 0)
	n, err = h.s.Reseal(h.Context(), all[:7])
	h.ok(err)
	h.equal("replaced", n, 6)
	page, err = h.s.Sealed(h.Context(), []byte("new:"), nil, 100)
	h.ok(err)
	h.equal("left", len(page), 2)
	h.equal("left", text(page[0]), "credential acme v/fake/17: old:refreshed")
	h.equal("left", text(page[1]), want[7])
	// Nothing else has changed.
	u, err := h.s.Connection(h.Context(), org, all[0].ID)
	h.ok(err)
	h.equal("credential", string(u.Credential), "new:u")
	h.equal("version", u.CredentialVersion, int64(1))
	e, err := h.s.Email(h.Context(), org, all[2].ID)
	h.ok(err)
	h.equal("envelope", string(e.Envelope), "new:mail of u")
	h.equal("revision", e.Revision, before.Revision)
	s, err := h.s.Settings(h.Context(), org)
	h.ok(err)
	h.equal("secret", string(s.Secrets["a"]), "new:a of acme")
	h.equal("secret", string(s.Secrets["b"]), "new:b")
	h.equal("version", s.Version, int64(1))

	all[7].Kind = "unheard of"
	n, err = h.s.Reseal(h.Context(), all[7:])
	h.equal("refused", err != nil && n == 0, true)
	all[7].Kind, all[7].New = "secret", nil
	n, err = h.s.Reseal(h.Context(), all[7:])
	h.equal("refused", err != nil && n == 0, true)
}

// Of many workers one refreshes a credential at a time, and one is answered by a consent.
func takenAtOnce(t *testing.T, newStores func(t *testing.T) (a, b state.Store)) {
	a, b := newStores(t)
	c, err := a.AddConnection(t.Context(), state.Connection{Org: org, User: "u", Provider: "fake"}, state.Change{})
	if err != nil {
		t.Fatal(err)
	}
	stores := []state.Store{a, b}
	for round := range 10 {
		now := start.Add(time.Duration(round) * time.Hour)
		key := state.Hash(fmt.Sprintf("consent %d", round))
		if err := a.AddConsent(t.Context(), state.Consent{Key: key, Org: org, Expires: now.Add(time.Minute)}, now); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // guards refreshing, consents and stored
		var refreshing, consents, stored int
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				got, claimed := stores[i%2].ClaimRefresh(t.Context(), org, c.ID, fmt.Sprint(i), now, time.Minute)
				_, taken := stores[i%2].TakeConsent(t.Context(), key, now)
				_, set := stores[i%2].SetCredential(t.Context(), org, c.ID, int64(1+round), []byte(fmt.Sprint(i)))
				mu.Lock()
				defer mu.Unlock()
				// Whoever claims after the credential is stored finds that it is new.
				if claimed == nil && got.CredentialVersion == int64(1+round) {
					refreshing++
				} else if claimed != nil && !errors.Is(claimed, state.ErrNoneDue) {
					t.Error(claimed)
				}
				if taken == nil {
					consents++
				} else if !errors.Is(taken, state.ErrNotFound) {
					t.Error(taken)
				}
				if set == nil {
					stored++
				} else if !errors.Is(set, state.ErrStale) {
					t.Error(set)
				}
			})
		}
		wg.Wait()
		if refreshing != 1 || consents != 1 || stored != 1 {
			t.Fatalf("%d refresh the credential, %d store it, and %d take the consent; want one of each", refreshing, stored, consents)
		}
	}
}

// A pause is the database's: whoever opens it finds it.
func pausedElsewhere(t *testing.T, newStores func(t *testing.T) (a, b state.Store)) {
	a, b := newStores(t)
	c, err := a.AddConnection(t.Context(), state.Connection{Org: org, User: "u", Provider: "fake"}, state.Change{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.Claim(t.Context(), "w", start, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := state.Pause{By: "operator", Reason: "to see", At: start}
	if err := a.SetPause(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Renew(t.Context(), l, start, time.Hour); !errors.Is(err, state.ErrStale) {
		t.Errorf("the lease is renewed: %v", err)
	}
	if ps, err := b.Pauses(t.Context()); err != nil || !slices.Equal(ps, []state.Pause{p}) {
		t.Errorf("the pauses are %v: %v", ps, err)
	}
	if _, err := b.Claim(t.Context(), "w", start.Add(2*time.Hour), time.Hour); !errors.Is(err, state.ErrNoneDue) {
		t.Errorf("the mailbox is claimed: %v", err)
	}
	if err := b.EndPause(t.Context(), "", "", false); err != nil {
		t.Fatal(err)
	}
	if l, err := a.Claim(t.Context(), "w", start, time.Hour); err != nil || l.Connection != c.ID {
		t.Errorf("at the end %d is claimed: %v", l.Connection, err)
	}
}

func quota(h *house) {
	t := state.Taking{PerMinute: 600, Size: 100, Want: 60, Least: 30, Leave: 10}
	take := func(want int64, wait time.Duration, at time.Time) {
		h.Helper()
		n, w, err := h.s.TakeQuota(h.Context(), "a", t, at)
		h.ok(err)
		h.equal("taken", n, want)
		h.equal("wait", w, wait)
	}
	take(60, 0, start)
	take(30, 0, start)                    // all but what is left for others
	take(0, 3*time.Second, start)         // 10 are there, and 30 of 40 are wanted
	take(0, 3*time.Second, start.Add(-1)) // a clock that is behind fills nothing
	take(0, time.Second, start.Add(2*time.Second))
	take(30, 0, start.Add(3*time.Second))
	take(60, 0, start.Add(time.Hour)) // it holds no more than its size
	take(30, 0, start.Add(time.Hour))
	take(0, 3*time.Second, start.Add(time.Hour-time.Minute)) // it is behind by no more than clocks are
	take(0, 3*time.Second, start)                            // one of the two is wrong: what is there counts, and it fills from here
	take(0, time.Second, start.Add(2*time.Second))
	take(30, 0, start.Add(3*time.Second))
	n, _, err := h.s.TakeQuota(h.Context(), "b", t, start)
	h.ok(err)
	h.equal("of another bucket", n, int64(60))
	_, _, err = h.s.TakeQuota(h.Context(), "b", state.Taking{PerMinute: 1, Size: 1, Want: 2, Least: 2}, start)
	h.equal("one that can never succeed is an error", err != nil, true)

	t = state.Taking{PerMinute: 60, Size: 1000, Want: 7, Least: 1}
	var wg sync.WaitGroup
	var sum atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				n, _, err := h.s.TakeQuota(h.Context(), "shared", t, start)
				if err != nil {
					h.Error(err)
					return
				}
				if n == 0 {
					return
				}
				sum.Add(n)
			}
		})
	}
	wg.Wait()
	h.equal("taken by four", sum.Load(), int64(1000))

	// Without a time it is the store's.
	t = state.Taking{PerMinute: 1e9, Size: 1e6, Want: 1e6, Least: 1}
	n, _, err = h.s.TakeQuota(h.Context(), "clock", t, time.Time{})
	h.ok(err)
	h.equal("taken at first", n, int64(1e6))
	n, _, err = h.s.TakeQuota(h.Context(), "clock", state.Taking{PerMinute: 1e9, Size: 1e6, Want: 1e6, Least: 1e6}, time.Now().Add(time.Minute/2))
	h.ok(err)
	h.equal("taken half a minute later", n, int64(1e6))
}

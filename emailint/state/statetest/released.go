package statetest

import (
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// Fill brings a little of everything into an empty store, for the databases of released schemas that are kept. See Filled.
func Fill(t *testing.T, s state.Store) {
	h := &house{T: t, s: s}
	_, err := s.SaveSettings(t.Context(), org, state.Settings{Body: []byte(`{"a":1}`), Secrets: map[string][]byte{"password": []byte("sealed")}}, false)
	h.ok(err)
	_, err = s.SaveUserSettings(t.Context(), org, "u", []byte(`{"b":1}`), 0)
	h.ok(err)
	h.ok(s.AddConsent(t.Context(), state.Consent{Key: "consent", Org: org, User: "u", Sealed: []byte("sealed"), Expires: start.Add(time.Hour)}, start))
	h.ok(s.SetPause(t.Context(), state.Pause{Org: "beta", By: "operator", Reason: "to see", At: start}))
	h.ok(s.SetDeployment(t.Context(), "", "first"))
	l := h.claim(h.connect("u").ID)
	e, _ := h.archiving(l, "1")
	h.page(l, row("2", "id-of-1"), row("3"))
	for _, r := range h.pending(l).Rows {
		if r.Item == "2" {
			h.settle(l, h.pending(l), linked(r, byPast))
		}
	}
	h.correct(e.ID, bob)
	h.ok(s.Correct(t.Context(), org, state.Correction{MessageID: "nobody", Thread: true, Drop: true}))
	_, err = s.AddRun(t.Context(), org, l.Connection, state.Run{Reason: "first import", From: start, Cursor: []byte("far")})
	h.ok(err)
	_, _, err = s.OutboxAdd(t.Context(), org, state.Outgoing{Key: "k", Org: org, Connection: l.Connection, Raw: []byte("raw"), Created: start,
		Value: state.EmailValue{MessageID: "sent", Fingerprint: "finger-sent"}})
	h.ok(err)
	_, err = s.Change(t.Context(), org, state.Change{Records: []linker.Record{ada.Record}})
	h.ok(err)
	gone := h.claim(h.connect("gone").ID)
	h.page(gone, row("9"))
	_, err = s.Erase(t.Context(), org, gone.Connection, start, state.Change{}, 100)
	h.ok(err)
}

// Filled checks that a store has what Fill brought into it, and goes on from there.
func Filled(t *testing.T, s state.Store) {
	h := &house{T: t, s: s}
	settings, err := s.Settings(t.Context(), org)
	h.ok(err)
	h.equal("settings", string(settings.Body), `{"a":1}`)
	h.equal("version", settings.Version, int64(1))
	h.equal("secret", string(settings.Secrets["password"]), "sealed")
	own, version, err := s.UserSettings(t.Context(), org, "u")
	h.ok(err)
	h.equal("user's settings", string(own), `{"b":1}`)
	h.equal("their version", version, int64(1))
	c, err := s.TakeConsent(t.Context(), "consent", start)
	h.ok(err)
	h.equal("consent", c.User+" "+string(c.Sealed), "u sealed")
	ps, err := s.Pauses(t.Context())
	h.ok(err)
	h.equal("pauses", slices.Equal(ps, []state.Pause{{Org: "beta", By: "operator", Reason: "to see", At: start}}), true)
	deployment, err := s.Deployment(t.Context())
	h.ok(err)
	h.equal("deployment", deployment, "first")
	cs, err := s.Connections(t.Context(), "")
	h.ok(err)
	h.equal("connections", len(cs), 1)
	h.equal("user", cs[0].User, "u")
	h.equal("credential", string(cs[0].Credential), "sealed")
	rows, err := s.Items(t.Context(), org, cs[0].ID, 0, 100)
	h.ok(err)
	var items []provider.ItemID
	for _, r := range rows {
		items = append(items, r.Item)
	}
	h.equal("items", slices.Equal(items, []provider.ItemID{"1", "2", "3", state.OutboxItem("k")}), true)
	h.equal("cites", len(rows[1].Cites), 1)
	h.equal("folder", rows[0].Folders[0], inbox)
	_, es, err := s.Lookup(t.Context(), org, "id-of-1")
	h.ok(err)
	h.equal("emails", len(es), 1)
	h.equal("links", len(es[0].Effective()), 2)
	h.equal("envelope", string(es[0].Envelope), "sealed")
	th := h.thread(state.ThreadQuery{Cites: []state.Hash{"nobody"}})
	h.equal("a word on a thread", th.ThreadDropped, true)
	is, err := s.IntentsOf(t.Context(), org, es[0].ID)
	h.ok(err)
	h.equal("intents", len(is), 1)
	runs, err := s.Runs(t.Context(), org, cs[0].ID)
	h.ok(err)
	h.equal("run", runs[0].From, start)
	o, err := s.OutboxGet(t.Context(), org, "k")
	h.ok(err)
	h.equal("raw", string(o.Raw), "raw")
	open, err := s.Erasure(t.Context(), org, cs[0].ID+1)
	h.ok(err)
	h.equal("erased items", open.Items, 1)
	// Ids go on where they ended, and what was stored is found by what is new.
	n, more, err := s.Spread(t.Context(), org, 100)
	h.ok(err)
	h.equal("spread", n > 0 && !more, true)
	h.connect("v")
	l, err := s.ClaimConnection(t.Context(), org, cs[0].ID, "w", start.AddDate(0, 0, 1), 2*time.Minute)
	h.ok(err)
	h.equal("inserted", h.page(l, row("4"), row("1")).Inserted, 1)
}

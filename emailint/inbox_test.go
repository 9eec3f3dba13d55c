package emailint_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// ruled returns a world whose inbox has rules, switched on after the first pass.
func ruled(t *testing.T, p providertest.Personality, rules ...emailint.InboxRule) *emailinttest.World {
	t.Helper()
	w := emailinttest.New(t, emailinttest.WithPersonality(p))
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	w.Fake.Deliver([]byte(raw("ada@customer.example", "history@x", "")), w.Now().Add(-time.Hour), provider.RoleInbox)
	w.Deliver(raw("ada@customer.example", "before@x", ""))
	w.Deliver(raw("late@else.example", "relinked@x", ""))
	passes(t, w, 1)
	change(t, w, func(s *emailint.Settings) { s.Inbox = rules })
	return w
}

func change(t *testing.T, w *emailinttest.World, f func(*emailint.Settings)) {
	t.Helper()
	s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	f(&s)
	if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
		t.Fatal(err)
	}
}

// inInbox reports whether a copy of the message lies in the inbox.
func inInbox(w *emailinttest.World, id string) bool {
	return slices.ContainsFunc(w.Fake.Look(id+"@x"), func(s providertest.Sight) bool {
		return slices.ContainsFunc(s.Folders, func(f provider.Folder) bool { return f.Role == provider.RoleInbox })
	})
}

func labelled(w *emailinttest.World, id string) bool {
	return slices.ContainsFunc(w.Fake.Look(id+"@x"), func(s providertest.Sight) bool { return len(s.Labels) > 0 })
}

func intents(t *testing.T, w *emailinttest.World, id string) []emailint.Intent {
	t.Helper()
	x, err := w.Engine.Explain(t.Context(), emailinttest.Org, id+"@x")
	if err != nil {
		t.Fatal(err)
	}
	var out []emailint.Intent
	for _, e := range x.Emails {
		out = append(out, e.Intents...)
	}
	return out
}

var (
	archive = emailint.InboxRule{ID: "a", On: true, Do: emailint.ArchiveMail}
	label   = emailint.InboxRule{ID: "l", On: true, Do: emailint.LabelMail, Label: "In the CRM"}
)

// Rules act on live inbound mail that is linked and came after they were switched on; on nothing else, and never because a link
// was made later.
func TestInboxRulesActOnNewMailOnly(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := ruled(t, p, archive, label)
		w.Advance(time.Minute)
		w.Deliver(raw("ada@customer.example", "new@x", ""))
		w.Deliver(raw("stranger@else.example", "unlinked@x", ""))
		w.Fake.Deliver([]byte(raw("owner@example.com", "sent@x", "")), w.Now(), provider.RoleSent)
		w.Fake.Deliver([]byte(raw("ada@customer.example", "elsewhere@x", "")), w.Now(), "")
		passes(t, w, 2)
		// A contact made now links mail of before: that is no reason to touch it.
		w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "late"}, "Late", "late@else.example")
		change(t, w, func(s *emailint.Settings) { s.Rules.Leads = true })
		passes(t, w, 2)
		for id, acted := range map[string]bool{"new": true, "history": false, "before": false, "relinked": false, "unlinked": false} {
			if inInbox(w, id) == acted || labelled(w, id) != acted {
				t.Errorf("%s: in the inbox %v, labelled %v; acted on should be %v", id, inInbox(w, id), labelled(w, id), acted)
			}
		}
		if labelled(w, "sent") || len(intents(t, w, "elsewhere")) > 0 {
			t.Error("sent mail or mail outside the inbox was touched")
		}
		if es := w.CRM.Emails(emailinttest.Org); !slices.ContainsFunc(es, func(e emailint.Email) bool { return e.Message.MessageID == "relinked@x" }) {
			t.Error("the late contact's mail is not linked: the test proves nothing")
		}
		log, err := w.Engine.Mutations(t.Context(), emailinttest.Org, w.Connection.ID, 0, 100)
		if err != nil || len(log) != 2 || !strings.Contains(log[0].Note, "In the CRM") || !strings.Contains(log[1].Note, "archived") {
			t.Errorf("log = %+v, %v", log, err)
		}
		// What came back by our own hand is no news: the CRM has it once, as it was.
		for _, e := range w.CRM.Emails(emailinttest.Org) {
			if e.Message.MessageID == "new@x" && e.Revision > 2 {
				t.Errorf("our own change raised the email to revision %d", e.Revision)
			}
		}
	})
}

// Whatever a rule did can be taken back, and it does not act on the mail again.
func TestUndo(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := ruled(t, p, archive, label)
		w.Advance(time.Minute)
		w.Deliver(raw("ada@customer.example", "new@x", ""))
		passes(t, w, 2)
		for _, i := range intents(t, w, "new") {
			if i.State != state.IntentDone {
				t.Errorf("%s: %s, %s", i.Do, i.State, i.Error)
			}
			if _, err := w.Engine.Undo(t.Context(), emailinttest.Org, i.ID); err != nil {
				t.Error(err)
			}
		}
		passes(t, w, 3)
		if !inInbox(w, "new") || labelled(w, "new") {
			t.Errorf("in the inbox %v, labelled %v", inInbox(w, "new"), labelled(w, "new"))
		}
		for _, i := range intents(t, w, "new") {
			if i.State != state.IntentUndone {
				t.Errorf("%s: %s, %s", i.Do, i.State, i.Error)
			}
		}
	})
}

// A mutation whose answer was lost is not made twice, and can be taken back all the same; one that its owner reversed is left alone.
func TestLostMutation(t *testing.T) {
	for _, rule := range []emailint.InboxRule{archive, label} {
		for _, keywords := range []bool{true, false} {
			t.Run(string(rule.Do), func(t *testing.T) {
				personalities(t, func(t *testing.T, p providertest.Personality) {
					w := ruled(t, p, rule)
					w.Fake.NoKeywords(!keywords)
					w.Advance(time.Minute)
					w.Deliver(raw("ada@customer.example", "new@x", ""))
					w.Fake.LoseMutation(providertest.LostAfter)
					passes(t, w, 3)
					is := intents(t, w, "new")
					if len(is) != 1 || is[0].State != state.IntentDone {
						t.Fatalf("intents = %+v", is)
					}
					want := 1
					if rule.Do == emailint.LabelMail && !keywords && p == providertest.IMAP {
						want = 2 // the mail and its copy
					}
					if n := len(w.Fake.Look("new@x")); n != want {
						t.Errorf("the mail lies in %d places, want %d", n, want)
					}
					if _, err := w.Engine.Undo(t.Context(), emailinttest.Org, is[0].ID); err != nil {
						t.Fatal(err)
					}
					passes(t, w, 3)
					if !inInbox(w, "new") || labelled(w, "new") || len(w.Fake.Look("new@x")) != 1 {
						t.Errorf("not taken back: %+v, %+v", w.Fake.Look("new@x"), intents(t, w, "new"))
					}
				})
			})
		}
	}
}

// Its answer was lost, a pass sees it archived under its new id, and before that pass comes to act on it its owner brings it back: it stays there.
func TestLostMutationIsBroughtBackMeanwhile(t *testing.T) {
	var meanwhile func()
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) {
		o.Progress = func(string, int64) {
			if meanwhile != nil {
				meanwhile()
			}
		}
	}))
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	change(t, w, func(s *emailint.Settings) { s.Inbox = []emailint.InboxRule{archive} })
	w.Advance(time.Minute)
	h := w.Deliver(raw("ada@customer.example", "new@x", ""))
	w.Fake.LoseMutation(providertest.LostAfter)
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	if is := intents(t, w, "new"); inInbox(w, "new") || len(is) != 1 || is[0].State != state.IntentAttempted {
		t.Fatalf("intents = %+v", is)
	}
	meanwhile = func() { w.Fake.Move(h, provider.RoleInbox); meanwhile = nil }
	passes(t, w, 3)
	if is := intents(t, w, "new"); !inInbox(w, "new") {
		t.Errorf("it was archived once more; intents = %+v", is)
	}
}

// Mail that its owner moved before the rule could act is left where it is.
func TestOwnerIsFaster(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := ruled(t, p, archive)
		w.Advance(time.Minute)
		h := w.Deliver(raw("ada@customer.example", "new@x", ""))
		w.Fail(errDown, errDown, errDown, errDown, errDown, errDown, errDown, errDown)
		_ = w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID) // the CRM is down: linked, not saved
		w.Fake.Move(h, "")
		passes(t, w, 2)
		at := w.Fake.Look("new@x")
		if len(at) != 1 || len(at[0].Folders) != 1 || at[0].Folders[0].Role != "" {
			t.Errorf("the mail lies at %+v", at)
		}
	})
}

// A mailbox that can't archive says so, and everything else goes on.
func TestUnsupportedIsSaid(t *testing.T) {
	w := ruled(t, providertest.IMAP, archive)
	w.Fake.NoMove(true)
	w.Fake.NoUIDPlus(true)
	w.Advance(time.Minute)
	w.Deliver(raw("ada@customer.example", "new@x", ""))
	passes(t, w, 1)
	is := intents(t, w, "new")
	if len(is) != 1 || is[0].State != state.IntentFailed || is[0].Error == "" || !inInbox(w, "new") {
		t.Errorf("intents = %+v", is)
	}
}

// Switching a rule off and on again begins anew; changing something else doesn't.
func TestRuleKeepsItsTime(t *testing.T) {
	w := ruled(t, providertest.IMAP, archive)
	since := func() time.Time {
		s, _, err := w.Engine.Settings(t.Context(), emailinttest.Org)
		if err != nil || len(s.Inbox) != 1 {
			t.Fatal(err)
		}
		return s.Inbox[0].Since
	}
	first := since()
	w.Advance(time.Hour)
	change(t, w, func(s *emailint.Settings) { s.Sync.InboundMinutes = 7; s.Inbox[0].Since = time.Time{} })
	if !since().Equal(first) {
		t.Errorf("since = %s, want %s", since(), first)
	}
	change(t, w, func(s *emailint.Settings) { s.Inbox[0].On = false })
	change(t, w, func(s *emailint.Settings) { s.Inbox[0].On = true })
	if !since().Equal(w.Now()) {
		t.Errorf("since = %s, want now, %s", since(), w.Now())
	}
}

package emailint_test

import (
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// passes runs n full passes, a day apart.
func passes(t *testing.T, w *emailinttest.World, n int) {
	t.Helper()
	for range n {
		w.Advance(25 * time.Hour)
		if err := w.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func copies(t *testing.T, w *emailinttest.World, id string) []emailint.Copy {
	t.Helper()
	x, err := w.Engine.Explain(t.Context(), emailinttest.Org, id)
	if err != nil {
		t.Fatal(err)
	}
	return x.Copies
}

func lying(cs []emailint.Copy) (here int, gone int) {
	for _, c := range cs {
		if !c.Left {
			here++
		}
		if c.Gone {
			gone++
		}
	}
	return here, gone
}

// A move to another folder or to the trash is never a deletion; what is deleted from both is, in a pass after the one that saw it
// leave. What follows is the host's policy.
func TestDeletionIsConfirmed(t *testing.T) {
	for _, policy := range []emailint.Deletion{emailint.KeepDeleted, emailint.ReleaseDeleted} {
		t.Run(string(policy), func(t *testing.T) {
			personalities(t, func(t *testing.T, p providertest.Personality) {
				s := emailint.DefaultSettings()
				s.OnDelete = policy
				w := emailinttest.New(t, emailinttest.WithPersonality(p), emailinttest.WithSettings(s))
				w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
				h := map[string]providertest.Handle{}
				for _, id := range []string{"stays@x", "moved@x", "trashed@x", "deleted@x"} {
					h[id] = w.Deliver(raw("ada@customer.example", id, ""))
				}
				passes(t, w, 1)
				w.Fake.Move(h["moved@x"], provider.RoleArchive)
				w.Fake.Move(h["trashed@x"], provider.RoleTrash)
				w.Fake.Delete(h["deleted@x"])
				passes(t, w, 1)
				for _, id := range []string{"stays@x", "moved@x", "trashed@x", "deleted@x"} {
					if _, gone := lying(copies(t, w, id)); gone > 0 {
						t.Errorf("%s is called gone in the pass that saw it leave", id)
					}
				}
				if n := len(w.CRM.Emails(emailinttest.Org)); n != 4 {
					t.Errorf("%d emails after the first step, want 4", n)
				}
				passes(t, w, 3)
				here, gone := lying(copies(t, w, "deleted@x"))
				if here != 0 || gone != 1 {
					t.Errorf("deleted: %+v", copies(t, w, "deleted@x"))
				}
				if here, gone := lying(copies(t, w, "trashed@x")); gone != 0 {
					t.Errorf("in the trash is called gone: %d, %d", here, gone)
				}
				if here, gone := lying(copies(t, w, "moved@x")); here != 1 || gone != 0 {
					t.Errorf("moved: %+v", copies(t, w, "moved@x"))
				}
				want := 4
				if policy == emailint.ReleaseDeleted {
					want = 3
				}
				if n := len(w.CRM.Emails(emailinttest.Org)); n != want {
					t.Errorf("%d emails, want %d", n, want)
				}
				// Emptying the trash is a deletion, seen when the trash is looked at again.
				w.Fake.Delete(h["trashed@x"])
				passes(t, w, 3)
				if _, gone := lying(copies(t, w, "trashed@x")); gone != 1 {
					t.Errorf("purged: %+v", copies(t, w, "trashed@x"))
				}
				if policy == emailint.ReleaseDeleted {
					want--
				}
				if n := len(w.CRM.Emails(emailinttest.Org)); n != want {
					t.Errorf("%d emails after the purge, want %d", n, want)
				}
			})
		})
	}
}

// Reconcile proves what is there: gaps are found and repaired, and what is no longer there has left.
func TestReconcile(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := emailinttest.New(t, emailinttest.WithPersonality(p))
		w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		w.Deliver(raw("ada@customer.example", "1@x", ""))
		w.Deliver(raw("someone@else.example", "2@x", ""))
		passes(t, w, 1)
		rep, err := w.Engine.Reconcile(t.Context(), emailinttest.Org, w.Connection.ID, provider.Window{})
		if err != nil || rep.Listed != 2 || rep.Read != 2 || rep.Linked != 1 || rep.Delivered != 1 || rep.Repaired != 0 || rep.Completeness() != 1 {
			t.Errorf("%+v, %v", rep, err)
		}
		// A service that told nothing of a mail, and nothing of another's going.
		w.Deliver(raw("ada@customer.example", "silent@x", ""))
		gone := w.Deliver(raw("ada@customer.example", "gone@x", ""))
		w.Fake.Forget()
		if err := w.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(copies(t, w, "silent@x")); n != 0 {
			t.Fatalf("the fake told of it: %d", n)
		}
		rep, err = w.Engine.Reconcile(t.Context(), emailinttest.Org, w.Connection.ID, provider.Window{})
		if err != nil || rep.Listed != 4 || rep.Repaired != 2 || rep.Delivered != 3 || rep.Completeness() != 1 {
			t.Errorf("with a gap: %+v, %v", rep, err)
		}
		es := w.CRM.Emails(emailinttest.Org)
		if len(es) != 3 || slices.ContainsFunc(es, func(e emailint.Email) bool { return e.History || e.Message.Text == "" }) {
			t.Errorf("%d emails, want 3 live ones with content: %+v", len(es), es)
		}
		w.Fake.Delete(gone)
		w.Fake.Forget()
		rep, err = w.Engine.Reconcile(t.Context(), emailinttest.Org, w.Connection.ID, provider.Window{})
		if err != nil || rep.Listed != 3 || rep.Left != 1 || rep.Gone != 0 {
			t.Errorf("after a deletion: %+v, %v", rep, err)
		}
		rep, err = w.Engine.Reconcile(t.Context(), emailinttest.Org, w.Connection.ID, provider.Window{})
		if err != nil || rep.Gone != 1 || rep.Left != 0 || rep.Completeness() != 1 {
			t.Errorf("in the second step: %+v, %v", rep, err)
		}
	})
}

// A folder that is listed again, or old mail that its owner moves, brings nothing into the CRM that nobody asked to import; it has
// a row that says so.
func TestOldMailIsNotImportedByAccident(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := emailinttest.New(t, emailinttest.WithPersonality(p))
		w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		old := w.Fake.Deliver([]byte(raw("ada@customer.example", "old@x", "")), w.Now().AddDate(-2, 0, 0), provider.RoleInbox)
		w.Fake.Deliver([]byte(raw("ada@customer.example", "recent@x", "")), w.Now().AddDate(0, 0, -20), provider.RoleInbox)
		passes(t, w, 1)
		w.Fake.Move(old, provider.RoleArchive)
		passes(t, w, 1)
		w.Fake.ExpireCursors()
		passes(t, w, 2)
		if es := w.CRM.Emails(emailinttest.Org); len(es) != 1 || es[0].Message.MessageID != "recent@x" {
			t.Errorf("%d emails, want the recent one: %+v", len(es), es)
		}
		st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
		if err != nil || st.Counts.Fates["unread"] == 0 {
			t.Errorf("fates %v, want the old mail unread", st.Counts.Fates)
		}
		rep, err := w.Engine.Reconcile(t.Context(), emailinttest.Org, w.Connection.ID, provider.Window{})
		if err != nil || rep.Completeness() != 1 || rep.Listed != 1 || rep.Repaired != 0 {
			t.Errorf("%+v, %v", rep, err)
		}
	})
}

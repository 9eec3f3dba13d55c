package emailinttest

import (
	"errors"
	"slices"
	"testing"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// CRMHarness is a store under test with a way to give it records.
type CRMHarness struct {
	Store crm.Store
	// Add adds a record that is reached by the keys.
	Add func(org string, r linker.Record, keys ...message.Key)
	// Emails returns the saved emails of an organisation by id.
	Emails func(org string) map[string]crm.Email
	// Had puts an email in as another integration has left it, under an id of the store's own; nil for a CRM that declares none (Engine.Declare). Count returns
	// how many emails a user finds, those included.
	Had   func(org, id string)
	Count func(org string) int
}

// TestCRMStore checks that a host's store does what the engine relies on. Each case starts with a new, empty store.
func TestCRMStore(t *testing.T, open func(t *testing.T) CRMHarness) {
	ada := linker.Record{Kind: linker.Contact, ID: "ada"}
	cases := []suiteCase{
		{"find", "Find should answer who holds an address, and leave out keys that nobody holds",
			func(t *testing.T, h CRMHarness) bool {
				h.Add("o", ada, "ada@example.com")
				d, err := h.Store.Find(t.Context(), "o", linker.Query{Addresses: []message.Key{"ada@example.com", "x@example.com"}})
				_, other := d.Holders["x@example.com"]
				return err == nil && len(d.Holders["ada@example.com"]) == 1 && d.Holders["ada@example.com"][0] == ada && !other
			}},
		{"organisation", "Find should never answer with records of another organisation",
			func(t *testing.T, h CRMHarness) bool {
				h.Add("other", ada, "ada@example.com")
				d, err := h.Store.Find(t.Context(), "o", linker.Query{Addresses: []message.Key{"ada@example.com"}, Records: []linker.Record{ada}})
				return err == nil && len(d.Holders) == 0 && len(d.Now) == 0
			}},
		{"now", "Find should report a record that exists as itself and leave out one that is gone",
			func(t *testing.T, h CRMHarness) bool {
				h.Add("o", ada)
				gone := linker.Record{Kind: linker.Contact, ID: "gone"}
				d, err := h.Store.Find(t.Context(), "o", linker.Query{Records: []linker.Record{ada, gone}})
				_, g := d.Now[gone]
				return err == nil && d.Now[ada] == ada && !g
			}},
		{"create twice", "CreateContacts should return the same record for an address it was given before, also within one call",
			func(t *testing.T, h CRMHarness) bool {
				n := crm.NewContact{Address: "new@example.com", Name: "New"}
				a, err1 := h.Store.CreateContacts(t.Context(), "o", []crm.NewContact{n, n})
				b, err2 := h.Store.CreateContacts(t.Context(), "o", []crm.NewContact{n})
				return err1 == nil && err2 == nil && len(a) == 2 && len(b) == 1 && a[0] == a[1] && a[0] == b[0]
			}},
		{"created is found", "Find should find a contact that CreateContacts made",
			func(t *testing.T, h CRMHarness) bool {
				a, err := h.Store.CreateContacts(t.Context(), "o", []crm.NewContact{{Address: "new@example.com"}})
				if err != nil || len(a) != 1 {
					return false
				}
				d, err := h.Store.Find(t.Context(), "o", linker.Query{Addresses: []message.Key{"new@example.com"}})
				return err == nil && len(d.Holders["new@example.com"]) == 1 && d.Holders["new@example.com"][0] == a[0]
			}},
		{"revision", "SaveEmails should change nothing when the revision is not greater than the stored one",
			func(t *testing.T, h CRMHarness) bool {
				newer := email("e1", 2, "second")
				ok := h.Store.SaveEmails(t.Context(), "o", []crm.Email{newer}) == nil
				ok = ok && h.Store.SaveEmails(t.Context(), "o", []crm.Email{email("e1", 1, "first")}) == nil
				ok = ok && h.Store.SaveEmails(t.Context(), "o", []crm.Email{email("e1", 2, "again")}) == nil
				return ok && h.Emails("o")["e1"].Message.Subject == "second"
			}},
		{"complete links", "SaveEmails should replace the links by the complete set it is given",
			func(t *testing.T, h CRMHarness) bool {
				e := email("e1", 1, "s")
				e.Links = []linker.Link{{Record: ada, By: linker.ByAddress}}
				ok := h.Store.SaveEmails(t.Context(), "o", []crm.Email{e}) == nil
				ok = ok && h.Store.SaveEmails(t.Context(), "o", []crm.Email{email("e1", 2, "s")}) == nil
				return ok && len(h.Emails("o")["e1"].Links) == 0
			}},
		{"update", "UpdateEmails should change links and holders and keep the content",
			func(t *testing.T, h CRMHarness) bool {
				ok := h.Store.SaveEmails(t.Context(), "o", []crm.Email{email("e1", 1, "s")}) == nil
				ok = ok && h.Store.UpdateEmails(t.Context(), "o", []crm.EmailState{{ID: "e1", Revision: 2,
					Holders: []string{"c1", "c2"}, Links: []linker.Link{{Record: ada, By: linker.ByPerson}}}}) == nil
				e := h.Emails("o")["e1"]
				return ok && e.Message.Subject == "s" && len(e.Links) == 1 && len(e.Holders) == 2 && e.Revision == 2
			}},
		{"update unknown", "UpdateEmails should name the emails it does not know and update the others",
			func(t *testing.T, h CRMHarness) bool {
				ok := h.Store.SaveEmails(t.Context(), "o", []crm.Email{email("e1", 1, "s")}) == nil
				err := h.Store.UpdateEmails(t.Context(), "o", []crm.EmailState{{ID: "e1", Revision: 5}, {ID: "nope", Revision: 1}})
				var es *crm.EmailsError
				return ok && errors.As(err, &es) && len(es.Failed) == 1 && errors.Is(es.Failed["nope"], crm.ErrUnknownEmail) &&
					h.Emails("o")["e1"].Revision == 5
			}},
		{"addresses", "Addresses, of a store that is an AddressLister, should list each address and domain once it is there, in pages, and then what is new",
			func(t *testing.T, h CRMHarness) bool {
				lister, ok := power.Of[crm.AddressLister](h.Store)
				if !ok {
					return true // an optional power
				}
				h.Add("o", ada, "ada@example.com", "ada@example.org")
				h.Add("o", linker.Record{Kind: linker.Account, ID: "acme"}, "acme.com")
				h.Add("other", linker.Record{Kind: linker.Contact, ID: "eve"}, "eve@example.com")
				all, mark, ok := addresses(t, lister, "", 2)
				h.Add("o", linker.Record{Kind: linker.Contact, ID: "new"}, "new@example.com")
				more, mark, also := addresses(t, lister, mark, 2)
				none, _, last := addresses(t, lister, mark, 2)
				slices.Sort(all)
				return ok && also && last && slices.Equal(all, []string{"acme.com", "ada@example.com", "ada@example.org"}) &&
					slices.Contains(more, "new@example.com") && len(none) == 0
			}},
	}
	if open(t).Had != nil {
		cases = append(cases, declaredCases...)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if !c.run(t, open(t)) {
				t.Error(c.should)
			}
		})
	}
}

// addresses lists everything after a mark, and each once.
func addresses(t *testing.T, l crm.AddressLister, after string, limit int) (all []string, mark string, ok bool) {
	for range 10 {
		who, next, more, err := l.Addresses(t.Context(), "o", after, limit)
		if err != nil {
			t.Log(err)
			return nil, "", false
		}
		for _, w := range who {
			if !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
		if !more {
			return all, next, true
		}
		after = next
	}
	return nil, "", false
}

type suiteCase struct {
	name, should string
	run          func(t *testing.T, h CRMHarness) bool
}

// declaredCases are about emails that the store has from elsewhere.
var declaredCases = []suiteCase{
	{"declared", "SaveEmails should make the email with that HostID the saved one, and no second, however often it is called",
		func(t *testing.T, h CRMHarness) bool {
			h.Had("o", "own-1")
			h.Had("o", "own-2")
			e := email("1", 1, "s")
			e.HostID = "own-1"
			ok := h.Store.SaveEmails(t.Context(), "o", []crm.Email{e}) == nil
			ok = h.Store.SaveEmails(t.Context(), "o", []crm.Email{e}) == nil && ok
			e.Revision, e.Message.Subject = 2, "t"
			ok = ok && h.Store.SaveEmails(t.Context(), "o", []crm.Email{e}) == nil
			return ok && h.Count("o") == 2 && h.Emails("o")["1"].Message.Subject == "t"
		}},
	{"declared late", "SaveEmails should make two emails one when it learns the HostID of one that was saved before",
		func(t *testing.T, h CRMHarness) bool {
			h.Had("o", "own-1")
			ok := h.Store.SaveEmails(t.Context(), "o", []crm.Email{email("1", 1, "s")}) == nil && h.Count("o") == 2
			e := email("1", 2, "s")
			e.HostID = "own-1"
			ok = ok && h.Store.SaveEmails(t.Context(), "o", []crm.Email{e}) == nil
			return ok && h.Count("o") == 1 && h.Emails("o")["1"].Revision == 2
		}},
	{"declared and gone", "SaveEmails should save an email whose HostID it doesn't know, and leave another organisation's alone",
		func(t *testing.T, h CRMHarness) bool {
			h.Had("other", "own-1")
			e := email("1", 1, "s")
			e.HostID = "own-1"
			ok := h.Store.SaveEmails(t.Context(), "o", []crm.Email{e}) == nil
			return ok && h.Count("o") == 1 && h.Count("other") == 1 && h.Emails("o")["1"].Message.Subject == "s"
		}},
	{"declared and updated", "UpdateEmails with a HostID should change links and holders, and take it for no other email",
		func(t *testing.T, h CRMHarness) bool {
			h.Had("o", "own-1")
			e := email("1", 1, "s")
			e.HostID = "own-1"
			ok := h.Store.SaveEmails(t.Context(), "o", []crm.Email{e}) == nil
			ok = ok && h.Store.UpdateEmails(t.Context(), "o", []crm.EmailState{{ID: "1", Revision: 2, HostID: "own-1", Holders: []string{"c1", "c2"}}}) == nil
			return ok && h.Count("o") == 1 && len(h.Emails("o")["1"].Holders) == 2
		}},
}

func email(id string, rev int64, subject string) crm.Email {
	e := crm.Email{EmailState: crm.EmailState{ID: id, Revision: rev, Holders: []string{"c1"}}}
	e.Message.Subject = subject
	return e
}

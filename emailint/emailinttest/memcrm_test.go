package emailinttest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

func TestMemCRMPassesTheSuite(t *testing.T) {
	emailinttest.TestCRMStore(t, func(t *testing.T) emailinttest.CRMHarness {
		m := emailinttest.NewMemCRM()
		return emailinttest.CRMHarness{
			Store: m,
			Add:   func(org string, r linker.Record, keys ...message.Key) { m.Add(org, r, "", keys...) },
			Emails: func(org string) map[string]crm.Email {
				out := map[string]crm.Email{}
				for _, e := range m.Emails(org) {
					out[e.ID] = e
				}
				return out
			},
			Had: m.Had, Count: m.Count,
		}
	})
}

func TestLoadNamesTheMistake(t *testing.T) {
	for in, want := range map[string]string{
		`{"contacts":[{"id":"c","emial":["a@b.example"]}]}`:        "emial",
		`{"contacts":[{"id":"c","emails":["nonsense"]}]}`:          "nonsense",
		`{"contacts":[{"id":"c","account":"a"}]}`:                  `account "a"`,
		`{"contacts":[{"id":"c"},{"id":"c"}]}`:                     "twice",
		"{\n\"contacts\": [\n{]":                                   "line 3",
		`{"opportunities":[{"id":"o","opened":"yesterday"}]}`:      "yesterday",
		`{"accounts":[{"id":"a","domains":["no domain at all"]}]}`: "no domain at all",
	} {
		m := emailinttest.NewMemCRM()
		if err := m.Load("o", []byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s) = %v, want an error with %q", in, err, want)
		}
	}
}

// Whoever asked may keep an answer and change it, and the CRM goes on.
func TestAnswersOfFindStandAlone(t *testing.T) {
	var rs []linker.Record
	for _, id := range []string{"ada", "bob", "cyd", "dan"} {
		rs = append(rs, linker.Record{Kind: linker.Contact, ID: id})
	}
	const shared = "sales@firm.example"
	find := func(m *emailinttest.MemCRM) []linker.Record {
		d, err := m.Find(t.Context(), "o", linker.Query{Addresses: []message.Key{shared}})
		if err != nil {
			t.Fatal(err)
		}
		return d.Holders[shared]
	}
	for name, c := range map[string]struct {
		change func(*emailinttest.MemCRM)
		want   []linker.Record
	}{
		"AddKey":    {func(m *emailinttest.MemCRM) { m.AddKey("o", rs[3], shared) }, rs},
		"RemoveKey": {func(m *emailinttest.MemCRM) { m.RemoveKey("o", rs[0], shared) }, rs[1:3]},
		"Merge":     {func(m *emailinttest.MemCRM) { m.Merge("o", rs[0], rs[3]) }, rs[1:]},
		"Delete":    {func(m *emailinttest.MemCRM) { m.Delete("o", rs[0]) }, rs[1:3]},
	} {
		m := emailinttest.NewMemCRM()
		for _, r := range rs[:3] {
			m.Add("o", r, "", shared)
		}
		before := find(m)
		c.change(m)
		if !slices.Equal(before, rs[:3]) {
			t.Errorf("%s changed an answer given before: %v", name, before)
		}
		now := find(m)
		for i := range now {
			now[i] = linker.Record{Kind: linker.Lead, ID: "mine"}
		}
		if now = find(m); !slices.Equal(now, c.want) {
			t.Errorf("after %s: %v, want %v", name, now, c.want)
		}
	}
}

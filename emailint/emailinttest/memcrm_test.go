package emailinttest_test

import (
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

package linker_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

func ExampleRules_Validate() {
	r := linker.DefaultRules()
	r.OpportunityPolicy = "newest"
	r.OwnDomains = []message.Key{"acme.com", "gmail.com"}
	r.ExcludedDomains = []linker.Exclusion{{Domain: "Bücher.example", Reach: "some"}}
	r.MaxLinks = 0
	fmt.Println(r.Validate())
	// Output:
	// opportunity_policy: "newest" must be "all", "latest" or "single"
	// own_domains[1]: "gmail.com" is shared by many: everyone there would count as your own people
	// excluded_domains[0].domain: "Bücher.example" must be written "xn--bcher-kva.example"
	// excluded_domains[0].reach: "some" must be "everything" or "accounts"
	// max_links: 0 must be 1 to 1000
}

func ExampleRules_Decide() {
	rules := linker.DefaultRules()
	rules.OwnDomains = []message.Key{"own.example"}
	mail := message.Envelope{
		Has:  message.HasHeader,
		From: []message.Address{message.NewAddress("Ada", "ada@acme.com")},
		To:   []message.Address{message.NewAddress("", "me@own.example")},
	}
	q := rules.Query(mail)
	fmt.Println("ask for", q.Addresses, q.Domains)
	ada := linker.Record{Kind: linker.Contact, ID: "7"}
	d := rules.Decide(mail, linker.Directory{Holders: map[message.Key][]linker.Record{"ada@acme.com": {ada}}}, nil)
	for _, l := range d.Links {
		fmt.Println(d.Disposition, l.Kind, l.ID, l.By, l.Evidence)
	}
	// Output:
	// ask for [ada@acme.com] [acme.com]
	// linked contact 7 address ada@acme.com
}

func TestRulesAreACompleteValue(t *testing.T) {
	want := linker.DefaultRules()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got linker.Rules
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %+v, want %+v", err, got, want)
	}
	if err := want.Validate(); err != nil {
		t.Error(err)
	}
}

func TestShippedListsAreKeys(t *testing.T) {
	ks := linker.PersonalDomains()
	if len(ks) < 150 || !slices.IsSorted(ks) {
		t.Errorf("%d domains, or not sorted", len(ks))
	}
	for _, k := range ks {
		if message.DomainKey(string(k)) != k || k.IsAddress() {
			t.Errorf("%q is not a domain key", k)
		}
	}
}

func TestCompanyDomainsOverrideTheLists(t *testing.T) {
	r := linker.DefaultRules()
	e := mail("From: x@support.zendesk.com")
	if got := r.Query(e).Domains; !slices.Equal(got, []message.Key{"support.zendesk.com"}) {
		t.Error(got)
	}
	r.CompanyDomains = []message.Key{"zendesk.com"}
	if got := r.Query(e).Domains; !slices.Equal(got, []message.Key{"support.zendesk.com", "zendesk.com"}) {
		t.Error(got)
	}
}

func TestInherit(t *testing.T) {
	got := linker.Inherit([]linker.Link{
		link("contact/a", linker.ByAddress, "a@x", false),
		link("contact/b", linker.ByPerson, "", true),
		link("contact/c", linker.ByThread, "m0", false),
		link("opportunity/d", linker.ByPerson, "", false),
		link("opportunity/e", linker.ByRelated, "", false),
	}, "m1")
	want := []linker.Link{
		{Record: rec("contact/a"), By: linker.ByThread, Evidence: "m1", Strength: 50},
		{Record: rec("opportunity/d"), By: linker.ByThread, Evidence: "m1", Strength: 50},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

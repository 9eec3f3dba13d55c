package emailint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/internal/deliver"
	"github.com/intellicon/email-integration/emailint/internal/pass"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// peopleFirst is how history is read where people of the CRM come first; nil where that is not wanted, or the service or the CRM can't do it.
// down, which says that the CRM need not be asked, returns nil where it may be.
func (e *Engine) peopleFirst(org string, box provider.Mailbox, s SyncSettings, rules func() linker.Rules, down func() error,
	renew func(context.Context) error) *pass.People {
	searcher, searches := power.Of[provider.Searcher](box)
	lister, lists := power.Of[AddressLister](e.o.CRM)
	if !s.PeopleFirst || !searches || !lists {
		return nil
	}
	host := &deliver.Guard{People: lister, Limit: e.o.CRMTimeout, Beat: e.o.Lease / 3, Renew: renew, Log: e.o.Logger}
	return &pass.People{
		Search: searcher,
		Addresses: func(ctx context.Context, after string, limit int) (who []string, next string, more bool, err error) {
			if down := down(); down != nil {
				return nil, "", false, down
			}
			who, next, more, err = host.Addresses(ctx, org, after, limit)
			if err != nil && ctx.Err() == nil && !errors.Is(err, state.ErrStale) {
				err = &deliver.OutageError{Err: err}
			}
			return wantedOf(rules(), who), next, more, err
		},
		Wanted:  func() string { return wantedBy(rules()) },
		Changes: func(ctx context.Context) (int64, error) { return e.o.State.ChangeNumber(ctx, org) },
	}
}

// wantedOf returns those of addresses and domains that may match something: none of our own, none that is excluded, and each once.
func wantedOf(rules linker.Rules, who []string) []string {
	var out []string
	seen := map[message.Key]bool{}
	for _, w := range who {
		k := crm.Key(w)
		if k == "" || seen[k] {
			continue
		}
		seen[k] = true
		address := string(k)
		if !strings.Contains(address, "@") {
			address = "somebody@" + address
		}
		q := rules.Query(message.Envelope{Has: message.HasParticipants, From: []message.Address{message.NewAddress("", address)}})
		asked := q.Addresses
		if address != string(k) {
			asked = q.Domains
		}
		if len(asked) > 0 {
			out = append(out, string(k))
		}
	}
	return out
}

// wantedBy is a digest of what wantedOf goes by, but for the organisation's own addresses: they come with each mailbox that is connected, and hardly one goes
// that is a person of the CRM.
func wantedBy(r linker.Rules) string {
	b, err := json.Marshal(linker.Rules{Contacts: r.Contacts, Accounts: r.Accounts, Leads: r.Leads, CreateContacts: r.CreateContacts, Custom: r.Custom, OwnDomains: r.OwnDomains,
		ExcludedDomains: r.ExcludedDomains, ExcludedAddresses: r.ExcludedAddresses, SharedDomains: r.SharedDomains, CompanyDomains: r.CompanyDomains})
	if err != nil {
		panic(err) // words and switches
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// ImportPlan is what an import would cost, before it runs.
type ImportPlan struct {
	Everything provider.Plan
	// People is of mail with people of the CRM: what SyncSettings.PeopleFirst reads. Addresses is how many they have.
	People    provider.Plan
	Addresses int
}

// planned is how many addresses of the CRM a plan looks at.
const planned = 5000

// PlanImport says what importing so many days of a mailbox would cost: messages, the service's quota, time. days is as in SyncSettings.ImportDays, and
// counts from when the mailbox was connected. It counts by listing and by searching, which costs a little itself: ask when somebody is to choose.
// provider.ErrUnsupported where the service has no price (IMAP). Of a CRM that lists no addresses (AddressLister) People is empty.
func (e *Engine) PlanImport(ctx context.Context, org string, connection int64, days int) (plan ImportPlan, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("emailint: planning the import of connection %d: %w", connection, err)
		}
	}()
	if days < -1 || days > maxDays {
		return plan, fmt.Errorf("%d days: want a number of days, 0 for none or -1 for all", days)
	}
	c, err := e.o.State.Connection(ctx, org, connection)
	if err != nil {
		return plan, err
	}
	if days == 0 {
		return plan, nil
	}
	w := window(days, c.ConnectedAt)
	rules, _, _, err := e.rules(ctx, org)
	if err != nil {
		return plan, err
	}
	box, err := e.open(ctx, c)
	if err != nil {
		return plan, err
	}
	defer box.Close() //nolint:errcheck // nothing is written by closing
	searcher, ok := power.Of[provider.Searcher](box)
	if !ok {
		return plan, fmt.Errorf("%s: %w: reading has no price there", c.Provider, provider.ErrUnsupported)
	}
	if plan.Everything, err = searcher.Plan(ctx, w, nil); err != nil {
		return plan, err
	}
	p := e.peopleFirst(org, box, SyncSettings{PeopleFirst: true}, func() linker.Rules { return rules }, func() error { return nil }, nil)
	if p == nil {
		return plan, nil
	}
	var who []string
	rest := false
	err = p.Walk(ctx, planned, func(some []string, more bool) bool {
		who, rest = append(who, some...), more
		return len(who) < planned
	})
	if err != nil {
		return plan, err
	}
	plan.Addresses = len(who)
	if len(who) > 0 {
		plan.People, err = searcher.Plan(ctx, w, who)
		plan.People.AtLeast = plan.People.AtLeast || rest
	}
	return plan, err
}

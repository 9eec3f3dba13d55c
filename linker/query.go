package linker

import (
	"slices"

	"github.com/intellicon/email-integration/message"
)

// Query returns what Decide needs to know of the CRM for these envelopes. Links of threads are not in envelopes: the
// caller adds the records of the links that it will pass to Decide as Query.Records.
func (r Rules) Query(es ...message.Envelope) Query {
	var q Query
	for i := range es {
		e := &es[i]
		if e.Has&message.HasParticipants == 0 || r.IgnoreAutomated && e.Automated.Class != "" {
			continue
		}
		c := r.survey(e)
		r.outside(e, c, func(k message.Key, accounts bool) {
			if r.asksAddresses() {
				q.Addresses = append(q.Addresses, k)
				var space [320]byte
				for i := range variants {
					if v := variant(space[:0], k, i); v != nil {
						q.Addresses = append(q.Addresses, message.Key(v))
					}
				}
			}
			if r.Accounts && accounts {
				r.accountDomains(k.Domain(), func(d message.Key) bool {
					q.Domains = append(q.Domains, d)
					return false
				})
			}
		})
	}
	slices.Sort(q.Addresses)
	slices.Sort(q.Domains)
	q.Addresses, q.Domains = slices.Compact(q.Addresses), slices.Compact(q.Domains)
	if r.Accounts && r.Contacts {
		q.Related = append(q.Related, Account)
	}
	if r.Opportunities {
		q.Related = append(q.Related, Opportunity)
	}
	q.Related = append(q.Related, r.Custom...)
	return q
}

func (r *Rules) asksAddresses() bool {
	return r.Contacts || r.Leads || r.CreateContacts || len(r.Custom) > 0
}

// links reports whether records of this kind are linked when found by address.
func (r *Rules) links(k Kind) bool {
	switch k {
	case Contact:
		return r.Contacts
	case Lead:
		return r.Leads
	case Account, Opportunity:
		return false
	}
	return slices.Contains(r.Custom, k)
}

// Inherit returns what a mail inherits from a mail it answers, cited by its Message-ID: the direct links and a
// person's, as links by thread. A person's "not this record" stays with the mail on which it was said; pass it to
// Decide as it is for the mails it should hold for.
func Inherit(parent []Link, cited string) []Link {
	var out []Link
	for _, l := range parent {
		if l.Direct() {
			out = append(out, Link{Record: l.Record, By: ByThread, Evidence: cited, Strength: strengthThread})
		}
	}
	return out
}

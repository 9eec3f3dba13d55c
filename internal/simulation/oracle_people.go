package simulation

import (
	"slices"
	"time"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider/providertest"
)

// before reports whether a copy was received before the window of so many days, which counts from when its mailbox was connected.
func (l lying) before(days int) bool {
	return days >= 0 && l.copy.Received.Before(l.box.Connected.Add(-time.Duration(days)*24*time.Hour))
}

// tooOld: the copy need not be read, as it was received before what is to be imported.
func (k *oracle) tooOld(l lying) bool { return l.before(k.t.Rules.ImportDays) }

// aside: the copy need not be read, as people come first and nobody in it is one of the CRM.
func (k *oracle) aside(l lying) bool {
	return k.t.Rules.PeopleFirst && l.box.Kind == providertest.Gmail && l.copy.Received.Before(l.box.Connected) && !k.acquainted(l)
}

// acquainted: somebody in it is a person of the CRM, or of an account. Nobody searches for an address anew that is no own one any more.
func (k *oracle) acquainted(l lying) bool {
	return slices.ContainsFunc(whom(l), func(p string) bool {
		return !k.everOwn(p) && !k.excluded(p) && (k.people(p) != nil || k.accounts(domainOf(p)) != nil)
	})
}

// whom are those whom the copy names.
func whom(l lying) []string {
	all := append(slices.Concat(l.copy.Mail.To, l.copy.Mail.Cc), l.copy.Mail.From)
	if l.copy.Sent {
		all = append(all, l.copy.Mail.Bcc...)
	}
	return all
}

// unwanted: the copy must not be read. It was never to be imported, or people came first all the time, nobody in it was ever one of the CRM, and nothing
// told of it since.
func (k *oracle) unwanted(l lying) bool {
	if l.before(l.box.Days) {
		return true
	}
	if !l.box.First || l.box.Stirred || l.copy.Stirred || l.box.Kind != providertest.Gmail || !l.copy.Received.Before(l.box.Connected) {
		return false
	}
	return !slices.ContainsFunc(whom(l), func(p string) bool {
		return slices.ContainsFunc(k.t.Records, func(r *Record) bool {
			return r.Kind != linker.Opportunity && slices.ContainsFunc(r.Had, func(key string) bool { return same(key, p) || within(p, []string{key}) })
		})
	})
}

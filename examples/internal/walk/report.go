package walk

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint"
)

// Import is what became of a mailbox, as -json prints it.
type Import struct {
	Mailbox      string         `json:"mailbox"`
	Messages     int            `json:"messages"`
	Dispositions map[string]int `json:"dispositions"`
	Emails       int            `json:"emails"`
	Links        int            `json:"links"`
	Completeness float64        `json:"completeness"`
	Listed       int            `json:"listed"`
	Repaired     int            `json:"repaired"`
	Seconds      float64        `json:"seconds"`
}

// NewImport counts: st is of after proof, saved what the CRM has.
func NewImport(st emailint.Status, proof emailint.Reconciliation, saved []emailint.Email, took time.Duration) Import {
	i := Import{Mailbox: st.Connection.Address, Messages: st.Counts.Total, Dispositions: map[string]int{}, Completeness: st.Completeness(),
		Listed: proof.Listed, Repaired: proof.Repaired, Seconds: took.Seconds()}
	for f, n := range st.Counts.Fates {
		i.Dispositions[string(f)] = n
	}
	i.Emails, i.Links = Linked(saved)
	return i
}

// Linked counts the emails that have links, and these.
func Linked(saved []emailint.Email) (emails, links int) {
	for _, e := range saved {
		if len(e.Links) > 0 {
			emails++
			links += len(e.Links)
		}
	}
	return emails, links
}

// Report prints it.
func (s Steps) Report(i Import) {
	s.Say("%d messages in %.1f s; every one has a fate:", i.Messages, i.Seconds)
	s.Fates(i.Dispositions)
	s.Say("%d emails saved with %d links", i.Emails, i.Links)
	s.Say("Compared with the mailbox, which holds %d: %d had been missed.", i.Listed, i.Repaired)
	s.Say("Completeness: %.1f %% of what was to be read", 100*i.Completeness)
}

var meaning = map[string]string{
	"linked": "in the CRM", "unmatched": "nobody we know takes part", "excluded": "kept out by a rule",
	"internal": "among own people", "automated": "written by a machine, matches nobody", "pending": "not decided yet",
	"draft": "a draft", "spam": "in junk", "trash": "in trash", "failed": "could not be read, tried again", "gone": "left before it was read",
	"unread": "listed, not read: too old, or the search for the CRM's people did not find it",
}

// Fates prints how many messages have which fate, the most frequent first.
func (s Steps) Fates(n map[string]int) {
	for _, f := range slices.SortedFunc(maps.Keys(n), func(a, b string) int { return cmp.Or(n[b]-n[a], cmp.Compare(a, b)) }) {
		if n[f] > 0 {
			s.Say("%6d  %-10s %s", n[f], f, meaning[f])
		}
	}
}

// WriteJSON prints a report for programs.
func WriteJSON(w io.Writer, report any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(report)
}

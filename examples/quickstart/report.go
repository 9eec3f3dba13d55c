package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/examples/internal/walk"
	"github.com/intellicon/email-integration/linker"
)

// report is what -json prints.
type report struct {
	Messages        int            `json:"messages"`
	Dispositions    map[string]int `json:"dispositions"`
	Emails          int            `json:"emails"`
	Links           int            `json:"links"`
	LinksBy         map[string]int `json:"links_by"`
	ContactsCreated int            `json:"contacts_created"`
	Duplicates      int            `json:"duplicates"`
	Completeness    float64        `json:"completeness"`
	Mailbox         mailbox        `json:"mailbox"`
	Seconds         float64        `json:"seconds"`
}

// mailbox is what emailint.Reconcile found in the mailbox itself.
type mailbox struct {
	Listed    int `json:"listed"`
	Read      int `json:"read"`
	Linked    int `json:"linked"`
	Delivered int `json:"delivered"`
	Repaired  int `json:"repaired"`
}

func newReport(st emailint.Status, proof emailint.Reconciliation, crm *emailinttest.MemCRM, seconds float64) report {
	r := report{Messages: st.Counts.Total, Dispositions: map[string]int{}, LinksBy: map[string]int{
		string(linker.ByAddress): 0, string(linker.ByDomain): 0, string(linker.ByThread): 0, string(linker.ByRelated): 0},
		ContactsCreated: crm.Created(organisation), Completeness: proof.Completeness(), Seconds: seconds,
		Mailbox: mailbox{proof.Listed, proof.Read, proof.Linked, proof.Delivered, proof.Repaired}}
	for f, n := range st.Counts.Fates {
		r.Dispositions[string(f)] = n
	}
	ids := map[string]string{}
	for _, e := range crm.Emails(organisation) {
		if len(e.Links) == 0 {
			continue
		}
		r.Emails++
		r.Links += len(e.Links)
		for _, l := range e.Links {
			r.LinksBy[string(l.By)]++
		}
		// One message under two ids: the same Message-ID, sender, date and subject.
		if m := e.Message; m.MessageID != "" {
			from := ""
			if len(m.From) > 0 {
				from = string(m.From[0].Key)
			}
			key := strings.Join([]string{m.MessageID, from, m.Date.UTC().String(), m.Subject}, "\x00")
			if other, ok := ids[key]; ok && other != e.ID {
				r.Duplicates++
			}
			ids[key] = e.ID
		}
	}
	return r
}

func (r report) write(w io.Writer) {
	fmt.Fprintf(w, "\n%d messages read in %.1f s; every one has a fate:\n", r.Messages, r.Seconds)
	walk.Steps{Out: w}.Fates(r.Dispositions)
	fmt.Fprintf(w, "\n%d emails saved with %d links:", r.Emails, r.Links)
	for _, by := range []linker.How{linker.ByAddress, linker.ByDomain, linker.ByThread, linker.ByRelated} {
		fmt.Fprintf(w, " %d by %s;", r.LinksBy[string(by)], by)
	}
	fmt.Fprintf(w, " %d contacts created, %d duplicates.\n", r.ContactsCreated, r.Duplicates)
	fmt.Fprintf(w, "Compared with the mailbox: it holds %d, of which %d are read; %d are linked and %d of these delivered.\nCompleteness: %.1f %%\n",
		r.Mailbox.Listed, r.Mailbox.Read, r.Mailbox.Linked, r.Mailbox.Delivered, 100*r.Completeness)
}

// timeline prints the mails of one record, and some links with their reasons.
func timeline(w io.Writer, crm *emailinttest.MemCRM) {
	es := crm.Emails(organisation)
	count := map[linker.Record]int{}
	for _, e := range es {
		for _, l := range e.Links {
			count[l.Record]++
		}
	}
	var best linker.Record
	for r, n := range count {
		better := (r.Kind == linker.Opportunity) != (best.Kind == linker.Opportunity)
		switch {
		case best.ID == "", better && r.Kind == linker.Opportunity, !better && (n > count[best] || n == count[best] && r.ID < best.ID):
			best = r
		}
	}
	if best.ID == "" {
		return
	}
	fmt.Fprintf(w, "\nThe last mails of the %s %q:\n", best.Kind, crm.Name(organisation, best))
	var mine []emailint.Email
	for _, e := range es {
		if slices.ContainsFunc(e.Links, func(l linker.Link) bool { return l.Record == best }) {
			mine = append(mine, e)
		}
	}
	for _, e := range mine[max(0, len(mine)-6):] {
		from := ""
		if len(e.Message.From) > 0 {
			from = e.Message.From[0].Addr
		}
		fmt.Fprintf(w, "  %s  %-36.36s %s\n", e.When.Format("2006-01-02 15:04"), from, e.Message.Subject)
		walk.Steps{Out: w}.Links(crm, organisation, e)
	}
}

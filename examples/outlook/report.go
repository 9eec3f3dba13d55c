package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/intellicon/email-integration/provider"
)

// report is what -json prints.
type report struct {
	Mailbox      string         `json:"mailbox"`
	Messages     int            `json:"messages"`
	Dispositions map[string]int `json:"dispositions"`
	Emails       int            `json:"emails"`
	Links        int            `json:"links"`
	Completeness float64        `json:"completeness"`
	Listed       int            `json:"listed"`
	Repaired     int            `json:"repaired"`
	Requests     int64          `json:"requests"`
	Seconds      float64        `json:"seconds"`
}

// report compares the ledger with the mailbox, and counts.
func (d *demo) report(ctx context.Context, start time.Time) (r report, err error) {
	// "Synced" is not what the ledger says of itself: the mailbox is listed and compared.
	proof, err := d.eng.Reconcile(ctx, organisation, d.conn.ID, provider.Window{})
	if err != nil {
		return r, err
	}
	st, err := d.eng.Status(ctx, organisation, d.conn.ID)
	if err != nil {
		return r, err
	}
	r = report{Mailbox: d.conn.Address, Messages: st.Counts.Total, Dispositions: map[string]int{}, Completeness: st.Completeness(),
		Listed: proof.Listed, Repaired: proof.Repaired, Requests: d.made.n.Load(), Seconds: time.Since(start).Seconds()}
	for f, n := range st.Counts.Fates {
		r.Dispositions[string(f)] = n
	}
	for _, e := range d.mem.CRM.Emails(organisation) {
		if len(e.Links) > 0 {
			r.Emails++
			r.Links += len(e.Links)
		}
	}
	return r, nil
}

func (r report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

var meaning = map[string]string{
	"linked": "in the CRM", "unmatched": "nobody we know takes part", "internal": "among own people", "automated": "written by a machine, matches nobody",
	"unread": "older than what was to be imported",
}

func (r report) write(w io.Writer) {
	fmt.Fprintf(w, "   %d messages in %.1f s; every one has a fate:\n", r.Messages, r.Seconds)
	for _, f := range slices.Sorted(maps.Keys(r.Dispositions)) {
		if r.Dispositions[f] > 0 {
			fmt.Fprintf(w, "   %6d  %-10s %s\n", r.Dispositions[f], f, meaning[f])
		}
	}
	fmt.Fprintf(w, "   %d emails saved with %d links\n", r.Emails, r.Links)
	fmt.Fprintf(w, "   Compared with the mailbox, which holds %d: %d had been missed.\n   Completeness: %.1f %% of what was to be read\n", r.Listed, r.Repaired, 100*r.Completeness)
}

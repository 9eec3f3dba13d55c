package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/provider"
)

// price is a provider.Plan as -json prints it.
type price struct {
	Messages int     `json:"messages"`
	AtLeast  bool    `json:"at_least,omitempty"`
	Units    int     `json:"units"`
	Seconds  float64 `json:"seconds"`
}

func priceOf(p provider.Plan) price { return price{p.Messages, p.AtLeast, p.Units, p.Time.Seconds()} }

func (p price) String() string {
	most := ""
	if p.AtLeast {
		most = "at least "
	}
	return fmt.Sprintf("%s%d messages, %d units, %s", most, p.Messages, p.Units, time.Duration(p.Seconds*float64(time.Second)).Round(time.Second))
}

// report is what -json prints.
type report struct {
	Mailbox string `json:"mailbox"`
	Plan    struct {
		Everything price `json:"everything"`
		People     price `json:"people"`
		Addresses  int   `json:"addresses"`
	} `json:"plan"`
	Messages     int            `json:"messages"`
	Dispositions map[string]int `json:"dispositions"`
	Emails       int            `json:"emails"`
	Links        int            `json:"links"`
	Completeness float64        `json:"completeness"`
	Listed       int            `json:"listed"`
	Repaired     int            `json:"repaired"`
	Units        int64          `json:"units"`
	Seconds      float64        `json:"seconds"`
}

func (d *demo) sayPlan(p emailint.ImportPlan, people bool) {
	d.title("What the import would cost")
	d.say("everything: %s", priceOf(p.Everything))
	if people {
		d.say("mail with the %d addresses and domains of the CRM: %s", p.Addresses, priceOf(p.People))
	} else {
		d.say("there is no CRM (-crm), so everything is read")
	}
	d.units("connecting and planning")
	d.title("Importing")
}

// report compares the ledger with the mailbox, and counts.
func (d *demo) report(ctx context.Context, p emailint.ImportPlan, start time.Time) (r report, err error) {
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
		Listed: proof.Listed, Repaired: proof.Repaired, Units: d.prov.Spent(d.conn.Address), Seconds: time.Since(start).Seconds()}
	r.Plan.Everything, r.Plan.People, r.Plan.Addresses = priceOf(p.Everything), priceOf(p.People), p.Addresses
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
	"unread": "listed, not read: the search for the CRM's people did not find it", "spam": "in spam", "trash": "in the trash",
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

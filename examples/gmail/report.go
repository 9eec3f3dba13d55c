package main

import (
	"fmt"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/examples/internal/walk"
	"github.com/intellicon/email-integration/provider"
)

// report is what -json prints.
type report struct {
	walk.Import
	Plan  plan  `json:"plan"`
	Units int64 `json:"units"`
}

type plan struct {
	Everything price `json:"everything"`
	People     price `json:"people"`
	Addresses  int   `json:"addresses"`
}

func planned(p emailint.ImportPlan) plan {
	return plan{priceOf(p.Everything), priceOf(p.People), p.Addresses}
}

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
	return fmt.Sprintf("%s%d messages, %d quota units, which Google grants in %s", most, p.Messages, p.Units, time.Duration(p.Seconds*float64(time.Second)).Round(time.Second))
}

func (d *demo) sayPlan(p emailint.ImportPlan, people bool) {
	d.Title("What the import would cost")
	d.Say("everything: %s", priceOf(p.Everything))
	if people {
		d.Say("mail with the %d addresses and domains of the CRM: %s", p.Addresses, priceOf(p.People))
		d.Say("The latter is what is read. (What was not used of a minute's units comes first, so a small import does not wait.)")
	} else {
		d.Say("there is no CRM (-crm), so everything is read")
	}
	d.units("connecting and planning")
}

// units says what was used of the quota since it was said last.
func (d *demo) units(what string) {
	n := d.gmail.Spent(d.conn.Address)
	d.Say("Quota units used by %s: %d (a minute has 6000)", what, n-d.used)
	d.used = n
}

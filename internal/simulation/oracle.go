package simulation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// Check computes from what happened what must have come of it, and returns what is otherwise. It is plain and slow on purpose, and shares
// nothing with the engine: each promise has its function, in the order of their numbers (R13 is looked at while it runs, fencing.go).
//
// Two things it takes from what was observed, as they depend on when a worker came by: whether a mail was read before it went, and what an
// email kept of which no copy can be read any more.
func Check(t Truth, o Observed) []Violation {
	k := newOracle(t, o)
	k.rows()
	k.fates()
	k.emails()
	k.agreement()
	k.sends()
	k.inbox()
	k.contacts()
	k.wakes()
	k.hosts()
	return k.found
}

// The promises, as violations name them.
const (
	promiseRow       = "R1 every message has one settled row"
	promiseGone      = "R1 only what is no more is gone"
	promiseErased    = "R1 an erased mailbox leaves no row"
	promiseFate      = "R3 a row has the fate of its mail"
	promiseDropped   = "R5 a dropped mail is out"
	promiseHolders   = "R6 an email is held by the mailboxes that have it"
	promiseLinks     = "R7 an email has the links of its mail"
	promiseOnce      = "R7 a mail is one email"
	promiseAgreement = "R7 state and CRM agree"
	promiseSend      = "R9 a mail is sent once"
	promiseArchive   = "R10 the inbox rule archives new linked mail once"
	promiseContact   = "R11 contacts are made for unknown senders alone"
	promiseWake      = "R12 no wake is lost"
	promiseDeclared  = "R14 a mail that the host had is known again"
	promiseOwn       = "R14 the host's email is one, and stays it"
)

type oracle struct {
	t     Truth
	o     Observed
	found []Violation

	lies map[place]lying // every id that a copy in a living mailbox ever had
	ids  map[*Mail][]string
	bear map[string][]*Mail // by id: the mails that have it as MessageID or Renamed
	held map[*Mail][]lying  // every copy of a mail, in whatever mailbox

	seenRow, readRow map[*Copy]bool // the copy's Message-ID is known; it was decided
	threaded         map[*Copy]bool // what the copy answers is known
	email            map[*Copy]bool // a row of it belongs to an email
	listed           map[*Copy]bool // it has a row

	mailOf map[string]*Mail  // by id of an email
	crm    map[*Mail][]Email // by subject
	state  map[*Mail][]Email // by id of an email of the CRM with its subject, or by a row

	gives map[*Mail]links            // what a mail gives to those that answer it; made by given
	reach map[*Mail]map[string]bool  // made by reached
	words map[*Mail]map[*Record]said // made by said
	tops  map[*Mail]map[string]bool  // made by kept
	right map[*Mail][]decision       // made by wanted
}

// place is where a row says that its item lies.
type place struct {
	conn int64
	item provider.ItemID
}

type lying struct {
	box  *Box
	copy *Copy
}

func newOracle(t Truth, o Observed) *oracle {
	k := &oracle{
		t: t, o: o, lies: map[place]lying{}, ids: map[*Mail][]string{}, bear: map[string][]*Mail{}, held: map[*Mail][]lying{},
		threaded: map[*Copy]bool{}, email: map[*Copy]bool{}, listed: map[*Copy]bool{}, mailOf: map[string]*Mail{},
		seenRow: map[*Copy]bool{}, readRow: map[*Copy]bool{}, crm: map[*Mail][]Email{}, state: map[*Mail][]Email{},
		gives: map[*Mail]links{}, reach: map[*Mail]map[string]bool{}, words: map[*Mail]map[*Record]said{},
		tops: map[*Mail]map[string]bool{}, right: map[*Mail][]decision{},
	}
	for _, m := range t.Mails {
		for _, id := range []string{m.MessageID, m.Renamed} {
			if id != "" && !slices.Contains(k.ids[m], id) {
				k.ids[m] = append(k.ids[m], id)
				k.bear[id] = append(k.bear[id], m)
			}
		}
	}
	for _, b := range t.Boxes {
		for _, c := range b.Copies {
			k.held[c.Mail] = append(k.held[c.Mail], lying{b, c})
			if !b.living() {
				continue
			}
			for _, item := range c.Items {
				k.lies[place{b.Conn, item}] = lying{b, c}
			}
		}
	}
	for _, r := range o.Rows {
		if l, ok := k.lies[place{r.Conn, r.Item}]; ok {
			k.listed[l.copy] = true
			// Of mail aside Gmail tells an id, and nobody reads more.
			k.seenRow[l.copy] = k.seenRow[l.copy] || r.Known || decided(r.Fate)
			k.readRow[l.copy] = k.readRow[l.copy] || decided(r.Fate)
			// Graph's listing shows a Message-ID and no References: of what went before its header was read nobody knows what it answered.
			k.threaded[l.copy] = k.threaded[l.copy] || decided(r.Fate) || r.Cites || r.Known && l.box.Kind != providertest.Graph
			if r.Email != 0 {
				k.email[l.copy] = true
				k.mailOf[strconv.FormatInt(r.Email, 10)] = l.copy.Mail
			}
		}
	}
	for _, e := range o.Emails {
		if i := slices.IndexFunc(t.Mails, func(m *Mail) bool { return m.Subject == e.Subject }); i >= 0 {
			k.crm[t.Mails[i]] = append(k.crm[t.Mails[i]], e)
			k.mailOf[e.ID] = t.Mails[i]
		}
	}
	for _, e := range o.State {
		if m := k.mailOf[e.ID]; m != nil {
			k.state[m] = append(k.state[m], e)
		}
	}
	return k
}

func (k *oracle) violation(promise, format string, args ...any) {
	k.found = append(k.found, Violation(promise+": "+fmt.Sprintf(format, args...)))
}

// living: the engine knows the mailbox and has not been told to forget it.
func (b *Box) living() bool { return b.Conn != 0 && !b.Erased }

// watched: the copy lies where mail is looked for. Gmail's archive is no folder and is looked at as well.
func (c *Copy) watched() bool { return !c.Deleted && !aside(c.Role) }

func aside(r provider.Role) bool {
	return r == provider.RoleJunk || r == provider.RoleTrash || r == provider.RoleDrafts
}

// readable: the engine could read it again. Over IMAP an id ends with the move, and nobody looks into the folders aside.
func (l lying) readable() bool {
	return l.box.living() && !l.copy.Deleted && !(l.box.Kind == providertest.IMAP && aside(l.copy.Role))
}

// present is the id that the copy has now.
func (c *Copy) present() provider.ItemID {
	if c.Deleted || len(c.Items) == 0 {
		return ""
	}
	return c.Items[len(c.Items)-1]
}

// seen: something in a mailbox that isn't erased tells of the mail, or the engine sent it.
func (k *oracle) seen(m *Mail) bool {
	return k.handed(m) && (m.By == nil || m.By.living()) || slices.ContainsFunc(k.held[m], func(l lying) bool { return k.seenRow[l.copy] })
}

// decided: the linker has spoken.
func decided(fate string) bool {
	switch fate {
	case "linked", "unmatched", "excluded", "internal", "automated":
		return true
	}
	return false
}

// last is the record in which a record ended up by merges.
func last(r *Record) *Record {
	for r.Into != nil {
		r = r.Into
	}
	return r
}

// now is what became of a record: itself, the one that it was merged into, nil when that is gone.
func now(r *Record) *Record {
	if r = last(r); r.Deleted {
		return nil
	}
	return r
}

// record is the one that has this id now; nil: none.
func (k *oracle) record(id linker.Record) *Record {
	// One that is made anew under the id of an earlier one comes after it.
	for _, r := range slices.Backward(k.t.Records) {
		if r.Record == id {
			return now(r)
		}
	}
	return nil
}

// same reports whether two addresses are one person's: +tag doesn't count.
func same(a, b string) bool { return a != "" && untagged(a) == untagged(b) }

func untagged(address string) string {
	address = strings.ToLower(address)
	local, domain, ok := strings.Cut(address, "@")
	if !ok {
		return address
	}
	if i := strings.IndexByte(local, '+'); i > 0 {
		local = local[:i]
	}
	return local + "@" + domain
}

func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

// own: a mailbox of the organisation has the address.
func (k *oracle) own(address string) bool {
	return slices.ContainsFunc(k.t.Boxes, func(b *Box) bool { return b.living() && same(b.Address, address) })
}

// excluded: no participant of this address is to match anything.
func (k *oracle) excluded(address string) bool {
	return within(address, k.t.Rules.Excluded) || slices.ContainsFunc(k.t.Rules.Never, func(n string) bool { return same(n, address) })
}

// within reports whether the address lies in one of the domains or below.
func within(address string, domains []string) bool {
	host := domainOf(address)
	return slices.ContainsFunc(domains, func(d string) bool { return host == d || strings.HasSuffix(host, "."+d) })
}

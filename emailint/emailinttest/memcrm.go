package emailinttest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// MemCRM is a CRM in memory: it passes the suite TestCRMStore and is what examples and tests use. One MemCRM serves any
// number of organisations. Safe for concurrent use.
type MemCRM struct {
	mu   sync.Mutex // guards all below
	orgs map[string]*memOrg
}

type memOrg struct {
	holders map[message.Key][]linker.Record
	came    []message.Key // every key that was given to a record, in that order
	related map[linker.Record][]linker.Related
	records map[linker.Record]string        // every record that there was, and its name
	became  map[linker.Record]linker.Record // of those that are no more: where it was merged into, the zero Record when it was deleted
	emails  map[string]crm.Email
	removed map[string]int64
	own     map[string]bool // emails of another integration, by the CRM's own ids
	created int
}

var (
	_ crm.Store         = (*MemCRM)(nil)
	_ crm.Remover       = (*MemCRM)(nil)
	_ crm.AddressLister = (*MemCRM)(nil)
)

// NewMemCRM returns an empty CRM.
func NewMemCRM() *MemCRM { return &MemCRM{orgs: map[string]*memOrg{}} }

func (m *MemCRM) org(org string) *memOrg {
	o := m.orgs[org]
	if o == nil {
		o = &memOrg{
			holders: map[message.Key][]linker.Record{}, related: map[linker.Record][]linker.Related{},
			records: map[linker.Record]string{}, became: map[linker.Record]linker.Record{},
			emails: map[string]crm.Email{}, removed: map[string]int64{}, own: map[string]bool{},
		}
		m.orgs[org] = o
	}
	return o
}

// now returns what a record is today: itself, or where it was merged into.
func (o *memOrg) now(r linker.Record) (linker.Record, bool) {
	if now, ok := o.became[r]; ok {
		return now, now != linker.Record{}
	}
	_, ok := o.records[r]
	return r, ok
}

func (o *memOrg) add(r linker.Record, name string) {
	o.records[r] = name
	delete(o.became, r)
}

// release takes a key off a record.
func (o *memOrg) release(k message.Key, r linker.Record) {
	rs := o.holders[k]
	i := slices.Index(rs, r)
	switch {
	case i < 0:
	case len(rs) == 1:
		delete(o.holders, k)
	default:
		o.holders[k] = slices.Delete(rs, i, i+1)
	}
}

func (o *memOrg) hold(k message.Key, r linker.Record) {
	if !slices.Contains(o.holders[k], r) {
		o.holders[k] = append(o.holders[k], r)
		o.came = append(o.came, k)
	}
}

// Add adds a record that is reached by the given addresses and domains.
func (m *MemCRM) Add(org string, r linker.Record, name string, keys ...message.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	o.add(r, name)
	for _, k := range keys {
		o.hold(k, r)
	}
}

// Relate says that rel hangs on r: an account on a contact, an opportunity on either.
func (m *MemCRM) Relate(org string, r linker.Record, rel linker.Related) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	o.related[r] = append(o.related[r], rel)
	o.add(rel.Record, o.records[rel.Record])
}

// Unrelate takes back Relate: rel does not hang on r any more.
func (m *MemCRM) Unrelate(org string, r, rel linker.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	o.related[r] = slices.DeleteFunc(slices.Clone(o.related[r]), func(x linker.Related) bool { return x.Record == rel })
}

// Date says anew when a record that hangs on others was opened and closed; a zero closed: it is open.
func (m *MemCRM) Date(org string, rel linker.Record, opened, closed time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	for r, rs := range o.related {
		rs = slices.Clone(rs)
		for i := range rs {
			if rs[i].Record == rel {
				rs[i].Opened, rs[i].Closed = opened, closed
			}
		}
		o.related[r] = rs
	}
}

// AddKey gives a record another address or domain.
func (m *MemCRM) AddKey(org string, r linker.Record, k message.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.org(org).hold(k, r)
}

// RemoveKey takes an address or a domain off a record.
func (m *MemCRM) RemoveKey(org string, r linker.Record, k message.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.org(org).release(k, r)
}

// Merge makes from disappear into into, which takes over its addresses and domains, what hangs on it and what it hangs on.
func (m *MemCRM) Merge(org string, from, into linker.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	for r, rs := range o.related {
		i := slices.IndexFunc(rs, func(x linker.Related) bool { return x.Record == from })
		if i < 0 {
			continue
		}
		rs = slices.Clone(rs)
		if slices.ContainsFunc(rs, func(x linker.Related) bool { return x.Record == into }) {
			rs = slices.Delete(rs, i, i+1)
		} else {
			rs[i].Record = into
		}
		o.related[r] = rs
	}
	for _, rel := range o.related[from] {
		if !slices.ContainsFunc(o.related[into], func(x linker.Related) bool { return x.Record == rel.Record }) {
			o.related[into] = append(slices.Clone(o.related[into]), rel)
		}
	}
	delete(o.related, from)
	for r, now := range o.became {
		if now == from {
			o.became[r] = into
		}
	}
	o.became[from] = into
	for k, rs := range o.holders {
		if slices.Contains(rs, from) {
			o.release(k, from)
			o.hold(k, into)
		}
	}
}

// Delete removes a record, and with it whatever was merged into it.
func (m *MemCRM) Delete(org string, r linker.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	if now, _ := o.now(r); now == r {
		o.became[r] = linker.Record{}
	}
	for old, now := range o.became {
		if now == r {
			o.became[old] = linker.Record{}
		}
	}
	delete(o.related, r)
	for on, rs := range o.related {
		o.related[on] = slices.DeleteFunc(slices.Clone(rs), func(x linker.Related) bool { return x.Record == r })
	}
	for k := range o.holders {
		o.release(k, r)
	}
}

// Find implements crm.Store.
func (m *MemCRM) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	if err := ctx.Err(); err != nil {
		return linker.Directory{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	d := linker.Directory{
		Holders: map[message.Key][]linker.Record{}, Related: map[linker.Record][]linker.Related{},
		Now: map[linker.Record]linker.Record{},
	}
	var found []linker.Record
	for _, keys := range [][]message.Key{q.Addresses, q.Domains} {
		for _, k := range keys {
			if rs := o.holders[k]; len(rs) > 0 {
				d.Holders[k] = slices.Clone(rs)
				found = append(found, rs...)
			}
		}
	}
	for _, r := range q.Records {
		if now, ok := o.now(r); ok {
			d.Now[r] = now
			found = append(found, now)
		}
	}
	// Two steps reach the opportunities of a matched contact's account.
	for i := 0; i < len(found); i++ {
		r := found[i]
		if _, done := d.Related[r]; done {
			continue
		}
		for _, rel := range o.related[r] {
			if slices.Contains(q.Related, rel.Kind) {
				d.Related[r] = append(d.Related[r], rel)
				found = append(found, rel.Record)
			}
		}
	}
	return d, nil
}

// Addresses implements crm.AddressLister. A mark is how many keys were given to records before.
func (m *MemCRM) Addresses(ctx context.Context, org, after string, limit int) (who []string, next string, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	n := 0
	if after != "" {
		if n, err = strconv.Atoi(after); err != nil || n < 0 || n > len(o.came) {
			return nil, "", false, fmt.Errorf("emailinttest: %q is no mark of this CRM", after)
		}
	}
	for ; n < len(o.came) && len(who) < limit; n++ {
		if len(o.holders[o.came[n]]) > 0 {
			who = append(who, string(o.came[n]))
		}
	}
	return who, strconv.Itoa(n), n < len(o.came), nil
}

// CreateContacts implements crm.Store.
func (m *MemCRM) CreateContacts(ctx context.Context, org string, cs []crm.NewContact) ([]linker.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	out := make([]linker.Record, len(cs))
next:
	for i, c := range cs {
		for _, r := range o.holders[c.Address] {
			if r.Kind == linker.Contact {
				out[i] = r
				continue next
			}
		}
		r := linker.Record{Kind: linker.Contact, ID: "new:" + string(c.Address)}
		for n := 2; ; n++ { // an id is not given twice, whatever became of the first
			if _, was := o.records[r]; !was {
				break
			}
			r.ID = fmt.Sprintf("new:%s#%d", c.Address, n)
		}
		o.add(r, c.Name)
		o.hold(c.Address, r)
		o.created++
		out[i] = r
	}
	return out, nil
}

// SaveEmails implements crm.Store. Like PostgreSQL it refuses text with a NUL, and names the email.
func (m *MemCRM) SaveEmails(ctx context.Context, org string, es []crm.Email) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	for _, e := range es {
		if e.Revision <= o.removed[e.ID] {
			continue
		}
		if old, ok := o.emails[e.ID]; ok && old.Revision >= e.Revision {
			continue
		}
		o.emails[e.ID] = e
		delete(o.own, e.HostID) // it is this one now
	}
	return nil
}

// Had puts an email in as another integration has left it: under an id of the CRM's own.
func (m *MemCRM) Had(org, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.org(org).own[id] = true
}

// Count returns how many emails an organisation has, those of another integration included.
func (m *MemCRM) Count(org string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.org(org).own) + len(m.org(org).emails)
}

// UpdateEmails implements crm.Store.
func (m *MemCRM) UpdateEmails(ctx context.Context, org string, es []crm.EmailState) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	failed := map[string]error{}
	for _, s := range es {
		old, ok := o.emails[s.ID]
		if !ok {
			failed[s.ID] = crm.ErrUnknownEmail
			continue
		}
		if s.Revision > old.Revision {
			old.EmailState = s
			o.emails[s.ID] = old
		}
	}
	if len(failed) > 0 {
		return &crm.EmailsError{Failed: failed}
	}
	return nil
}

// RemoveEmails implements crm.Remover.
func (m *MemCRM) RemoveEmails(ctx context.Context, org string, es []crm.EmailState) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.org(org)
	for _, s := range es {
		if old, ok := o.emails[s.ID]; ok && old.Revision > s.Revision {
			continue
		}
		delete(o.emails, s.ID)
		o.removed[s.ID] = max(o.removed[s.ID], s.Revision)
	}
	return nil
}

// Emails returns the saved emails of an organisation, oldest first.
func (m *MemCRM) Emails(org string) []crm.Email {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []crm.Email
	for _, e := range m.org(org).emails {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b crm.Email) int {
		if c := a.When.Compare(b.When); c != 0 {
			return c
		}
		return cmpString(a.ID, b.ID)
	})
	return out
}

func cmpString(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// Name returns what a record is called, its id where it has no name.
func (m *MemCRM) Name(org string, r linker.Record) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.org(org).records[r]; n != "" {
		return n
	}
	return r.ID
}

// Created returns how many contacts CreateContacts has made.
func (m *MemCRM) Created(org string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.org(org).created
}

// File is the JSON form of a small CRM.
type File struct {
	Contacts []struct {
		ID, Name string
		Emails   []string
		Account  string
	}
	Accounts []struct {
		ID, Name string
		Domains  []string
	}
	Leads []struct {
		ID, Name string
		Emails   []string
	}
	Opportunities []struct {
		ID, Name, Account string
		Contacts          []string
		Opened, Closed    string // RFC 3339 or YYYY-MM-DD, "" when unknown or open
	}
}

// LoadFile reads a File into the organisation. Every wrong entry is an error that names it; nothing is added then.
func (m *MemCRM) LoadFile(org, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the CRM file: %w", err)
	}
	if err := m.Load(org, b); err != nil {
		return fmt.Errorf("CRM file %s: %w", path, err)
	}
	return nil
}

// Load reads the JSON of a File into the organisation.
func (m *MemCRM) Load(org string, b []byte) error {
	var f File
	if err := strictJSON(b, &f); err != nil {
		return err
	}
	type entry struct {
		r    linker.Record
		name string
		keys []message.Key
	}
	var adds []entry
	type rel struct {
		on linker.Record
		linker.Related
	}
	var rels []rel
	known := map[linker.Record]bool{}
	add := func(what string, kind linker.Kind, id, name string, emails, domains []string) error {
		r := linker.Record{Kind: kind, ID: id}
		if id == "" {
			return fmt.Errorf("%s: id is missing", what)
		}
		if known[r] {
			return fmt.Errorf("%s: id %q stands twice", what, id)
		}
		known[r] = true
		e := entry{r: r, name: name}
		for _, a := range emails {
			k := message.AddressKey(a)
			if k == "" {
				return fmt.Errorf("%s (%s): %q is not an email address", what, id, a)
			}
			e.keys = append(e.keys, k)
		}
		for _, d := range domains {
			k := message.DomainKey(d)
			if k == "" {
				return fmt.Errorf("%s (%s): %q is not a domain", what, id, d)
			}
			e.keys = append(e.keys, k)
		}
		adds = append(adds, e)
		return nil
	}
	for i, a := range f.Accounts {
		if err := add(fmt.Sprintf("accounts[%d]", i), linker.Account, a.ID, a.Name, nil, a.Domains); err != nil {
			return err
		}
	}
	for i, c := range f.Contacts {
		what := fmt.Sprintf("contacts[%d]", i)
		if err := add(what, linker.Contact, c.ID, c.Name, c.Emails, nil); err != nil {
			return err
		}
		if c.Account != "" {
			acc := linker.Record{Kind: linker.Account, ID: c.Account}
			if !known[acc] {
				return fmt.Errorf("%s (%s): account %q is not in accounts", what, c.ID, c.Account)
			}
			rels = append(rels, rel{linker.Record{Kind: linker.Contact, ID: c.ID}, linker.Related{Record: acc}})
		}
	}
	for i, l := range f.Leads {
		if err := add(fmt.Sprintf("leads[%d]", i), linker.Lead, l.ID, l.Name, l.Emails, nil); err != nil {
			return err
		}
	}
	for i, o := range f.Opportunities {
		what := fmt.Sprintf("opportunities[%d]", i)
		if err := add(what, linker.Opportunity, o.ID, o.Name, nil, nil); err != nil {
			return err
		}
		r := linker.Related{Record: linker.Record{Kind: linker.Opportunity, ID: o.ID}}
		var err error
		if r.Opened, err = parseDay(o.Opened); err != nil {
			return fmt.Errorf("%s (%s): opened: %w", what, o.ID, err)
		}
		if r.Closed, err = parseDay(o.Closed); err != nil {
			return fmt.Errorf("%s (%s): closed: %w", what, o.ID, err)
		}
		on := make([]linker.Record, 0, len(o.Contacts)+1)
		if o.Account != "" {
			on = append(on, linker.Record{Kind: linker.Account, ID: o.Account})
		}
		for _, c := range o.Contacts {
			on = append(on, linker.Record{Kind: linker.Contact, ID: c})
		}
		for _, p := range on {
			if !known[p] {
				return fmt.Errorf("%s (%s): %s %q is not in this file", what, o.ID, p.Kind, p.ID)
			}
			rels = append(rels, rel{p, r})
		}
	}
	for _, e := range adds {
		m.Add(org, e.r, e.name, e.keys...)
	}
	for _, r := range rels {
		m.Relate(org, r.on, r.Related)
	}
	return nil
}

func parseDay(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, fmt.Errorf("%q is neither YYYY-MM-DD nor an RFC 3339 time", s)
	}
	return t, nil
}

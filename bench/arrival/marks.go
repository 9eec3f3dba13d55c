package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
)

// marks notes when the engine's calls to what surrounds it returned: the timeline of a mail.
type marks struct {
	mu  sync.Mutex // guards all
	all timeline
}

type mark struct {
	name string
	at   time.Time
}

type timeline []mark

func (m *marks) mark(name string) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, mark{name, now})
}

func (m *marks) reset() timeline {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.all
	m.all = nil
	return all
}

// print shows the steps between the server's word of a mail and its Saved event, each with the median of when it was done.
func (t timeline) print(words []time.Time) {
	steps := map[string]times{}
	for i, word := range words {
		seen := map[string]int{}
		for _, m := range t {
			if m.at.Before(word) {
				continue
			}
			if i+1 < len(words) && !m.at.Before(words[i+1]) {
				break
			}
			seen[m.name]++
			name := m.name
			if n := seen[name]; n > 1 {
				name = fmt.Sprintf("%s (%d)", name, n)
			}
			steps[name] = append(steps[name], m.at.Sub(word))
			if m.name == "Saved" {
				break
			}
		}
	}
	names := make([]string, 0, len(steps))
	for n, ts := range steps {
		if len(ts)*2 > len(words) {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return int(steps[a].at(50) - steps[b].at(50)) })
	fmt.Println("\ntimeline of the mails one by one: milliseconds after the server's word, median, and since the step before")
	before := time.Duration(0)
	for _, n := range names {
		at := steps[n].at(50)
		fmt.Printf("  %7.1f  %+7.1f  %s\n", ms(at), ms(at-before), n)
		before = at
	}
}

// markedProvider marks what the engine asks of the mailbox.
type markedProvider struct {
	*imap.Provider
	m     *marks
	waits chan<- struct{} // receives when the engine is about to wait
}

func (p markedProvider) Open(ctx context.Context, cred []byte) (provider.Mailbox, error) {
	box, err := p.Provider.Open(ctx, cred)
	if err != nil {
		return nil, err
	}
	p.m.mark("mailbox opened")
	return markedMailbox{box.(*imap.Mailbox), p.m, p.waits}, nil
}

type markedMailbox struct {
	*imap.Mailbox
	m     *marks
	waits chan<- struct{}
}

func (b markedMailbox) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	defer b.m.mark("Changes")
	return b.Mailbox.Changes(ctx, c)
}

func (b markedMailbox) Content(ctx context.Context, id provider.ItemID) (*message.Message, error) {
	defer b.m.mark("Content")
	return b.Mailbox.Content(ctx, id)
}

func (b markedMailbox) Wait(ctx context.Context) error {
	defer b.m.mark("Wait returned")
	select {
	case b.waits <- struct{}{}:
	default:
	}
	return b.Mailbox.Wait(ctx)
}

// markedStore marks the transactions that write.
type markedStore struct {
	state.Store
	m *marks
}

func (s markedStore) Wake(ctx context.Context, org string, id int64) error {
	defer s.m.mark("Wake")
	return s.Store.Wake(ctx, org, id)
}

func (s markedStore) Claim(ctx context.Context, worker string, now time.Time, ttl time.Duration) (state.Lease, error) {
	l, err := s.Store.Claim(ctx, worker, now, ttl)
	if err == nil {
		s.m.mark("Claim")
	}
	return l, err
}

func (s markedStore) Renew(ctx context.Context, l state.Lease, now time.Time, ttl time.Duration) (state.Lease, error) {
	defer s.m.mark("Renew")
	return s.Store.Renew(ctx, l, now, ttl)
}

func (s markedStore) CommitPage(ctx context.Context, l state.Lease, p state.Page) (state.Committed, error) {
	defer s.m.mark("CommitPage")
	return s.Store.CommitPage(ctx, l, p)
}

func (s markedStore) Settle(ctx context.Context, l state.Lease, b state.Batch, ss []state.Settlement) ([]state.Settled, error) {
	defer s.m.mark("Settle")
	return s.Store.Settle(ctx, l, b, ss)
}

func (s markedStore) Attempt(ctx context.Context, l state.Lease, ds []state.Delivery) ([]int64, error) {
	defer s.m.mark("Attempt")
	return s.Store.Attempt(ctx, l, ds)
}

func (s markedStore) Done(ctx context.Context, org string, ds []state.Delivery) error {
	defer s.m.mark("Done")
	return s.Store.Done(ctx, org, ds)
}

func (s markedStore) Release(ctx context.Context, l state.Lease, r state.Released) error {
	defer s.m.mark("Release")
	return s.Store.Release(ctx, l, r)
}

// markedCRM marks what the host is asked.
type markedCRM struct {
	crm.Store
	m *marks
}

func (c markedCRM) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	defer c.m.mark("Find")
	return c.Store.Find(ctx, org, q)
}

func (c markedCRM) SaveEmails(ctx context.Context, org string, es []crm.Email) error {
	defer c.m.mark("SaveEmails")
	return c.Store.SaveEmails(ctx, org, es)
}

package failpoint

import (
	"context"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/linker"
)

// hostStore is a process's way to the CRM.
type hostStore struct {
	crm   crm.Store
	p     *Process
	fails func(point string) error // nil: never
}

// What a CRM may be besides.

type remover struct {
	s *hostStore
	r crm.Remover
}

type lister struct {
	s *hostStore
	l crm.ChangeLister
}

var _ crm.Store = (*hostStore)(nil)

// CRM is a process's way to the CRM: a crm.Remover and a crm.ChangeLister too where s is one. fails is asked at each call that is about to take effect, with
// the name of its point; an error is the CRM's answer, and nothing happened. nil: the CRM works. (A call that takes effect and fails is a
// Stop whose Moment is Lost.)
func CRM(s crm.Store, p *Process, fails func(point string) error) crm.Store {
	h := &hostStore{s, p, fails}
	r, removes := s.(crm.Remover)
	l, lists := s.(crm.ChangeLister)
	rr, ll := remover{h, r}, lister{h, l}
	switch {
	case removes && lists:
		return struct {
			*hostStore
			remover
			lister
		}{h, rr, ll}
	case removes:
		return struct {
			*hostStore
			remover
		}{h, rr}
	case lists:
		return struct {
			*hostStore
			lister
		}{h, ll}
	}
	return h
}

// up answers for a CRM that may not work.
func (s *hostStore) up(point string) error {
	if s.fails != nil {
		return s.fails(point)
	}
	return nil
}

func (s *hostStore) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	return get(s.p, "crm.Find", func() (d linker.Directory, err error) {
		if err := s.up("crm.Find"); err != nil {
			return d, err
		}
		return s.crm.Find(ctx, org, q)
	})
}

func (s *hostStore) CreateContacts(ctx context.Context, org string, cs []crm.NewContact) ([]linker.Record, error) {
	return get(s.p, "crm.CreateContacts", func() ([]linker.Record, error) {
		if err := s.up("crm.CreateContacts"); err != nil {
			return nil, err
		}
		return s.crm.CreateContacts(ctx, org, cs)
	})
}

func (s *hostStore) SaveEmails(ctx context.Context, org string, es []crm.Email) error {
	return s.p.pass("crm.SaveEmails", func() error {
		if err := s.up("crm.SaveEmails"); err != nil {
			return err
		}
		return s.crm.SaveEmails(ctx, org, es)
	})
}

func (s *hostStore) UpdateEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return s.p.pass("crm.UpdateEmails", func() error {
		if err := s.up("crm.UpdateEmails"); err != nil {
			return err
		}
		return s.crm.UpdateEmails(ctx, org, es)
	})
}

func (r remover) RemoveEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return r.s.p.pass("crm.RemoveEmails", func() error {
		if err := r.s.up("crm.RemoveEmails"); err != nil {
			return err
		}
		return r.r.RemoveEmails(ctx, org, es)
	})
}

func (l lister) RecordChanges(ctx context.Context, org, since string) (changes []crm.RecordChange, next string, more bool, err error) {
	type answer struct {
		changes []crm.RecordChange
		next    string
		more    bool
	}
	a, err := get(l.s.p, "crm.RecordChanges", func() (a answer, err error) {
		if err := l.s.up("crm.RecordChanges"); err != nil {
			return a, err
		}
		a.changes, a.next, a.more, err = l.l.RecordChanges(ctx, org, since)
		return a, err
	})
	return a.changes, a.next, a.more, err
}

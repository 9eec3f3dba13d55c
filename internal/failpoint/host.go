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

// hostRemover is the way to a CRM that can remove.
type hostRemover struct {
	*hostStore
	remover crm.Remover
}

// hostLister is the way to a CRM that can be asked for changes, and hostBoth to one that can do both.
type hostLister struct {
	*hostStore
	lister crm.ChangeLister
}

type hostBoth struct {
	hostRemover
	listing hostLister
}

var (
	_ crm.Store        = (*hostStore)(nil)
	_ crm.Remover      = hostRemover{}
	_ crm.ChangeLister = hostLister{}
	_ crm.Remover      = hostBoth{}
	_ crm.ChangeLister = hostBoth{}
)

// CRM is a process's way to the CRM: a crm.Remover and a crm.ChangeLister too where s is one. fails is asked at each call that is about to take effect, with
// the name of its point; an error is the CRM's answer, and nothing happened. nil: the CRM works. (A call that takes effect and fails is a
// Stop whose Moment is Lost.)
func CRM(s crm.Store, p *Process, fails func(point string) error) crm.Store {
	h := &hostStore{s, p, fails}
	r, removes := s.(crm.Remover)
	l, lists := s.(crm.ChangeLister)
	switch {
	case removes && lists:
		return hostBoth{hostRemover{h, r}, hostLister{h, l}}
	case removes:
		return hostRemover{h, r}
	case lists:
		return hostLister{h, l}
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

func (s hostRemover) RemoveEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return s.p.pass("crm.RemoveEmails", func() error {
		if err := s.up("crm.RemoveEmails"); err != nil {
			return err
		}
		return s.remover.RemoveEmails(ctx, org, es)
	})
}

func (s hostLister) RecordChanges(ctx context.Context, org, since string) (cs []crm.RecordChange, next string, more bool, err error) {
	err = s.p.pass("crm.RecordChanges", func() error {
		if err := s.up("crm.RecordChanges"); err != nil {
			return err
		}
		cs, next, more, err = s.lister.RecordChanges(ctx, org, since)
		return err
	})
	if err != nil {
		return nil, "", false, err
	}
	return cs, next, more, nil
}

func (s hostBoth) RecordChanges(ctx context.Context, org, since string) ([]crm.RecordChange, string, bool, error) {
	return s.listing.RecordChanges(ctx, org, since)
}

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

var (
	_ crm.Store         = (*hostStore)(nil)
	_ crm.Remover       = (*hostStore)(nil)
	_ crm.ChangeLister  = (*hostStore)(nil)
	_ crm.AddressLister = (*hostStore)(nil)
)

// CRM is a process's way to the CRM, with the optional powers that s has (package power). fails is asked at each call that is about to take effect, with
// the name of its point; an error is the CRM's answer, and nothing happened. nil: the CRM works. (A call that takes effect and fails is a
// Stop whose Moment is Lost.)
func CRM(s crm.Store, p *Process, fails func(point string) error) crm.Store {
	return &hostStore{s, p, fails}
}

// Unwrap says what the CRM can do besides.
func (s *hostStore) Unwrap() crm.Store { return s.crm }

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

func (s *hostStore) RemoveEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return s.p.pass("crm.RemoveEmails", func() error {
		if err := s.up("crm.RemoveEmails"); err != nil {
			return err
		}
		return s.crm.(crm.Remover).RemoveEmails(ctx, org, es)
	})
}

func (s *hostStore) RecordChanges(ctx context.Context, org, since string) (cs []crm.RecordChange, next string, more bool, err error) {
	err = s.p.pass("crm.RecordChanges", func() error {
		if err := s.up("crm.RecordChanges"); err != nil {
			return err
		}
		cs, next, more, err = s.crm.(crm.ChangeLister).RecordChanges(ctx, org, since)
		return err
	})
	if err != nil {
		return nil, "", false, err
	}
	return cs, next, more, nil
}

func (s *hostStore) Addresses(ctx context.Context, org, after string, limit int) (who []string, next string, more bool, err error) {
	err = s.p.pass("crm.Addresses", func() error {
		if err := s.up("crm.Addresses"); err != nil {
			return err
		}
		who, next, more, err = s.crm.(crm.AddressLister).Addresses(ctx, org, after, limit)
		return err
	})
	if err != nil {
		return nil, "", false, err
	}
	return who, next, more, nil
}

package crash

import (
	"context"
	"errors"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/linker"
)

// errDown is what a CRM answers that does not work.
var errDown = errors.New("crash: the CRM is down")

// hostStore is a process's way to the CRM. Every optional power is offered, as MemCRM has them all.
type hostStore struct {
	crm  crm.Store
	p    *Process
	down func() bool // nil: never
	// refuses is asked by SaveEmails; true: it fails. nil: never.
	refuses func() bool
}

var (
	_ crm.Store   = (*hostStore)(nil)
	_ crm.Remover = (*hostStore)(nil)
)

// up answers for a CRM that may be down.
func (s *hostStore) up() error {
	if s.down != nil && s.down() {
		return errDown
	}
	return nil
}

func (s *hostStore) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	return get(s.p, "crm.Find", func() (d linker.Directory, err error) {
		if err := s.up(); err != nil {
			return d, err
		}
		return s.crm.Find(ctx, org, q)
	})
}

func (s *hostStore) CreateContacts(ctx context.Context, org string, cs []crm.NewContact) ([]linker.Record, error) {
	return get(s.p, "crm.CreateContacts", func() ([]linker.Record, error) {
		if err := s.up(); err != nil {
			return nil, err
		}
		return s.crm.CreateContacts(ctx, org, cs)
	})
}

func (s *hostStore) SaveEmails(ctx context.Context, org string, es []crm.Email) error {
	return s.p.pass("crm.SaveEmails", func() error {
		if err := s.up(); err != nil {
			return err
		}
		if s.refuses != nil && s.refuses() {
			return errors.New("crash: the CRM refuses a save")
		}
		return s.crm.SaveEmails(ctx, org, es)
	})
}

func (s *hostStore) UpdateEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return s.p.pass("crm.UpdateEmails", func() error {
		if err := s.up(); err != nil {
			return err
		}
		return s.crm.UpdateEmails(ctx, org, es)
	})
}

func (s *hostStore) RemoveEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return s.p.pass("crm.RemoveEmails", func() error {
		if err := s.up(); err != nil {
			return err
		}
		return s.crm.(crm.Remover).RemoveEmails(ctx, org, es)
	})
}

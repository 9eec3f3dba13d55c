package simulation

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/linker"
)

type crmEmail = crm.Email

// trouble is what a call of the CRM meets.
type trouble string

const (
	failsBefore trouble = "before its effect"
	failsAfter  trouble = "after its effect"
	refusesOne  trouble = "for one email that it names" // of SaveEmails and UpdateEmails; others fail before
)

var errCRM = errors.New("simulation: the CRM does not work")

// hostStore is the host's CRM: MemCRM, whose calls may fail, and which the truth knows of.
type hostStore struct{ w *world }

// hostStore returns the CRM with the powers that it has in this run.
func (w *world) hostStore() crm.Store {
	s := &hostStore{w}
	switch {
	case w.cfg.Remover && w.cfg.Pull:
		return struct {
			*hostStore
			remover
			lister
		}{s, remover{s}, lister{s}}
	case w.cfg.Remover:
		return struct {
			*hostStore
			remover
		}{s, remover{s}}
	case w.cfg.Pull:
		return struct {
			*hostStore
			lister
		}{s, lister{s}}
	}
	return s
}

// call lets the next trouble happen, if there is any.
func (s *hostStore) call(effect func(t trouble) error) error {
	w := s.w
	if len(w.crmTrouble) == 0 {
		return effect("")
	}
	t := w.crmTrouble[0]
	w.crmTrouble = w.crmTrouble[1:]
	w.count["calls of the CRM that failed "+string(t)]++
	switch t {
	case failsBefore:
		return errCRM
	case failsAfter:
		if err := effect(""); err != nil {
			return err
		}
		return errCRM
	}
	return effect(t)
}

func (s *hostStore) Find(ctx context.Context, org string, q linker.Query) (d linker.Directory, err error) {
	err = s.call(func(t trouble) error {
		if t != "" {
			return errCRM
		}
		d, err = s.w.crm.Find(ctx, org, q)
		return err
	})
	if err != nil {
		return linker.Directory{}, err
	}
	return d, nil
}

func (s *hostStore) CreateContacts(ctx context.Context, org string, cs []crm.NewContact) (rs []linker.Record, err error) {
	w := s.w
	err = s.call(func(t trouble) error {
		if t != "" {
			return errCRM
		}
		if rs, err = w.crm.CreateContacts(ctx, org, cs); err != nil {
			return err
		}
		for i, r := range rs {
			if w.record(r) == nil {
				a := string(cs[i].Address)
				w.truth.Records = append(w.truth.Records, &Record{Record: r, Keys: []string{a}, Had: []string{a}, Created: true, Address: a, Since: w.clock})
				w.count["contacts created"]++
				w.trace("the contact %s is made for %s", r.ID, a)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rs, nil
}

// told notes which emails the CRM was told to have no links.
func (s *hostStore) told(e crm.EmailState) {
	if len(e.Links) == 0 {
		s.w.bare[e.ID] = true
	}
}

func (s *hostStore) SaveEmails(ctx context.Context, org string, es []crm.Email) error {
	s.w.count["emails saved"] += len(es)
	for _, e := range es {
		s.told(e.EmailState)
		s.hosted(e.EmailState, true)
	}
	defer s.w.own()
	return s.call(func(t trouble) error {
		if t == "" {
			return s.w.crm.SaveEmails(ctx, org, es)
		}
		if err := s.w.crm.SaveEmails(ctx, org, es[1:]); err != nil {
			return err
		}
		return &crm.EmailsError{Failed: map[string]error{es[0].ID: errCRM}}
	})
}

func (s *hostStore) UpdateEmails(ctx context.Context, org string, es []crm.EmailState) error {
	s.w.count["emails updated"] += len(es)
	for _, e := range es {
		s.told(e)
		s.hosted(e, false)
	}
	defer s.w.own()
	return s.call(func(t trouble) error {
		if t == "" {
			return s.w.crm.UpdateEmails(ctx, org, es)
		}
		failed := map[string]error{es[0].ID: errCRM}
		var named *crm.EmailsError
		if err := s.w.crm.UpdateEmails(ctx, org, es[1:]); errors.As(err, &named) {
			for id, err := range named.Failed {
				failed[id] = err
			}
		} else if err != nil {
			return err
		}
		return &crm.EmailsError{Failed: failed}
	})
}

// Addresses implements crm.AddressLister.
func (s *hostStore) Addresses(ctx context.Context, org, after string, limit int) (who []string, next string, more bool, err error) {
	err = s.call(func(t trouble) error {
		if t != "" {
			return errCRM
		}
		who, next, more, err = s.w.crm.Addresses(ctx, org, after, min(limit, 3)) // small pages
		return err
	})
	if err != nil {
		return nil, "", false, err
	}
	s.w.count["addresses that came first"] += len(who)
	return who, next, more, nil
}

type remover struct{ s *hostStore }

func (r remover) RemoveEmails(ctx context.Context, org string, es []crm.EmailState) error {
	r.s.w.count["emails removed"] += len(es)
	for _, e := range es {
		r.s.told(crm.EmailState{ID: e.ID})
	}
	defer r.s.w.own()
	return r.s.call(func(t trouble) error {
		if t != "" {
			return errCRM
		}
		return r.s.w.crm.RemoveEmails(ctx, org, es)
	})
}

type lister struct{ s *hostStore }

// RecordChanges gives what changed in small pages. A mark is the number of changes up to it.
func (l lister) RecordChanges(ctx context.Context, org, since string) (cs []emailint.RecordChange, next string, more bool, err error) {
	w := l.s.w
	err = l.s.call(func(t trouble) error {
		if t != "" {
			return errCRM
		}
		if since == "" {
			next = strconv.Itoa(len(w.told))
			return nil
		}
		n, err := strconv.Atoi(since)
		if err != nil || n > len(w.told) {
			return errors.New("simulation: no mark of ours: " + since)
		}
		to := min(n+2, len(w.told))
		cs, next, more = slices.Clone(w.told[n:to]), strconv.Itoa(to), to < len(w.told)
		w.count["changes pulled"] += len(cs)
		return nil
	})
	if err != nil {
		return nil, "", false, err
	}
	return cs, next, more, nil
}

// tell tells the engine what changed and was not told yet.
func (h *caller) tell() error {
	w := h.w
	if len(w.untold) == 0 || w.cfg.Pull {
		return nil
	}
	cs := w.untold
	w.untold = nil
	w.count["changes told"] += len(cs)
	return h.call("RecordsChanged", func(p *process) error { return p.engine.RecordsChanged(w.ctx, org, cs...) })
}

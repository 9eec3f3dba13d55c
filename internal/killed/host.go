package killed

import (
	"context"
	"errors"
	"net"
	"net/rpc"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/linker"
)

// Open opens a state by its address, which an environment variable can hold: a file, or the URL of a PostgreSQL and a schema behind a space.
func Open(ctx context.Context, address string) (state.Store, error) {
	url, schema, ok := strings.Cut(address, " ")
	if !ok {
		return sqlite.Open(ctx, address)
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	s, err := postgres.Open(ctx, pool, &postgres.Options{Schema: schema})
	if err != nil {
		pool.Close()
		return nil, err
	}
	return pooled{s, pool}, nil
}

type pooled struct {
	*postgres.Store
	pool *pgxpool.Pool
}

func (p pooled) Close() error {
	defer p.pool.Close()
	return p.Store.Close()
}

// Serve serves what outlives the processes, as methods of net/rpc, at an address of this machine until end is called.
func Serve(services map[string]any) (address string, end func(), err error) {
	srv := rpc.NewServer()
	for name, s := range services {
		if err := srv.RegisterName(name, s); err != nil {
			return "", nil, err
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // it is closed
			}
			go srv.ServeConn(conn) // until its process ends
		}
	}()
	return ln.Addr().String(), func() { ln.Close() }, nil //nolint:errcheck // nothing is written by it
}

// CRM is a CRM that is served, as "CRM". Its methods are net/rpc's.
type CRM struct {
	Store interface {
		crm.Store
		crm.Remover
	}
	// Called is called for each call: with a function that carries it out, which it may delay, and not call at all. nil: the call is carried out.
	Called func(do func())
}

// Call is what a method of a CRM is given.
type Call struct {
	Org    string
	Query  linker.Query
	New    []crm.NewContact
	Emails []crm.Email
	States []crm.EmailState
}

// Answer is what it answers.
type Answer struct {
	Directory linker.Directory
	Records   []linker.Record
	Failed    map[string]string // by id; the text of crm.ErrUnknownEmail is that error
}

func (c *CRM) do(a *Answer, f func() error) (err error) {
	run := func() { err = f() }
	if c.Called != nil {
		c.Called(run)
	} else {
		run()
	}
	var some *crm.EmailsError
	if errors.As(err, &some) {
		a.Failed = map[string]string{}
		for id, e := range some.Failed {
			a.Failed[id] = e.Error()
		}
		err = nil
	}
	return err
}

// Find is crm.Store's.
func (c *CRM) Find(in Call, out *Answer) error {
	return c.do(out, func() (err error) {
		out.Directory, err = c.Store.Find(context.Background(), in.Org, in.Query)
		return err
	})
}

// CreateContacts is crm.Store's.
func (c *CRM) CreateContacts(in Call, out *Answer) error {
	return c.do(out, func() (err error) {
		out.Records, err = c.Store.CreateContacts(context.Background(), in.Org, in.New)
		return err
	})
}

// SaveEmails is crm.Store's.
func (c *CRM) SaveEmails(in Call, out *Answer) error {
	return c.do(out, func() error { return c.Store.SaveEmails(context.Background(), in.Org, in.Emails) })
}

// UpdateEmails is crm.Store's.
func (c *CRM) UpdateEmails(in Call, out *Answer) error {
	return c.do(out, func() error { return c.Store.UpdateEmails(context.Background(), in.Org, in.States) })
}

// RemoveEmails is crm.Remover's.
func (c *CRM) RemoveEmails(in Call, out *Answer) error {
	return c.do(out, func() error { return c.Store.RemoveEmails(context.Background(), in.Org, in.States) })
}

// Remote is a CRM in another process: a crm.Store.
type Remote struct{ Client *rpc.Client }

var (
	_ crm.Store   = Remote{}
	_ crm.Remover = Remote{}
)

func (r Remote) call(method string, in Call) (out Answer, err error) {
	if err = r.Client.Call("CRM."+method, in, &out); err == nil && len(out.Failed) > 0 {
		e := &crm.EmailsError{Failed: map[string]error{}}
		for id, text := range out.Failed {
			e.Failed[id] = errors.New(text)
			if text == crm.ErrUnknownEmail.Error() {
				e.Failed[id] = crm.ErrUnknownEmail
			}
		}
		err = e
	}
	return out, err
}

// Find implements crm.Store.
func (r Remote) Find(_ context.Context, org string, q linker.Query) (linker.Directory, error) {
	a, err := r.call("Find", Call{Org: org, Query: q})
	return a.Directory, err
}

// CreateContacts implements crm.Store.
func (r Remote) CreateContacts(_ context.Context, org string, cs []crm.NewContact) ([]linker.Record, error) {
	a, err := r.call("CreateContacts", Call{Org: org, New: cs})
	return a.Records, err
}

// SaveEmails implements crm.Store.
func (r Remote) SaveEmails(_ context.Context, org string, es []crm.Email) error {
	_, err := r.call("SaveEmails", Call{Org: org, Emails: es})
	return err
}

// UpdateEmails implements crm.Store.
func (r Remote) UpdateEmails(_ context.Context, org string, es []crm.EmailState) error {
	_, err := r.call("UpdateEmails", Call{Org: org, States: es})
	return err
}

// RemoveEmails implements crm.Remover.
func (r Remote) RemoveEmails(_ context.Context, org string, es []crm.EmailState) error {
	_, err := r.call("RemoveEmails", Call{Org: org, States: es})
	return err
}

package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
	"github.com/intellicon/email-integration/emailint/state/statetest"
)

func connect(t testing.TB) *postgrestest.Database {
	t.Helper()
	return connectWith(t, nil)
}

func connectWith(t testing.TB, tracer pgx.QueryTracer) *postgrestest.Database {
	t.Helper()
	d, err := postgrestest.Connect(t.Context(), postgrestest.URL(t), 0, tracer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func open(t testing.TB, d *postgrestest.Database) state.Store {
	t.Helper()
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The suite, and then how its statements are planned on a database with mail.
func TestStore(t *testing.T) {
	c := &collector{all: map[string]bool{}}
	d := connectWith(t, c)
	t.Run("suite", func(t *testing.T) {
		statetest.Run(t, func(t *testing.T) state.Store { return open(t, d) })
	})
	if whole() && !t.Failed() {
		t.Run("plans", func(t *testing.T) { c.plans(t, d.Pool()) })
	}
}

func BenchmarkStore(b *testing.B) {
	d := connect(b)
	statetest.Benchmarks(b, func(b *testing.B) state.Store { return open(b, d) })
}

// Each has a pool of its own, as two processes have.
func TestSharedSchema(t *testing.T) {
	ds := []*postgrestest.Database{connect(t), connect(t)}
	statetest.RunShared(t, func(t *testing.T) (a, b state.Store) {
		o := &postgres.Options{Schema: postgrestest.Name()}
		var ss []state.Store
		for _, d := range ds {
			s, err := postgres.Open(t.Context(), d.Pool(), o)
			if err != nil {
				t.Fatal(err)
			}
			ss = append(ss, s)
		}
		t.Cleanup(func() {
			if err := postgrestest.Drop(context.Background(), ds[0].Pool(), o.Schema); err != nil {
				t.Error(err)
			}
		})
		return ss[0], ss[1]
	})
}

package postgres_test

import (
	"testing"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
	"github.com/intellicon/email-integration/emailint/state/statetest"
)

func connect(t testing.TB) *postgrestest.Database {
	t.Helper()
	d, err := postgrestest.Connect(t.Context(), postgrestest.URL(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
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

func TestStore(t *testing.T) {
	d := connect(t)
	statetest.Run(t, func(t *testing.T) state.Store { return open(t, d) })
}

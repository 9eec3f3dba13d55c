package postgres_test

import (
	"context"
	"log"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/intellicon/email-integration/emailint/state/postgres"
)

// The host has its pool already, and gives the engine a schema in its database.
func ExampleOpen() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://crm@db.example/crm")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	store, err := postgres.Open(ctx, pool, &postgres.Options{Schema: "mail"})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	// emailint.Options{State: store, …}
}

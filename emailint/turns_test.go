package emailint_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// A mailbox that is woken while others, connected before it, have history without end is passed within a turn or two.
func TestWakeGoesBeforeHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := providertest.NewFake(providertest.Graph, provider.Profile{Address: emailinttest.Owner}, time.Now)
		var pages, short atomic.Int64
		e, _, _, _ := twisted(t, fake, time.Now, func(b provider.Mailbox, cred string) provider.Mailbox {
			if cred == "short" {
				return counted{b, &short}
			}
			return endless{b, &pages}
		})
		for i := range 5 {
			if _, err := e.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: fmt.Sprint(i), Provider: "twisted", Credential: []byte("1")}); err != nil {
				t.Fatal(err)
			}
		}
		c, err := e.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "short", Provider: "twisted", Credential: []byte("short")})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		<-time.After(10 * time.Second) // all workers are at it
		before := short.Load()
		if err := e.Wake(t.Context(), emailinttest.Org, c.ID); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Minute)
		if short.Load() == before {
			t.Error("a mailbox that was woken waits for the history of others")
		}
		cancel()
		<-done
	})
}

package crash

import (
	"context"
	"os"
	"strconv"
	"testing"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/provider/providertest"
)

func memory(ctx context.Context) (state.Store, error) { return sqlite.Open(ctx, ":memory:") }

var services = []providertest.Personality{providertest.IMAP, providertest.Gmail, providertest.Graph}

// options reads EMAILINT_CRASH: "all" runs every crash, a name that a failure printed runs that one, a number is the seed of the
// sample that runs otherwise.
func options(t *testing.T) Options {
	v := os.Getenv("EMAILINT_CRASH")
	if seed, err := strconv.ParseUint(v, 10, 64); err == nil {
		return Options{Seed: seed}
	}
	if v == "all" {
		return Options{All: true, Seed: 1}
	}
	return Options{All: v != "", Only: v, Seed: 1}
}

func TestCrash(t *testing.T) {
	reached := Reached{}
	for _, p := range services {
		t.Run(string(p), func(t *testing.T) {
			Run(t, Config{Store: memory, Service: Fake(p)}, options(t), reached)
		})
	}
	if t.Failed() || options(t).Only != "" {
		return
	}
	for _, p := range Points {
		switch n := reached[p.Name]; {
		case n == 0 && p.Unreached == "":
			t.Errorf("the scenario never comes by %s: let it, or say in the table why it can't", p.Name)
		case n > 0 && p.Unreached != "":
			t.Errorf("the scenario comes by %s, and the table says that it can't: %s", p.Name, p.Unreached)
		}
	}
}

package deliver

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// However pages fall, the envelopes of those that were read last are at hand: what isn't costs a whole message each.
func TestTheLastEnvelopesAreKnown(t *testing.T) {
	d := &Deliverer{}
	const page = 700
	for i := range 20 * page {
		d.Know(provider.ItemID(fmt.Sprint(i)), message.Envelope{Has: message.HasHeader})
		if n := len(d.known) + len(d.before); n > keepEnvelopes {
			t.Fatalf("%d are kept, at most %d may be", n, keepEnvelopes)
		}
		if i%page != page-1 {
			continue
		}
		for k := max(0, i-keepEnvelopes/2+1); k <= i; k++ {
			if _, ok := d.envelope(provider.ItemID(fmt.Sprint(k))); !ok {
				t.Fatalf("after %d the one of %d is not known", i, k)
			}
		}
	}
}

// generous hands out what it is asked for, of whatever length.
type generous struct {
	provider.Mailbox
	text string
}

func (g generous) Content(context.Context, provider.ItemID) (*message.Message, error) {
	return &message.Message{Text: g.text}, nil
}

// A service that tells of no message how long it is doesn't fill the memory, by long ones or by many that are empty.
func TestContentsAreBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 1<<20), ""} {
		d := &Deliverer{Mailbox: generous{text: text}, content: map[provider.ItemID]*message.Message{}}
		bytes := 0
		for i := range 30_000 {
			item := provider.ItemID(fmt.Sprint(i))
			if _, err := d.fetch(t.Context(), state.Row{Item: item}); err != nil {
				t.Fatal(err)
			}
			if d.content[item] != nil {
				bytes += 1000 + len(text)
			}
		}
		if bytes > 40<<20 {
			t.Errorf("%d MB of texts of %d bytes are kept", bytes>>20, len(text))
		}
		for i := range 30_000 {
			d.forget(provider.ItemID(fmt.Sprint(i)))
		}
		if d.held != 0 || len(d.content) != 0 {
			t.Errorf("%d bytes are left of %d contents", d.held, len(d.content))
		}
	}
}

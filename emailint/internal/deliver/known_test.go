package deliver

import (
	"fmt"
	"testing"

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

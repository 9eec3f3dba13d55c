package emailinttest_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// BenchmarkFind asks a CRM with a million contacts, one address each, for six addresses, half of which it knows: never the same again, as the
// processor's caches would answer. B/address is what the CRM keeps beside the text of ids and addresses, which is the host's.
func BenchmarkFind(b *testing.B) {
	const contacts = 1_000_000
	ids, keys := make([]string, contacts), make([]message.Key, contacts)
	for i := range contacts {
		ids[i] = fmt.Sprint(i)
		keys[i] = message.Key(fmt.Sprintf("somebody.%d@firm%d.example", i, i/7))
	}
	before := heap()
	m := emailinttest.NewMemCRM()
	for i := range contacts {
		m.Add("o", linker.Record{Kind: linker.Contact, ID: ids[i]}, "", keys[i])
	}
	kept := heap() - before

	rnd := rand.New(rand.NewPCG(5, 4))
	queries := make([]linker.Query, 50_000)
	for i := range queries {
		for range 3 {
			n := rnd.IntN(contacts)
			queries[i].Addresses = append(queries[i].Addresses, keys[n], "x"+keys[n])
		}
	}
	ctx, n := b.Context(), 0
	b.ReportAllocs()
	for b.Loop() {
		d, err := m.Find(ctx, "o", queries[n%len(queries)])
		if err != nil || len(d.Holders) == 0 {
			b.Fatal(d, err)
		}
		n++
	}
	b.ReportMetric(float64(kept)/contacts, "B/address")
	runtime.KeepAlive(ids)
	runtime.KeepAlive(keys)
}

// heap is what is in use, after a collection.
func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

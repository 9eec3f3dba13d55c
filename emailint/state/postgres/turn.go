package postgres

import (
	"context"
	"hash/fnv"
	"sync"
)

// lockOf is the advisory lock of an organisation. Two that share a number wait for each other, and nothing worse.
func lockOf(schema, org string) int64 {
	h := fnv.New64a()
	h.Write([]byte("emailint\x00" + schema + "\x00" + org))
	return int64(h.Sum64())
}

// turns lets one goroutine of this process at a time ask the database for an organisation: those that wait hold no connection meanwhile.
type turns struct {
	mu sync.Mutex // guards of, and n of each
	of map[string]*turn
}

type turn struct {
	taken chan struct{} // full while somebody has it
	n     int           // who have it or wait
}

// take waits for a turn. The caller gives it back.
func (ts *turns) take(ctx context.Context, org string) (giveBack func(), err error) {
	ts.mu.Lock()
	t := ts.of[org]
	if t == nil {
		t = &turn{taken: make(chan struct{}, 1)}
		ts.of[org] = t
	}
	t.n++
	ts.mu.Unlock()
	leave := func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		if t.n--; t.n == 0 {
			delete(ts.of, org)
		}
	}
	select {
	case t.taken <- struct{}{}:
		return func() { <-t.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

package pass

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// People reads history for people of the CRM first: where reading a message is dear (provider.Searcher), mail with them is searched for and read,
// and the rest of what is older than the connection is listed only. When the CRM has new people it is searched for them.
type People struct {
	Search provider.Searcher
	// Addresses lists whom to search for, as crm.AddressLister does, without those who match nothing.
	Addresses func(ctx context.Context, after string, limit int) (who []string, next string, more bool, err error)
	// Changes is the organisation's change number: what it was when the CRM was asked last is kept.
	Changes func(ctx context.Context) (int64, error)
	// Wanted tells by what rules somebody matches nothing, as Addresses leaves them out: where these are others all are searched for again.
	Wanted func() string

	asked  bool  // in this pass whether there are new people
	missed error // the CRM did not say
}

// batch is how many people are searched for at a time.
const batch = 400

// phase of a run for people.
type phase string

const (
	searching phase = "search" // mail with people of the CRM
	sincing   phase = "since"  // what came after the mailbox was connected and no live change told
	listing   phase = "list"   // the rest
	reading   phase = "read"   // everything after all: there is no search any more, or it is not wanted
)

// progress is the cursor of a run for people.
type progress struct {
	Phase  phase
	Change int64           // the change number before people were asked for
	After  string          // the mark before those who are searched for now
	Who    string          `json:",omitempty"` // a hash of who they are
	At     provider.Cursor `json:",omitempty"` // of the search, or of the listing
	Again  bool            `json:",omitempty"` // for new people: everything is listed already
	Wanted string          `json:",omitempty"` // the rules when people were asked for from the start
	Marks  marks           `json:",omitzero"`
}

// marks notice when those of a CRM come round again, which would be an import without an end (Brent's way: one of them is kept, for twice as long each time).
type marks struct {
	Kept      string
	Lap, Laps int
}

// step reports whether a mark is one that was there before, sooner or later.
func (m *marks) step(mark string) (again bool) {
	if m.Laps > 0 && mark == m.Kept {
		return true
	}
	if m.Lap++; m.Lap >= m.Laps {
		*m = marks{Kept: mark, Laps: max(1, 2*m.Laps)}
	}
	return false
}

var errMarks = errors.New("the CRM's marks of addresses come round again")

// Walk calls f for each batch of people, from the start.
func (p *People) Walk(ctx context.Context, limit int, f func(who []string, more bool) (on bool)) error {
	var ms marks
	for after, more, on := "", true, true; more && on; {
		who, next, m, err := p.Addresses(ctx, after, limit)
		if err != nil {
			return err
		}
		if m && (next == after || ms.step(next)) {
			return errMarks
		}
		after, more, on = next, m, f(who, m)
	}
	return nil
}

func progressOf(r state.Run) (progress, error) {
	g := progress{Phase: searching}
	if len(r.Cursor) == 0 {
		return g, nil
	}
	err := json.Unmarshal(r.Cursor, &g)
	if err != nil {
		err = fmt.Errorf("the cursor of run %d: %w", r.ID, err)
	}
	return g, err
}

func (g progress) cursor() []byte {
	c, err := json.Marshal(g)
	if err != nil {
		panic(err) // strings and bytes
	}
	return c
}

// rest is the reason of a run that reads what was listed only.
const rest = "what was listed only"

// unlisted plans to read what was listed only, once it is not wanted any more that people of the CRM come first.
func (p *Pass) unlisted(ctx context.Context, runs []state.Run) error {
	if p.People != nil {
		return nil
	}
	for i, r := range runs {
		if !r.People || !r.Done || slices.ContainsFunc(runs[i+1:], func(o state.Run) bool {
			return o.Reason == rest && o.From.Equal(r.From) && o.To.Equal(r.To)
		}) {
			continue
		}
		if g, err := progressOf(r); err != nil || g.Phase == reading {
			if err != nil {
				return err
			}
			continue
		}
		if _, err := p.Store.AddRun(ctx, p.Lease.Org, p.Lease.Connection, state.Run{Reason: rest, From: r.From, To: r.To}); err != nil {
			return err
		}
	}
	return nil
}

// newPeople opens runs anew that are done, where the CRM has people since who were not searched for.
func (p *Pass) newPeople(ctx context.Context) error {
	if p.People == nil || p.People.asked {
		return nil
	}
	p.People.asked = true
	runs, err := p.Store.Runs(ctx, p.Lease.Org, p.Lease.Connection)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if !r.People || !r.Done {
			continue
		}
		g, err := progressOf(r)
		if err != nil {
			return err
		}
		if g.Phase == reading {
			continue // nothing was left out
		}
		number, err := p.People.Changes(ctx)
		if err != nil {
			return err
		}
		if wanted := p.People.Wanted(); wanted != g.Wanted {
			g.Wanted, g.After = wanted, ""
		} else if number == g.Change {
			continue
		}
		who, next, more, err := p.People.Addresses(ctx, g.After, batch)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, state.ErrStale) {
				return err
			}
			// It is asked in the next pass; what is being listed goes on.
			p.People.missed = fmt.Errorf("asking the CRM for new addresses: %w", err)
			return nil
		}
		done := len(who) == 0 && !more
		g.Change, g.Marks = number, marks{}
		if done {
			g.After = next
		} else {
			g.Phase, g.Again, g.At, g.Who = searching, true, nil, ""
		}
		if _, err := p.Store.CommitPage(ctx, p.Lease, state.Page{Run: r.ID, Revision: r.Revision, Cursor: g.cursor(), Done: done}); err != nil {
			return err
		}
	}
	return nil
}

// peoplePage reads a page of a run for people; more is false when it is done.
func (p *Pass) peoplePage(ctx context.Context, run state.Run, generations map[string]int64) (more bool, err error) {
	g, err := progressOf(run)
	if err != nil {
		return false, err
	}
	if len(run.Cursor) == 0 && p.People != nil {
		if g.Change, err = p.People.Changes(ctx); err != nil {
			return false, err
		}
		g.Wanted = p.People.Wanted()
	}
	if p.People == nil && !g.Again && g.Phase != reading {
		g = progress{Phase: reading, Change: g.Change, After: g.After, Wanted: g.Wanted}
	}
	listed := g.Phase == listing // before the step, which may be the last of its phase
	page, done, err := p.step(ctx, run, &g)
	if err != nil {
		return false, fmt.Errorf("reading history: %w", err)
	}
	page.Next = g.cursor()
	return !done, p.commit(ctx, page, state.Page{Run: run.ID, Revision: run.Revision, Estimated: page.Estimated, Done: done, Generations: generations}, listed)
}

// step reads the page that comes next, and moves the progress behind it.
func (p *Pass) step(ctx context.Context, run state.Run, g *progress) (page provider.Page, done bool, err error) {
	if p.People == nil && g.Phase != reading {
		return page, true, nil // for new people: what was listed only is read by a run of its own
	}
	w := provider.Window{From: run.From, To: run.To}
	switch g.Phase {
	case searching:
		return p.search(ctx, w, g)
	case sincing:
		if w.From.Before(p.ConnectedAt) {
			w.From = p.ConnectedAt
		}
		if w.To.IsZero() || w.From.Before(w.To) {
			if page, err = p.list(ctx, w, g); err != nil || page.More {
				return page, false, err
			}
		}
		g.Phase = listing
		return page, false, nil
	case listing:
		if w.To.IsZero() || p.ConnectedAt.Before(w.To) {
			w.To = p.ConnectedAt
		}
		page, err = p.list(ctx, w, g)
		return page, !page.More, err
	case reading:
		page, err = p.list(ctx, w, g)
		return page, !page.More, err
	}
	return page, false, fmt.Errorf("the cursor of run %d has the phase %q, which is none", run.ID, g.Phase)
}

// search searches for the people of one batch.
func (p *Pass) search(ctx context.Context, w provider.Window, g *progress) (page provider.Page, done bool, err error) {
	who, next, more, err := p.People.Addresses(ctx, g.After, batch)
	if err != nil {
		return page, false, fmt.Errorf("asking the CRM for addresses: %w", err)
	}
	ms := g.Marks
	if more && (next == g.After || ms.step(next)) {
		return page, false, errMarks
	}
	if len(who) > 0 {
		// One search is for the same people in all of its pages: where the batch is another by now it begins anew.
		sum := sha256.Sum256([]byte(strings.Join(who, "\n")))
		if h := hex.EncodeToString(sum[:8]); h != g.Who {
			g.Who, g.At = h, nil
		}
		page, err = p.People.Search.Search(ctx, w, who, g.At)
		if err == nil && page.More {
			err = honest(page, g.At)
			g.At = page.Next
			return page, false, err
		}
		if err != nil {
			return page, false, err
		}
	}
	g.After, g.Who, g.At, g.Marks = next, "", nil, ms
	page.Estimated = 0 // of what is read first
	if more {
		return page, false, nil
	}
	if !g.Again {
		g.Phase = sincing
	}
	return page, g.Again, nil
}

// list lists a page of the window.
func (p *Pass) list(ctx context.Context, w provider.Window, g *progress) (provider.Page, error) {
	page, err := p.Mailbox.History(ctx, w, g.At)
	if err != nil {
		return page, err
	}
	if page.More {
		if err := honest(page, g.At); err != nil {
			return page, err
		}
	}
	g.At = nil
	if page.More {
		g.At = page.Next
	}
	return page, nil
}

package simulation

import (
	"maps"
	"slices"

	"github.com/intellicon/email-integration/linker"
)

// cited are the ids that a mail answers.
func cited(m *Mail) []string {
	var ids []string
	for _, id := range append([]string{m.InReplyTo}, m.References...) {
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// answers are those of them that the engine can know: none of a mail of which it saw a Message-ID and never the whole header. Nobody walks through
// such a mail, and for words on threads it is a top.
func (k *oracle) answers(m *Mail) []string {
	sent := k.handed(m) && (m.By == nil || m.By.living())
	if k.seen(m) && !sent && !slices.ContainsFunc(k.held[m], func(l lying) bool { return k.threaded[l.copy] }) {
		return nil
	}
	return cited(m)
}

// above are the ids that seen mails with this id answer.
func (k *oracle) above(id string) []string {
	var ids []string
	for _, m := range k.bear[id] {
		if k.seen(m) {
			ids = append(ids, k.answers(m)...)
		}
	}
	return slices.DeleteFunc(ids, func(up string) bool { return up == id })
}

// upward are some ids and all above them, through every seen mail.
func (k *oracle) upward(from []string) map[string]bool {
	ids := map[string]bool{}
	for todo := slices.Clone(from); len(todo) > 0; todo = todo[1:] {
		if id := todo[0]; !ids[id] {
			ids[id] = true
			todo = append(todo, k.above(id)...)
		}
	}
	return ids
}

// inherited are the records that a mail takes over from those that it answers (R4): from each cited id those of the emails that have it, and
// only where they have none from the ids above.
func (k *oracle) inherited(m *Mail) []*Record {
	var out []*Record
	visited := map[string]bool{}
	for todo := k.answers(m); len(todo) > 0; todo = todo[1:] {
		id := todo[0]
		if visited[id] {
			continue
		}
		visited[id] = true
		gave := false
		for _, parent := range k.bear[id] {
			if parent == m {
				continue // nobody is a member of his own thread
			}
			for r := range k.given(parent) {
				gave = true
				if !slices.Contains(out, r) {
					out = append(out, r)
				}
			}
		}
		if !gave {
			todo = append(todo, k.above(id)...)
		}
	}
	return out
}

// given are the direct links of a mail: what those that answer it inherit. A dropped mail and one that nobody holds give none.
func (k *oracle) given(m *Mail) links {
	if g, ok := k.gives[m]; ok {
		return g
	}
	var has links // directly, in the CRM
	for r, by := range k.has(m) {
		if (linker.Link{By: by}).Direct() {
			if has == nil {
				has = links{}
			}
			has[r] = by
		}
	}
	var g links
	sure, perhaps := k.holders(m)
	if len(sure) == 0 && has == nil {
		perhaps = nil // as it is
	}
	if len(sure)+len(perhaps) > 0 && !k.dropped(m) {
		for i, c := range k.deciders(m) {
			d := k.direct(m, c)
			if i == 0 || d.equal(has) {
				g = d // where two copies may have decided: as it is
			}
		}
	}
	if k.frozen(m) && !k.heldBack(m) { // R8: what it gives follows what it has
		for r := range g {
			if _, ok := has[r]; !ok {
				delete(g, r)
			}
		}
	}
	k.gives[m] = g
	return g
}

// reached are the ids of a mail and all above it (R5). Its own id is not walked through: what a namesake answers is not above it.
func (k *oracle) reached(m *Mail) map[string]bool {
	if k.reach[m] == nil {
		k.reach[m] = k.upward(k.answers(m))
		for _, id := range k.ids[m] {
			k.reach[m][id] = true
		}
	}
	return k.reach[m]
}

// kept are the ids on which a word on the thread of a mail is kept: the topmost above it, of which nobody has seen a mail, or one that
// answers nothing; all where there are none; its own where it answers nothing itself.
func (k *oracle) kept(m *Mail) map[string]bool {
	if k.tops[m] != nil {
		return k.tops[m]
	}
	ids := map[string]bool{}
	for id := range k.upward(k.answers(m)) {
		seen := false
		for _, above := range k.bear[id] {
			if k.seen(above) {
				seen = true
				ids[id] = ids[id] || len(k.answers(above)) == 0
			}
		}
		ids[id] = ids[id] || !seen
	}
	if !slices.Contains(slices.Collect(maps.Values(ids)), true) { // a circle has no top
		for id := range ids {
			ids[id] = true
		}
	}
	if len(k.answers(m)) == 0 {
		for _, id := range k.ids[m] {
			ids[id] = true
		}
	}
	k.tops[m] = ids
	return ids
}

package simulation

import (
	"maps"
	"slices"
	"strings"

	"github.com/intellicon/email-integration/linker"
)

// reach is whether a word is about a mail.
type reach int

const (
	no reach = iota
	perhaps
	yes
)

// concerns reports whether a word is about the mail, on it or on its thread.
func (k *oracle) concerns(w Word, m *Mail) reach {
	switch {
	case !w.Thread && w.Mail != m && w.Whichever && m.MessageID == w.Mail.MessageID:
		return perhaps
	case !w.Thread && w.Mail != m:
		return no
	case !w.Thread && w.Torn:
		return perhaps
	case !w.Thread:
		return yes
	case w.Mail == m && !w.Torn:
		return yes
	}
	reached := k.reached(m)
	switch {
	case meet(reached, k.kept(w.Mail)) && !w.Torn:
		return yes
	case meet(reached, k.kept(w.Mail)) || w.Mail == m || slices.ContainsFunc(w.Perhaps, func(id string) bool { return reached[id] }):
		return perhaps
	}
	return no
}

// itself reports whether a word is one on a mail itself: what is no part of a thread is its own.
func (k *oracle) itself(w Word) bool {
	return !w.Thread || len(k.ids[w.Mail]) == 0 && len(k.answers(w.Mail)) == 0
}

func meet(a, b map[string]bool) bool {
	for id, in := range b {
		if in && a[id] {
			return true
		}
	}
	return false
}

// said is the word that counts for a record.
type said int

const (
	nothing said = iota
	link
	unlink
)

// said returns the words that count for a mail (R5): its own before its thread's, and of those of one level the later. Where an erasure took what
// holds a thread together it may be either, and is taken as it is.
func (k *oracle) said(m *Mail) map[*Record]said {
	if s, ok := k.words[m]; ok {
		return s
	}
	s := map[*Record]said{}
	for r, words := range k.saidOn(m, true) {
		s[r] = likely(words, k.has(m)[r])
	}
	for r, words := range k.saidOn(m, false) {
		if s[r] == nothing {
			s[r] = likely(words, k.has(m)[r])
		}
	}
	k.words[m] = s
	return s
}

// saidOn returns for each record the words of one level, on the mail itself or on its thread, that may count: one, but for threads that an erasure
// took apart. A word follows the record when it is merged, and a link ends with it; "not this record" holds for one that is made anew under its id, too.
func (k *oracle) saidOn(m *Mail, itself bool) map[*Record][]said {
	type entry struct {
		word said
		on   *Record
		sure bool
		at   int // its place in Words
	}
	entries := map[*Record][]entry{}
	for at, w := range k.t.Words {
		sure := k.concerns(w, m)
		if k.itself(w) != itself || w.On == nil || sure == no {
			continue
		}
		r := now(w.On)
		lives := r != nil
		if !lives { // it may have been made anew under its id
			if r = k.record(last(w.On).Record); r == nil {
				continue
			}
		}
		e := entry{on: w.On, sure: sure == yes, at: at}
		switch {
		case w.Say == SayUnlink:
			e.word = unlink
		case w.Say == SayLink && lives:
			e.word = link
		case e.sure:
			// It takes back what was said until then of the record, or of one that was merged into it; so does a link that ended with its record. Not what was
			// said of one that was merged with it later, nor what was said on a thread that nobody knew to be the same.
			entries[r] = slices.DeleteFunc(entries[r], func(x entry) bool {
				return !slices.Contains(w.Apart, x.at) && (x.on.Record == e.on.Record || slices.Contains(w.Was, x.on))
			})
			if len(entries[r]) > 0 {
				continue
			}
		}
		entries[r] = append(entries[r], e)
	}
	s := map[*Record][]said{}
	for r, es := range entries {
		for _, e := range es {
			if len(s[r]) == 0 {
				s[r] = []said{nothing}
			}
			if e.sure {
				s[r] = nil
			}
			s[r] = append(s[r], e.word)
		}
	}
	return s
}

// likely is the one of several words that goes with how the record is linked, "" where it isn't.
func likely(words []said, by linker.How) said {
	order := []said{nothing, link, unlink}
	switch by {
	case linker.ByPerson:
		order = []said{link, nothing, unlink}
	case "":
		order = []said{unlink, nothing, link}
	}
	for _, w := range order {
		if slices.Contains(words, w) {
			return w
		}
	}
	return nothing
}

// dropped reports whether a person took the mail out: the later word on the mail itself, else that on its thread.
func (k *oracle) dropped(m *Mail) bool {
	for _, itself := range []bool{true, false} {
		var may []bool
		for _, w := range slices.Backward(k.t.Words) {
			if k.itself(w) != itself || w.Say != SayDrop && w.Say != SayRestore {
				continue
			}
			switch k.concerns(w, m) {
			case yes:
				may = append(may, w.Say == SayDrop)
			case perhaps:
				may = append(may, w.Say == SayDrop)
				continue
			default:
				continue
			}
			if slices.Contains(may, !may[0]) {
				return k.looksDropped(m)
			}
			return may[0]
		}
		if slices.Contains(may, true) { // all perhaps, or none
			return k.looksDropped(m)
		}
	}
	return false
}

// looksDropped: a row of the mail says so.
func (k *oracle) looksDropped(m *Mail) bool {
	return slices.ContainsFunc(k.o.Rows, func(r Row) bool {
		l, ok := k.lies[place{r.Conn, r.Item}]
		return ok && l.copy.Mail == m && strings.HasPrefix(r.Reason, "dropped")
	})
}

// apart returns the words on threads, by their place, that by what was observed are not about a mail.
func (t Truth) apart(o Observed, m *Mail) (out []int) {
	k := newOracle(t, o)
	for i, w := range t.Words {
		if w.Thread && k.concerns(w, m) == no {
			out = append(out, i)
		}
	}
	return out
}

// holds is what a word on a thread holds for at a moment: the ids on which it is kept, the mails of it that were seen, and those of these of which that
// is sure.
type holds struct {
	kept       map[string]bool
	seen, sure []*Mail
}

// heldFor returns for each word what it holds for by what was observed.
func (t Truth) heldFor(o Observed) []holds {
	k := newOracle(t, o)
	out := make([]holds, len(t.Words))
	for i, w := range t.Words {
		if !w.Thread {
			continue
		}
		out[i].kept = k.kept(w.Mail)
		for _, m := range t.Mails {
			if !k.seen(m) {
				continue
			}
			switch k.concerns(w, m) {
			case yes:
				out[i].sure = append(out[i].sure, m)
				fallthrough
			case perhaps:
				out[i].seen = append(out[i].seen, m)
			}
		}
	}
	return out
}

// tear notes with the words on threads what an erasure took of them; before is what they held for until then. The engine doesn't know on which
// mail of a thread a word was said: where none is left, or the thread has another top now, or a mail stood below what is gone, either is right.
func (t *Truth) tear(before []holds, o Observed) {
	after := t.heldFor(o)
	for i, had := range before {
		w := &t.Words[i]
		left := 0 // of those that were seen before; what came while the mailbox was erased may have come too late for the word
		for _, m := range had.seen {
			if slices.Contains(had.sure, m) && slices.Contains(after[i].sure, m) {
				left++
			}
			if slices.Contains(after[i].seen, m) {
				continue
			}
			w.Perhaps = append(w.Perhaps, m.MessageID, m.Renamed)
		}
		if len(had.seen) > 0 && left == 0 || !maps.Equal(had.kept, after[i].kept) {
			w.Torn = true
			for id, top := range had.kept {
				if top {
					w.Perhaps = append(w.Perhaps, id)
				}
			}
		}
	}
}

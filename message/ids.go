package message

import "strings"

const maxIDs = 100

// ParseIDs returns the message ids of a References or In-Reply-To field without angle brackets, in order and
// without repetition, at most max of them (never more than 100, so that hostile fields stay cheap). Where there
// are more, the first and the last ones are kept: the first is the thread's root, the last the parent.
//
// Seen in practice: commas between ids, folded ids, prose (`Your message of "Mon, 3 Jun" <id>`), and ids without
// brackets, which are taken when nothing else is there.
func ParseIDs(s string, max int) []string {
	if max <= 0 || max > maxIDs {
		max = maxIDs
	}
	var ids []string
	seen := map[string]bool{}
	add := func(id string) {
		if len(id) > 998 || len(id) == 0 || seen[id] { // RFC 5322, 2.1.1
			return
		}
		seen[id] = true
		if len(ids) == max {
			// Moves at most 100 strings; keeps the root.
			copy(ids[min(1, max-1):], ids[min(2, max):])
			ids[max-1] = id
			return
		}
		ids = append(ids, id)
	}
	s = clean(s)
	for i := 0; i < len(s); {
		open := strings.IndexByte(s[i:], '<')
		if open < 0 {
			break
		}
		i += open + 1
		end := strings.IndexAny(s[i:], "<> \t\r\n")
		if end < 0 {
			break
		}
		if s[i+end] == '>' {
			add(s[i : i+end])
			end++
		}
		i += end
	}
	if ids == nil && strings.IndexByte(s, '<') < 0 {
		for f := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\r' || r == '\n' }) {
			if at := strings.IndexByte(f, '@'); at > 0 && at < len(f)-1 {
				add(strings.Trim(f, ">\"()"))
			}
		}
	}
	return ids
}

// messageID returns the id of a Message-ID field. Unlike a reference it is taken even when it has no "@" and no
// brackets: it is this message's only name. Seen in practice: `<a b@c>` with a space from a broken fold.
func messageID(s string) string {
	if ids := ParseIDs(s, maxIDs); len(ids) > 0 {
		return ids[0]
	}
	s = strings.Trim(strings.Join(strings.Fields(clean(s)), ""), "<>")
	return cut(s, 998)
}

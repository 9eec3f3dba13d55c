package imap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"golang.org/x/text/unicode/norm"

	"github.com/intellicon/email-integration/provider"
)

// errNoKeyword: the folder keeps no such keyword.
const errNoKeyword = localError("imap: the folder keeps no keywords")

// Label puts a keyword on a message where the folder keeps keywords, and otherwise copies the message into a folder of the label's
// name, which is made when there is none. On Gmail it is always the folder: a label there. Mutation.How tells. A label that is on
// the message already is told as Already.
func (m *Mailbox) Label(ctx context.Context, t provider.Target, label string) (provider.Mutation, error) {
	if err := m.settled(ctx); err != nil {
		return provider.Mutation{}, err
	}
	i, err := parseTarget(t)
	if err != nil {
		return provider.Mutation{}, err
	}
	if strings.TrimSpace(label) == "" {
		return provider.Mutation{}, errors.New("imap: a label needs a name")
	}
	var did provider.Mutation
	tried := false // by a first try whose connection died: what is there is ours
	err = m.do(ctx, "labelling a message", func(c *imapclient.Client) error {
		did = provider.Mutation{}
		folders, err := m.tree(c)
		if err != nil {
			return err
		}
		at, r, err := m.find(c, folders, i, t.MessageID, nil)
		if err != nil {
			return err
		}
		if !m.gmail && !slices.Contains(m.ignored, goimap.Cap("KEYWORDS")) {
			did, err = m.setKeyword(c, at, r, Keyword(label), &tried)
			if !errors.Is(err, errNoKeyword) {
				return err
			}
		}
		did, err = m.copyToLabel(c, folders, at, r, label, &tried)
		return err
	})
	if err != nil {
		return provider.Mutation{}, err
	}
	return did, nil
}

// setKeyword stores a keyword and looks whether it is there. Facts 3.3: "only if PERMANENTFLAGS contains \*" (or the keyword);
// Exchange takes keywords and drops them silently.
func (m *Mailbox) setKeyword(c *imapclient.Client, at id, r *row, keyword string, tried *bool) (provider.Mutation, error) {
	did := provider.Mutation{How: "keyword", To: keyword, Item: at.item()}
	if r.has(goimap.Flag(keyword)) {
		did.Already = !*tried
		return did, nil
	}
	err := m.change(c, at, func(d *goimap.SelectData) error {
		if !permanent(d, goimap.FlagWildcard) && !permanent(d, goimap.Flag(keyword)) {
			return errNoKeyword
		}
		*tried = true
		err := flag(c, at.uid, goimap.StoreFlagsAdd, goimap.Flag(keyword))
		if err != nil && skippable(err) {
			return errNoKeyword // as many as it keeps, or a letter that it does not take
		}
		return err
	})
	if err != nil {
		return provider.Mutation{}, err
	}
	now, err := m.stat(c, at)
	if err != nil {
		return provider.Mutation{}, err
	}
	if !now.has(goimap.Flag(keyword)) {
		*tried = false
		return provider.Mutation{}, errNoKeyword
	}
	return did, nil
}

// copyToLabel makes a copy in the label's folder, once.
func (m *Mailbox) copyToLabel(c *imapclient.Client, folders *tree, at id, r *row, label string, tried *bool) (provider.Mutation, error) {
	did := provider.Mutation{How: "folder copy"}
	if m.gmail {
		did.How = "label"
	}
	names := folders.labelNames(label)
	if folders.prefix == "" && folders.delim != 0 {
		// The namespace may be untold, and there be no folder to learn it from.
		for _, n := range slices.Clone(names) {
			names = append(names, "INBOX"+string(folders.delim)+n)
		}
	}
	for _, n := range names {
		if did.To = folders.existing(n); did.To != "" {
			break
		}
	}
	var err error
	if did.To == "" {
		if did.To, err = m.makeFolder(c, folders, "", names...); err != nil {
			return provider.Mutation{}, err
		}
	}
	if at.folder == did.To {
		return provider.Mutation{Already: true}, nil // it was never a copy
	}
	have, _, err := m.twin(c, did.To, r)
	if err != nil {
		return provider.Mutation{}, err
	}
	did.Already = have.uid != 0 && !*tried
	if have.uid == 0 {
		*tried = true
		if have, err = m.copy(c, at, r, did.To); err != nil {
			return provider.Mutation{}, err
		}
	}
	did.Item = have.known()
	return did, nil
}

// Unlabel takes a keyword off again, or removes the copy. A copy is not removed when it is all that is left of the message
// (ErrUnsupported), nor where it can't be expunged alone, without UIDPLUS.
func (m *Mailbox) Unlabel(ctx context.Context, t provider.Target, was provider.Mutation) error {
	if err := m.settled(ctx); err != nil {
		return err
	}
	i, err := parseTarget(t)
	if err != nil {
		return err
	}
	made, err := parseTarget(provider.Target{Item: was.Item})
	if err != nil {
		return err
	}
	if was.Already {
		return ctx.Err()
	}
	switch was.How {
	case "":
		return ctx.Err()
	case "keyword", "folder copy", "label":
	default:
		return fmt.Errorf("imap: no label is made by %q", was.How)
	}
	return m.do(ctx, "taking a label off a message", func(c *imapclient.Client) error {
		folders, err := m.tree(c)
		if err != nil {
			return err
		}
		if was.How != "keyword" {
			return m.removeCopy(c, folders, i, made, t.MessageID, was.To)
		}
		labelled := func(r *row) bool { return r.has(goimap.Flag(was.To)) }
		at, r, err := m.find(c, folders, i, t.MessageID, labelled)
		if err != nil || !labelled(r) {
			return err
		}
		return m.change(c, at, func(*goimap.SelectData) error {
			return flag(c, at.uid, goimap.StoreFlagsDel, goimap.Flag(was.To))
		})
	})
}

func (m *Mailbox) removeCopy(c *imapclient.Client, folders *tree, i, made id, messageID, from string) error {
	at, r, err := made, (*row)(nil), error(provider.ErrGone)
	if made.folder == from {
		r, err = m.stat(c, made)
	}
	if errors.Is(err, provider.ErrGone) {
		// Without its id: the one that came last into the folder.
		validity, rows, ferr := m.withMessageID(c, from, messageID)
		if ferr != nil {
			return ferr
		}
		if len(rows) == 0 {
			_, _, err = m.find(c, folders, i, messageID, nil)
			return err
		}
		r = rows[len(rows)-1]
		at, err = id{validity, r.uid, from}, nil
	}
	if err != nil {
		return err
	}
	if !m.has(goimap.CapUIDPlus) {
		return unsupported("the server has no UIDPLUS: removing the labelled copy would expunge other messages with it")
	}
	if !m.gmail { // there the folder is a label, and the message stays in \All
		alone, err := m.onlyCopy(c, folders, at, r)
		if err != nil {
			return err
		}
		if alone {
			return unsupported("the labelled copy is all that is left of the message")
		}
	}
	return forbidden(m.change(c, at, func(*goimap.SelectData) error { return expunge(c, at.uid) }))
}

// onlyCopy reports whether no folder but this one, and those that are emptied, holds the message.
func (m *Mailbox) onlyCopy(c *imapclient.Client, folders *tree, at id, r *row) (bool, error) {
	for _, f := range folders.folders {
		if f.ID == at.folder || f.Role == provider.RoleTrash || f.Role == provider.RoleJunk {
			continue
		}
		if have, _, err := m.twin(c, f.ID, r); err != nil || have.uid != 0 {
			return false, err
		}
	}
	return true, nil
}

// keywordLimit is how long a keyword may be. Dovecot takes 50 bytes (mail_max_keyword_length).
const keywordLimit = 50

// Keyword is the IMAP keyword of a label: the label composed (NFC) and in lower case, as keywords are compared without case, with
// "_" for a space and "=" and two hexadecimal digits for each byte but letters, digits and "-". So Thunderbird's keyword for a tag
// of plain letters is the same. A label that gets longer than 50 bytes is cut, with "~" and 16 digits of its SHA-256. No two
// labels that differ by more than case have the same keyword, and no label has one that means something: \Seen, $Junk, NonJunk.
func Keyword(label string) string {
	label = fold(label)
	var b strings.Builder
	for _, ch := range []byte(label) {
		switch {
		case 'a' <= ch && ch <= 'z', '0' <= ch && ch <= '9', ch == '-':
			b.WriteByte(ch)
		case ch == ' ':
			b.WriteByte('_')
		default:
			fmt.Fprintf(&b, "=%02x", ch)
		}
	}
	k := b.String()
	switch k {
	case "junk", "nonjunk", "notjunk": // what mail programs train their filters by
		return fmt.Sprintf("=%02x%s", k[0], k[1:])
	}
	if len(k) <= keywordLimit {
		return k
	}
	k = k[:keywordLimit-17]
	// No half of an escape at the end.
	if i := strings.LastIndexByte(k, '='); i > len(k)-3 {
		k = k[:i]
	}
	return k + "~" + digest(label)[:16]
}

// fold makes one of what people take for the same label.
func fold(label string) string { return strings.ToLower(norm.NFC.String(strings.TrimSpace(label))) }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

const folderLimit = 40 // letters of a folder's name that we make

// labelNames returns names for the folder of a label, the second for servers that refuse the first. "/" nests, as it does in
// Gmail. What is changed for the server's sake gets six digits, so that two labels have two folders; what would be the inbox,
// the trash or another folder with a role gets "(label)".
func (t *tree) labelNames(label string) []string {
	label = norm.NFC.String(strings.TrimSpace(label))
	mark := " " + digest(fold(label))[:6]
	changed := false
	clean := func(part string) string {
		out := strings.Map(func(r rune) rune {
			// RFC 3501, 5.1: wildcards; RFC 9051, 5.1: no controls. "&" is the library's to encode.
			if r == t.delim || unicode.IsControl(r) || r == utf8.RuneError || strings.ContainsRune("%*\"\\/", r) {
				return '_'
			}
			return r
		}, strings.TrimSpace(part))
		if out != "" && strings.ContainsRune(".~#", rune(out[0])) { // RFC 3501, 5.1: "#" is a namespace; "~" a home, "." hidden
			out = "_" + out[1:]
		}
		changed = changed || out != part
		return out
	}
	var parts []string
	for p := range strings.SplitSeq(label, "/") {
		parts = append(parts, clean(p))
	}
	if t.delim == 0 || slices.Contains(parts, "") || utf8.RuneCountInString(label) > folderLimit {
		parts = []string{clean(label)}
	}
	plain := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r == ' ' || r == '-' {
			return r
		}
		return '_'
	}, label)
	last := &parts[len(parts)-1]
	if cut := firstRunes(*last, folderLimit); changed || cut != *last {
		*last = cut + mark
	}
	join := func(parts []string) string {
		name := t.prefix + strings.Join(parts, string(t.delim))
		// Also a name that has no role only because another folder has it: mail programs go by names.
		if t.roleIfMade(name) != "" || roleOfName[strings.ToLower(parts[0])] != "" || strings.EqualFold(parts[0], "INBOX") {
			parts = slices.Clone(parts)
			parts[0] += " (label)"
			name = t.prefix + strings.Join(parts, string(t.delim))
		}
		return name
	}
	return []string{join(parts), join([]string{firstRunes(plain, folderLimit) + mark})}
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return strings.TrimSpace(s[:i])
		}
	}
	return s
}

package gmailtest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// mail is a message in a mailbox.
type mail struct {
	id, thread string
	labels     []string
	at         time.Time // internalDate, whole milliseconds (facts 1.5)
	raw        []byte
	historyID  uint64
	header     fakemail.Header
	messageID  string // without angle brackets
	text       string // of the body, for snippets and words
	terms      map[string]string
}

func (m *mail) has(label string) bool { return slices.Contains(m.labels, label) }

var b64 = base64.RawURLEncoding

// encode is base64url as Google writes it, or as Options.Unpadded wants it.
func (s *Server) encode(b []byte) string {
	if s.opts.Unpadded {
		return b64.EncodeToString(b)
	}
	return base64.URLEncoding.EncodeToString(b)
}

// decode64 reads base64url with padding or without, and base64.
func decode64(v string) ([]byte, error) {
	v = strings.NewReplacer("+", "-", "/", "_", "\n", "", "\r", "").Replace(strings.TrimRight(v, "=\r\n"))
	return b64.DecodeString(v)
}

// short is a name for something long.
func short(v string) string {
	sum := sha256.Sum256([]byte(v))
	return fmt.Sprintf("%x", sum[:6])
}

// newID makes the id of a message: sixteen hexadecimal digits. Facts 1.5: immutable, and another in each mailbox; of Servers of two projects too.
func (s *Server) newID() string {
	return fmt.Sprintf("%016x", 0x18c0000000000000+uint64(crc32.ChecksumIEEE([]byte(s.opts.Project)))<<20+s.next()*0x10001)
}

// alone is a thread of a message's own; it has the id of its first message (from memory).
const alone = "alone"

// put adds a message with labels. An empty thread is the one it answers, or one of its own. The caller holds Server.mu.
func (u *User) put(raw []byte, at time.Time, labels []string, thread string) *mail {
	m := &mail{id: u.s.newID(), labels: slices.Clone(labels), at: at.Truncate(time.Millisecond), raw: slices.Clone(raw)}
	m.header = fakemail.ParseHeader(m.raw)
	m.messageID = strings.Trim(strings.TrimSpace(m.header.Get("Message-ID")), "<>")
	if m.thread = thread; thread == "" {
		m.thread = u.threadOf(m.header)
	}
	if m.thread == alone {
		m.thread = m.id
	}
	u.mail[m.id] = m
	if m.messageID != "" {
		u.byHeader[m.messageID] = append(u.byHeader[m.messageID], m)
	}
	i := sort.Search(len(u.order), func(i int) bool { return !u.order[i].before(m.at, m.id) })
	u.order = slices.Insert(u.order, i, m)
	u.record(added, m, nil)
	return m
}

// before reports whether the message is newer, or as new with a greater id, than another: listings have it before that one.
func (m *mail) before(at time.Time, id string) bool {
	return m.at.After(at) || m.at.Equal(at) && m.id > id
}

// threadOf finds the thread that a message belongs to by what it answers and its subject (facts 1.7).
func (u *User) threadOf(h fakemail.Header) string {
	for _, id := range slices.Backward(slices.Concat(fakemail.IDs(h.Get("References")), fakemail.IDs(h.Get("In-Reply-To")))) {
		for _, o := range u.byHeader[id] {
			if sameSubject(o.header.Get("Subject"), h.Get("Subject")) {
				return o.thread
			}
		}
	}
	return alone
}

// sameSubject compares subjects. Facts 1.7: "matching Subject (Re: prefix ok)".
func sameSubject(a, b string) bool { return bareSubject(a) == bareSubject(b) }

func bareSubject(s string) string {
	s = strings.ToLower(strings.TrimSpace(fakemail.DecodeWords(s)))
	for {
		rest := s
		for _, p := range []string{"re:", "fwd:", "fw:", "aw:"} {
			rest = strings.TrimSpace(strings.TrimPrefix(rest, p))
		}
		if rest == s {
			return s
		}
		s = rest
	}
}

// relabel adds and removes labels and records what of it was a change. The caller holds Server.mu.
func (u *User) relabel(m *mail, add, remove []string) {
	var plus, minus []string
	for _, l := range add {
		if !m.has(l) && u.label(l) != nil {
			m.labels = append(m.labels, l)
			plus = append(plus, l)
		}
	}
	for _, l := range remove {
		if m.has(l) {
			m.labels = slices.DeleteFunc(slices.Clone(m.labels), func(o string) bool { return o == l })
			minus = append(minus, l)
		}
	}
	if len(plus) > 0 {
		u.record(labelled, m, plus)
	}
	if len(minus) > 0 {
		u.record(unlabelled, m, minus)
	}
}

// trash adds TRASH. Whether INBOX goes is not known: a report has both at once (nylas/nylas-mail#1271). Options.TrashTakesInbox says.
func (u *User) trash(m *mail) {
	if u.s.opts.TrashTakesInbox {
		u.relabel(m, []string{"TRASH"}, []string{"INBOX"})
		return
	}
	u.relabel(m, []string{"TRASH"}, nil)
}

// remove deletes a message for good. The caller holds Server.mu.
func (u *User) remove(m *mail) {
	delete(u.mail, m.id)
	if same := slices.DeleteFunc(u.byHeader[m.messageID], func(o *mail) bool { return o == m }); len(same) > 0 {
		u.byHeader[m.messageID] = same
	} else {
		delete(u.byHeader, m.messageID)
	}
	if i := sort.Search(len(u.order), func(i int) bool { return !u.order[i].before(m.at, m.id) }); i < len(u.order) && u.order[i] == m {
		u.order = slices.Delete(u.order, i, i+1)
	}
	u.drafts = slices.DeleteFunc(u.drafts, func(d *draft) bool { return d.mail == m })
	u.record(deleted, m, nil)
}

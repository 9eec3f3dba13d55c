package imap_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	goimap "github.com/emersion/go-imap/v2"

	"golang.org/x/text/unicode/norm"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

func TestKeyword(t *testing.T) {
	for label, want := range map[string]string{
		"Acme": "acme", " Big Customer ": "big_customer", "big_customer": "big=5fcustomer", "Größe": "gr=c3=b6=c3=9fe", `(){%*"\]`: "=28=29=7b=25=2a=22=5c=5d",
		"Junk": "=6aunk", "NonJunk": "=6eonjunk", "$Junk": "=24junk", `\Seen`: "=5cseen", "e\u0301": "=c3=a9", "É": "=c3=a9",
		strings.Repeat("x", 50): strings.Repeat("x", 50),
		strings.Repeat("x", 51): strings.Repeat("x", 33) + "~3ecd502af72c4cf4",
	} {
		got := imap.Keyword(label)
		if got != want {
			t.Errorf("Keyword(%q) = %q, want %q", label, got, want)
		}
	}
}

// A keyword is an atom of at most 50 bytes in lower case, and tells labels apart that differ by more than case.
func FuzzKeyword(f *testing.F) {
	for _, s := range []string{"a", "A b", "_", "=5f", "~", "junk", "\xff", strings.Repeat("ü", 40), strings.Repeat("=", 60)} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		k := imap.Keyword(a)
		if len(k) > 50 || strings.ContainsFunc(k, func(r rune) bool {
			return r <= ' ' || r > '~' || strings.ContainsRune(`(){%*"\]`, r) || unicode.IsUpper(r)
		}) {
			t.Fatalf("%q is no keyword", k)
		}
		fold := func(s string) string { return strings.ToLower(norm.NFC.String(strings.TrimSpace(s))) }
		if (k == imap.Keyword(b)) != (fold(a) == fold(b)) {
			t.Fatalf("keywords of %q and %q are %q and %q", a, b, k, imap.Keyword(b))
		}
	})
}

func TestLabelNames(t *testing.T) {
	for _, c := range []struct {
		prefix string
		delim  rune
		label  string
		first  string // "*" at its end: digits follow
	}{
		{"", '/', "Big customer", "Big customer"}, {"", '/', "Deals/Acme", "Deals/Acme"}, {"INBOX.", '.', "Deals/Acme", "INBOX.Deals.Acme"},
		{"INBOX.", '.', "v1.5", "INBOX.v1_5 *"}, {"", '/', "/", "_ *"}, {"", '/', "..", "_. *"}, {"", '/', "a//b", "a__b *"}, {"", 0, "a/b", "a_b *"},
		{"", '/', "100%", "100_ *"}, {"", '/', "Trash", "Trash (label)"}, {"", '/', "Spam/x", "Spam (label)/x"}, {"", '/', "inbox", "inbox (label)"},
		{"INBOX.", '.', "Sent", "INBOX.Sent (label)"}, {"", '/', "Größe", "Größe"}, {"", '/', "Gro\u0308ße", "Größe"},
		{"", '/', strings.Repeat("long ", 60), "long long long long long long long long *"},
	} {
		names := imap.LabelNames(c.prefix, c.delim, c.label)
		want, digits := strings.CutSuffix(c.first, "*")
		if got := names[0]; digits && (!strings.HasPrefix(got, want) || len(got) != len(want)+6) || !digits && got != want {
			t.Errorf("%q is named %q, want %q", c.label, got, c.first)
		}
		if strings.ContainsFunc(names[1][len(c.prefix):], func(r rune) bool { return r >= utf8.RuneSelf || r == c.delim }) {
			t.Errorf("%q is named %q where names must be plain", c.label, names[1])
		}
	}
}

func TestLabelWithoutKeywords(t *testing.T) {
	system := []goimap.Flag{goimap.FlagSeen, goimap.FlagDeleted}
	for name, c := range map[string]struct {
		o   *odd
		how string
	}{
		`no \*`:              {&odd{permanent: system}, "folder copy"},
		"none told":          {&odd{permanent: []goimap.Flag{}}, "folder copy"},
		"dropped silently":   {&odd{dropKeywords: true}, "folder copy"},
		"the keyword itself": {&odd{permanent: append([]goimap.Flag{"Acme"}, system...)}, "keyword"},
	} {
		o := startOdd(t, c.o)
		o.add(t, "INBOX", mail("a"))
		m := o.dial(t)
		to := target(t, m, "a@example.org")
		did, err := m.Label(t.Context(), to, "Acme")
		if err != nil || did.How != c.how {
			t.Errorf("%s: %+v, %v", name, did, err)
		}
		if did.How == "folder copy" && o.count(did.To) != 1 {
			t.Errorf("%s: %d copies in %s", name, o.count(did.To), did.To)
		}
		if again, err := m.Label(t.Context(), to, "acme"); err != nil || !again.Already {
			t.Errorf("%s again: %+v, %v", name, again, err)
		}
	}
	// A server that takes no copy says so for good, and one that takes no such name is given a plain one.
	o := startOdd(t, &odd{permanent: system, copyRefusal: goimap.ResponseCodeNoPerm})
	o.add(t, "INBOX", mail("a"))
	m := o.dial(t)
	to := target(t, m, "a@example.org")
	if _, err := m.Label(t.Context(), to, "Acme"); !errors.Is(err, provider.ErrUnsupported) {
		t.Errorf("no permission: %v", err)
	}
	o.copyRefusal = ""
	did, err := m.Label(t.Context(), to, "Größe") // the odd server takes no modified UTF-7
	if err != nil || !strings.HasPrefix(did.To, "INBOX.Gr__e ") {
		t.Errorf("a plain name: %+v, %v", did, err)
	}
	if again, err := m.Label(t.Context(), to, "Größe"); err != nil || !again.Already {
		t.Errorf("a plain name again: %+v, %v", again, err)
	}
}

func TestTheLastCopyIsKept(t *testing.T) {
	srv := imaptest.Start(t, nil)
	h := srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	m := open(t, srv.Config())
	m.Ignore("KEYWORDS")
	to := target(t, m, midA)
	did, err := m.Label(t.Context(), to, "Acme")
	if err != nil {
		t.Fatal(err)
	}
	srv.Move(h, provider.RoleTrash)
	if err := m.Unlabel(t.Context(), to, did); !errors.Is(err, provider.ErrUnsupported) {
		t.Errorf("the original is in the trash: %v", err)
	}
	srv.Move(h, provider.RoleArchive)
	if err := m.Unlabel(t.Context(), to, did); err != nil {
		t.Errorf("the original is in the archive: %v", err)
	}
	if got := strings.Join(srv.Folders(h), " "); got != "Archive" {
		t.Errorf("it lies in %s", got)
	}
	// Without UIDPLUS the copy can't go alone.
	srv = imaptest.Start(t, &imaptest.Options{Without: []goimap.Cap{goimap.CapUIDPlus}})
	h = srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	m = open(t, srv.Config())
	m.Ignore("KEYWORDS")
	to = target(t, m, midA)
	if did, err = m.Label(t.Context(), to, "Acme"); err != nil {
		t.Fatal(err)
	}
	if err := m.Unlabel(t.Context(), to, did); !errors.Is(err, provider.ErrUnsupported) {
		t.Errorf("without UIDPLUS: %v", err)
	}
	if got := strings.Join(srv.Folders(h), " "); got != "Acme INBOX" {
		t.Errorf("it lies in %s", got)
	}
	if err := m.Unlabel(t.Context(), to, provider.Mutation{How: "category", To: "Acme"}); err == nil {
		t.Error("a label of another service was taken off")
	}
}

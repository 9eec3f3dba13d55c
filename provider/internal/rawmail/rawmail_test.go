package rawmail_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/rawmail"
)

func options(to ...string) provider.SendOptions {
	return provider.SendOptions{From: "me@acme.example", Recipients: to}
}

const head = "From: Me <me@acme.example>\r\nTo: Ada <ada@x.example>\r\nCc: carl@x.example\r\nBcc: old@x.example,\r\n older@x.example\r\nSubject: offer\r\nReferences: <a@b>\r\n <c@d>\r\n\r\nBody.\r\n"

func TestPrepare(t *testing.T) {
	got, err := rawmail.Prepare([]byte(head), options("ADA@x.example", "carl@x.example", "hidden@x.example", "also@x.example", "hidden@x.example"), "It")
	if err != nil {
		t.Fatal(err)
	}
	want := "Bcc: hidden@x.example,\r\n also@x.example\r\n" + strings.Replace(head, "Bcc: old@x.example,\r\n older@x.example\r\n", "", 1)
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, err = rawmail.Prepare([]byte(head), options("ada@x.example", "carl@x.example"), "It"); err != nil || strings.Contains(string(got), "cc: old") || strings.Contains(string(got), "Bcc") {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := rawmail.Prepare([]byte(head), options("ada@x.example"), "It"); err == nil {
		t.Error("Carl would get it")
	}
	other := options("ada@x.example", "carl@x.example")
	other.From = "you@acme.example"
	if _, err := rawmail.Prepare([]byte(head), other, "It"); err == nil {
		t.Error("From is another")
	}
}

// A field of our own takes the place of what had its name, and is one line.
func TestPrepareOwnFields(t *testing.T) {
	raw := strings.Replace(head, "Subject: offer", "X-Own: theirs,\r\n and more\r\nSubject: offer", 1)
	for value, want := range map[string]string{"ours": "X-Own: ours\r\n", "": "", "ours\r\nTo: eve@x.example": ""} {
		got, err := rawmail.Prepare([]byte(raw), options("ada@x.example", "carl@x.example"), "It", rawmail.Field{Name: "X-Own", Value: value})
		if err != nil {
			t.Fatal(err)
		}
		if want += strings.Replace(head, "Bcc: old@x.example,\r\n older@x.example\r\n", "", 1); string(got) != want {
			t.Errorf("%q: got\n%s\nwant\n%s", value, got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "ada", "a@b.example\r\nRCPT TO:<x@y.example>", "Ada <a@b.example>", "a@b.example>\r\n"} {
		if rawmail.Addresses(options("ok@x.example", bad)) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if rawmail.Addresses(options()) == nil || rawmail.Addresses(options("a@b.example")) != nil {
		t.Error("nobody is taken, or somebody is not")
	}
}

func mixed(files ...string) []byte {
	var b bytes.Buffer
	b.WriteString("From: me@acme.example\r\nTo: a@b.example\r\nReferences: <p@q>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b 1\"\r\n\r\npreamble\r\n" +
		"--b 1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThe text.\r\n")
	for i, f := range files {
		fmt.Fprintf(&b, "--b 1\r\nContent-Type: application/pdf; name=\"n%d.pdf\"\r\nContent-Disposition: attachment; filename=\"=?utf-8?q?f=C3=BC%d.pdf?=\"\r\n"+
			"Content-Transfer-Encoding: base64\r\nContent-ID: <c%d>\r\n\r\n", i, i, i)
		e := base64.StdEncoding.EncodeToString([]byte(f))
		for len(e) > 76 {
			b.WriteString(e[:76] + "\r\n")
			e = e[76:]
		}
		b.WriteString(e + "\r\n")
	}
	b.WriteString("--b 1--\r\n")
	return b.Bytes()
}

func TestCut(t *testing.T) {
	small, big, bigger := strings.Repeat("s", 100), strings.Repeat("b", 20_000), strings.Repeat("B", 30_000)
	raw := mixed(small, big, bigger)
	if rest, files, err := rawmail.Cut(raw, len(raw)); err != nil || len(files) != 0 || !bytes.Equal(rest, raw) {
		t.Errorf("what is short enough was changed: %d files, %v", len(files), err)
	}
	for limit, want := range map[int][]string{40_000: {bigger}, 10_000: {big, bigger}} {
		rest, files, err := rawmail.Cut(raw, limit)
		if err != nil || len(rest) > limit || len(files) != len(want) {
			t.Fatalf("limit %d: %d bytes, %d files, %v", limit, len(rest), len(files), err)
		}
		for i, f := range files {
			if string(f.Data) != want[i] || f.Type != "application/pdf" || f.ContentID == "" || !strings.HasPrefix(f.Name, "fü") || f.Inline {
				t.Errorf("limit %d: file %d is %q, %s, %q, %d bytes", limit, i, f.Name, f.Type, f.ContentID, len(f.Data))
			}
		}
		m := message.Parse(rest)
		if strings.TrimSpace(m.Text) != "The text." || len(m.Attachments) != 3-len(files) || len(m.References) != 1 {
			t.Errorf("limit %d: the rest is %q with %d attachments", limit, m.Text, len(m.Attachments))
		}
	}
	for name, raw := range map[string][]byte{
		"a long text":        []byte("From: a@b.example\r\n\r\n" + big),
		"a long part":        bytes.Replace(mixed(small), []byte("The text."), []byte(big), 1),
		"one that is broken": []byte("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" + big),
		"no header":          []byte(big),
	} {
		if _, _, err := rawmail.Cut(raw, 5000); err == nil {
			t.Errorf("%s was cut", name)
		}
	}
}

// What is cut is short, and nothing of it is lost but its encoding.
func FuzzCut(f *testing.F) {
	f.Add(mixed("one", strings.Repeat("two", 1000)), 1500)
	f.Add([]byte(head), 10)
	f.Add(bytes.Replace(mixed("one", strings.Repeat("two", 1000)), []byte(`boundary="b 1"`), []byte(`boundary="b 2"`), 1), 1500)
	f.Fuzz(func(t *testing.T, raw []byte, limit int) {
		rest, files, err := rawmail.Cut(raw, limit)
		if err != nil {
			return
		}
		n := len(rest)
		for _, f := range files {
			n += len(f.Data)
		}
		if n > len(raw)+2000*(len(files)+1) {
			t.Errorf("%d bytes became %d", len(raw), n)
		}
		if len(files) == 0 && !bytes.Equal(rest, raw) {
			t.Error("nothing was cut, and it is another message")
		}
	})
}

// Where services may see another field, or another recipient, than we do nothing is sent.
func TestPrepareAmbiguous(t *testing.T) {
	for name, header := range map[string]string{
		"a lone CR":                  "To: ada@x.example\r\nSubject: a\rBcc: evil@x.example\r\n\r\n",
		"a lone CR at the end":       "To: ada@x.example\r\nSubject: a\r\r\nBcc: evil@x.example\r\n\r\n",
		"an end that is none":        "To: ada@x.example\r\n\r\r\nBcc: evil@x.example\r\n\r\n",
		"NUL":                        "To: ada@x.example\r\nSubject: a\x00\r\n\r\n",
		"an address in encoded word": "To: ada@x.example, =?utf-8?q?evil=40x.example?=\r\n\r\n",
	} {
		if got, err := rawmail.Prepare([]byte("From: me@acme.example\r\n"+header+"x\r\n"), options("ada@x.example"), "It"); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, header := range map[string]string{
		"lines that end in LF":      "To: ada@x.example\nSubject: a\n\n",
		"nobody in To":              "To: undisclosed-recipients:;\r\n\r\n",
		"a name in an encoded word": "To: =?utf-8?q?Ada_=40work?= <ada@x.example>\r\n\r\n",
	} {
		if _, err := rawmail.Prepare([]byte("From: me@acme.example\n"+header+"x\r\n"), options("ada@x.example"), "It"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

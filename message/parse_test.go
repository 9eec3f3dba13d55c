package message_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/message"
)

var parseCases = []struct {
	name, raw              string
	subject, text, defects string // defects: names joined by space
	attachments            string // part:name:type joined by space
}{
	{name: "empty", defects: "no-header"},
	{name: "text without header", raw: "hello there\n\nsecond", text: "hello there\n\nsecond", defects: "header-without-colon no-header"},
	{name: "line without colon", raw: "From: a@ex.com\r\nbroken line\r\nSubject: kept\r\n\r\nbody", subject: "kept", text: "body", defects: "header-without-colon"},
	{name: "mbox line", raw: "From a@ex.com Mon Jan  1 00:00:00 2024\nSubject: x\n\nbody", subject: "x", text: "body", defects: "mbox-from-line"},
	{name: "bare CR", raw: "Subject: x\rFrom: a@ex.com\r\rbody\rmore", subject: "x", text: "body\nmore", defects: "bare-cr"},
	{name: "folded subject", raw: "Subject: one\r\n two\r\n\r\n", subject: "one two"},
	{name: "bad base64", raw: "Subject: x\nContent-Transfer-Encoding: base64\n\naGVs\xff!bG8=\n", subject: "x", text: "hello", defects: "bad-encoding"},
	{name: "joined base64", raw: "Subject: x\nContent-Transfer-Encoding: base64\n\naGk=aGk=\n", subject: "x", text: "hihi"},
	{name: "bad QP", raw: "Subject: x\nContent-Transfer-Encoding: quoted-printable;\n\nso=20f=ZZr =\nmore", subject: "x", text: "so f=ZZr more", defects: "bad-encoding"},
	{name: "gb2312 with gb18030", raw: "Subject: =?gb2312?B?1tDOxA==?=\nContent-Type: text/plain; charset=gb2312\n\n\xc3\xc0\x81\x30\x81\x30", subject: "中文", text: "美\u0080"},
	{name: "latin1 is windows-1252", raw: "Subject: =?iso-8859-1?Q?a=80b?=\nContent-Type: text/plain; charset=ISO-8859-1\n\n\x93q\x94", subject: "a€b", text: "“q”"},
	{name: "shift_jis is cp932", raw: "Subject: x\nContent-Type: text/plain; charset=Shift_JIS\n\n\x87\x40", subject: "x", text: "①"},
	{name: "ks_c_5601-1987", raw: "Subject: =?ks_c_5601-1987?B?x9Gx2w==?=\n\n", subject: "한글"},
	{name: "utf-7", raw: "Subject: x\nContent-Type: text/plain; charset=utf-7\n\nHi Mom +Jjo-!", subject: "x", text: "Hi Mom ☺!"},
	{name: "unknown charset", raw: "Subject: =?x-nope?Q?caf=E9?=\n\n", subject: "café", defects: "unknown-charset"},
	{name: "raw 8-bit", raw: "Subject: caf\xe9\n\ncaf\xc3\xa9", subject: "café", text: "café", defects: "wrong-charset"},
	{name: "character split between words", raw: "Subject: =?utf-8?B?5Lg=?= =?utf-8?B?rQ==?= x\n\n", subject: "中 x"},
	{name: "words and text", raw: "Subject: Re: =?utf-8?Q?a_b?= c =?utf-8?Q?d?=\n\n", subject: "Re: a b c d"},
	{name: "broken word", raw: "Subject: =?utf-8?Q?abc\n\n", subject: "=?utf-8?Q?abc"},
	{name: "alternative", raw: "Subject: x\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n--b\nContent-Type: text/html\n\n<p>rich</p>\n--b--\n", subject: "x", text: "plain"},
	{name: "html only", raw: "Subject: x\nContent-Type: text/html\n\n<style>p{}</style><p>one &amp; two</p><blockquote>old<br>er</blockquote>", subject: "x", text: "one & two\n\n> old\n> er"},
	{name: "truncated", raw: "Subject: x\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b\n\nplain\n--b\nContent-Type: application/pdf; name=a.pdf\n\nAAAA", subject: "x", text: "plain",
		defects: "multipart-truncated", attachments: "2:a.pdf:application/pdf"},
	{name: "missing boundary", raw: "Subject: x\nContent-Type: multipart/mixed\n\n--zzz1\n\nplain\n--zzz1--\n", subject: "x", text: "plain", defects: "missing-boundary"},
	{name: "wrong boundary", raw: "Subject: x\nContent-Type: multipart/mixed; boundary=no\n\n--zzz1\n\nplain\n--zzz1--\n", subject: "x", text: "plain", defects: "unknown-boundary"},
	{name: "no boundary at all", raw: "Subject: x\nContent-Type: multipart/mixed; boundary=no\n\nplain", subject: "x", text: "plain", defects: "unknown-boundary"},
	{name: "no empty line before boundary", raw: "Subject: x\nContent-Type: multipart/mixed; boundary=bb\n--bb\n\nplain\n--bb--\n", subject: "x", text: "plain", defects: "header-without-end"},
	{name: "message in message", raw: "Subject: out\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nsee\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\ninner\n--b--", subject: "out", text: "see", attachments: "2::message/rfc822"},
	{name: "RFC 2231 name", raw: "Subject: x\nContent-Type: application/pdf\nContent-Disposition: attachment; filename*0*=utf-8''%e4%b8; filename*1*=%ad; filename*2=.pdf\n\nx", subject: "x", attachments: "1:中.pdf:application/pdf"},
	{name: "unquoted name", raw: "Subject: x\nContent-Type: application/pdf; name=my file.pdf\n\nx", subject: "x", attachments: "1:my file.pdf:application/pdf"},
	{name: "encoded name", raw: "Subject: x\nContent-Type: image/png; name=\"=?utf-8?B?5Lit?=.png\"\n\nx", subject: "x", attachments: "1:中.png:image/png"},
	{name: "nested", raw: "Subject: x\nContent-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/related; boundary=ab\n\n--ab\nContent-Type: text/html\n\n<b>hi</b>\n--ab\nContent-Type: image/gif\nContent-ID: <c1>\n\nx\n--ab--\n--a--", subject: "x", text: "hi", attachments: "1.2::image/gif"},
	{name: "NUL", raw: "Subject: a\x00b\n\nc\x00d", subject: "ab", text: "cd"},
}

func TestParse(t *testing.T) {
	for _, c := range parseCases {
		t.Run(c.name, func(t *testing.T) {
			m := message.Parse([]byte(c.raw))
			checkLaw(t, []byte(c.raw), m)
			var defects, attachments []string
			for _, d := range m.Defects {
				if !slices.Contains(defects, d.Name) {
					defects = append(defects, d.Name)
				}
			}
			for _, a := range m.Attachments {
				attachments = append(attachments, a.Part+":"+a.Name+":"+a.Type)
			}
			for _, x := range [][3]string{{"Subject", m.Subject, c.subject}, {"Text", strings.TrimRight(m.Text, "\n"), c.text},
				{"Defects", strings.Join(defects, " "), c.defects}, {"Attachments", strings.Join(attachments, " "), c.attachments}} {
				if x[1] != x[2] {
					t.Errorf("%s = %q, want %q", x[0], x[1], x[2])
				}
			}
		})
	}
}

func TestParseIsLinear(t *testing.T) {
	nest := func(n int) string {
		var b strings.Builder
		b.WriteString("Subject: x\n")
		for i := range n {
			s := strings.Repeat("b", i%60+1)
			b.WriteString("Content-Type: multipart/mixed; boundary=" + s + "\n\n--" + s + "\n")
		}
		return b.String()
	}
	for name, raw := range map[string]string{
		"nested unclosed multiparts": nest(20000),
		"encoded words without end":  "Subject: " + strings.Repeat("=?utf-8?Q?", 100000) + "\n\n",
		"open angle brackets":        "To: " + strings.Repeat("<", 200000) + "\n\n",
		"open quotes":                "To: " + strings.Repeat("\"a", 100001) + "\n\n",
		"open comments":              "To: " + strings.Repeat("(", 200000) + "\n\n",
		"commas":                     "To: " + strings.Repeat("a,", 100000) + "\n\n",
		"names without address":      "To: " + strings.Repeat("aaaa bbbb ", 20000) + "@\n\n",
		"colons":                     "To: @" + strings.Repeat(":", 200000) + "\n\n",
		"groups":                     "To: " + strings.Repeat("a:;", 100000) + "\n\n",
		"comments":                   "Content-Type: text/plain" + strings.Repeat("(a)", 100000) + "\n\n",
		"date":                       "Date: " + strings.Repeat("(", 200000) + "\n\n",
		"base64 words":               "Subject: " + strings.Repeat("=?gb2312?B?1tDOxA==?= ", 50000) + "\n\n",
		"text between words":         "Subject: " + strings.Repeat("=?utf-8?Q?a?= b ", 50000) + "\n\n",
		"boundary lookalikes":        "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--bb\n", 200000),
		"guessed boundary":           "Content-Type: multipart/mixed\n\n" + strings.Repeat("--b\n\n", 100000),
		"utf-7":                      "Content-Type: text/plain; charset=utf-7\n\n" + strings.Repeat("+AA+", 100000),
		"references":                 "References: " + strings.Repeat("<a@b> <", 100000) + "\n\n",
		"fields":                     strings.Repeat("a: b\n", 300000),
		"parts":                      "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 200000),
		"blockquotes":                "Content-Type: text/html\n\n" + strings.Repeat("<blockquote>x", 100000),
		"html parts":                 "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: text/html\n\n<p>x\n", 50000),
		"parameters":                 "Content-Type: text/plain" + strings.Repeat("; a*1*=b", 100000) + "\n\n",
	} {
		took := time.Hour
		for try := 0; try < 3 && took > 10*time.Second; try++ { // a busy machine has a better moment
			start := time.Now()
			checkLaw(t, []byte(raw), message.Parse([]byte(raw)))
			took = min(took, time.Since(start))
		}
		t.Logf("%s: %v", name, took)
		// wall clock: work that grows with the square of its input takes minutes here, and nothing but time shows it
		if took > 10*time.Second {
			t.Errorf("%s: %d bytes took %v", name, len(raw), took)
		}
	}
}

func TestParseAddressList(t *testing.T) {
	for in, want := range map[string]string{
		``:                                     ``,
		`a@ex.com, Bob <b@ex.com>`:             `a@ex.com|Bob <b@ex.com>`,
		`Doe, John <j@ex.com>`:                 `Doe, John <j@ex.com>`,
		`[CRM] Bob <b@ex.com>`:                 `[CRM] Bob <b@ex.com>`,
		`bob.@docomo.ne.jp`:                    `bob.@docomo.ne.jp`,
		`a..b@docomo.ne.jp, c@ex.com`:          `a..b@docomo.ne.jp|c@ex.com`,
		`"open <b@ex.com>`:                     `open <b@ex.com>`,
		`Team: a@ex.com, b@ex.com;`:            `a@ex.com|b@ex.com`,
		`undisclosed-recipients:;`:             ``,
		`undisclosed-recipients: ;, `:          ``,
		`<>`:                                   ``,
		`=?x-nope?Q?Caf=E9?= <c@ex.com>`:       `Café <c@ex.com>`,
		`=?gb2312?B?1tDOxA==?= <c@ex.com>`:     `中文 <c@ex.com>`,
		`"ceo@corp.example" <x@evil.example>`:  `ceo@corp.example <x@evil.example>`,
		`, a@ex.com, b@ex.com`:                 `a@ex.com|b@ex.com`,
		`a@ex.com; b@ex.com`:                   `a@ex.com|b@ex.com`,
		`MAILER-DAEMON`:                        `MAILER-DAEMON`,
		`<a@ex.com> <b@ex.com>`:                `a@ex.com|b@ex.com`,
		`Pete <pete(his)@silly.test(host)>, x`: `Pete <pete@silly.test>|x`,
		`a@b . example, <>`:                    `a@b.example`,
		`x@ex.com (Bob)`:                       `Bob <x@ex.com>`,
		`"a b"@ex.com`:                         `"a b"@ex.com`,
	} {
		var got []string
		for _, a := range message.ParseAddressList(in) {
			got = append(got, a.String())
		}
		if g := strings.Join(got, "|"); g != want {
			t.Errorf("ParseAddressList(%q) = %q, want %q", in, g, want)
		}
	}
}

func TestParseIDs(t *testing.T) {
	for in, want := range map[string]string{
		"<a@b> <c@d>":                    "a@b c@d",
		"<a@b>,<c@d>,<a@b>":              "a@b c@d",
		`Your message of "Mon" <a@b>`:    "a@b",
		"a@b c@d":                        "a@b c@d",
		"<broken <a@b>":                  "a@b",
		"prose without any id":           "",
		"<1@x><2@x><3@x><4@x><5@x><6@x>": "1@x 5@x 6@x",
	} {
		if got := strings.Join(message.ParseIDs(in, 3), " "); got != want {
			t.Errorf("ParseIDs(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestBase(t *testing.T) {
	for in, want := range map[message.Key]message.Key{
		"a.b+x@gmail.com": "ab@gmail.com", "ab@googlemail.com": "ab@gmail.com", "a.b+x@ex.com": "a.b@ex.com", "ex.com": "ex.com", "+x@ex.com": "+x@ex.com",
	} {
		if got := in.Base(); got != want {
			t.Errorf("%q.Base() = %q, want %q", in, got, want)
		}
	}
}

func TestAuth(t *testing.T) {
	p := message.Parser{AuthServers: []string{"mx.example", ""}}
	for in, want := range map[string]message.Auth{
		"Authentication-Results: mx.example; dmarc=pass header.from=ex.com\n":                                              message.AuthPass,
		"Authentication-Results: mx.example; dmarc=fail (p=NONE) header.from=ex.com\n":                                     message.AuthFail,
		"Authentication-Results: mx.example; dkim=pass header.d=mail.ex.com\n":                                             message.AuthPass,
		"Authentication-Results: mx.example; dkim=pass header.d=other.com; spf=pass\n":                                     message.AuthUnknown,
		"Authentication-Results: evil.example; dmarc=pass header.from=ex.com\n":                                            message.AuthUnknown,
		"Authentication-Results: evil.example; x=y\nAuthentication-Results: mx.example; dmarc=pass\n":                      message.AuthUnknown,
		"Authentication-Results: spf=pass smtp.mailfrom=ex.com; dmarc=pass action=none header.from=ex.com;compauth=pass\n": message.AuthPass,
		"Authentication-Results: mx.example; dmarc=pass header.from=ex.com\nFrom: b@other.com\n":                           message.AuthUnknown,
		"Authentication-Results: mx.example; dmarc=fail header.from=ex.com\nFrom: b@other.com\n":                           message.AuthFail,
	} {
		if got := p.ParseHeader([]byte(in + "From: a@ex.com\n\n")).Auth; got != want {
			t.Errorf("%q: Auth = %q, want %q", in, got, want)
		}
	}
	if got := message.ParseHeader([]byte("Authentication-Results: mx.example; dmarc=pass\nFrom: a@ex.com\n\n")).Auth; got != message.AuthUnknown {
		t.Errorf("untrusted: Auth = %q", got)
	}
}

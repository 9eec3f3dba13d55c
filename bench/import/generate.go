package main

import (
	"encoding/base64"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/intellicon/email-integration/message"
)

// owner is whose mailbox it is.
const owner = "nora@northwind-tools.example"

// person is somebody whom the owner writes with.
type person struct {
	name, address string
	known         bool // one of the few whom the small CRM has
}

// mail is a generated message and where it lies.
type mail struct {
	folder string // "" is the inbox
	at     time.Time
	raw    []byte // with LF, as it lies in a Maildir
}

// world generates a mailbox: of one seed always the same.
type world struct {
	n      int
	rnd    *rand.Rand
	people []person
	talks  []talk // that are going on
}

// talk is a conversation: with whom, and its Message-IDs, oldest first.
type talk struct {
	who int
	ids []string
}

// running is how many conversations go on at a time: what answers a mail comes some fifty mails later.
const running = 30

var (
	firstNames = strings.Fields("Ana Björn Chloé Dmitri Elif Farid Greta Hiroshi Ines Jörg Katja Liam Mei Nadia Oskar Priya Quentin Rosa Søren Tomáš Ursula Viktor Wen Ximena Yusuf Zoë")
	lastNames  = strings.Fields("Almeida Bergström Castro Dubois Eriksen Fischer Grünwald Haddad Ivanova Jansen Köhler Lindqvist Müller Novák Okafor Petrov Quispe Rossi Schäfer Tanaka Ueda Vogel Wójcik Yılmaz Zhang")
	words      = strings.Fields("the and with your order pump delivery offer price we would like to confirm meeting on Tuesday please find attached drawing contract " +
		"valve invoice number for project schedule could you send us a quote before Friday thanks regards team warehouse spare part update shipment " +
		"customer address payment terms discussed yesterday call next week details below question about installation site visit approved budget")
	// foreign are a few words of mail that is not in English, each with a charset that people still send it in.
	foreign = []struct {
		name  string
		words []string
		enc   encoding.Encoding
	}{
		{"iso-8859-1", strings.Fields("Größe Maß für Lieferung Angebot über Straße prüfen möchten können Grüße schön Zahlung"), charmap.ISO8859_1},
		{"windows-1252", strings.Fields("déjà reçu l’offre “finale” coûts après été société façade — numéro €"), charmap.Windows1252},
		{"iso-8859-2", strings.Fields("wysyłka cena należność zamówienie łącznie październik ćwierć źródło"), charmap.ISO8859_2},
		{"koi8-r", strings.Fields("поставка договор насос счёт цена встреча вторник спасибо"), charmap.KOI8R},
		{"iso-2022-jp", strings.Fields("納期 見積 会議 注文 お世話 図面 確認 ください"), japanese.ISO2022JP},
		{"gb2312", strings.Fields("交货 报价 合同 会议 订单 图纸 请确认 谢谢"), simplifiedchinese.GBK},
	}
)

// newWorld: one person in ten is known, and writes a tenth of the mail.
func newWorld(n int, seed uint64) *world {
	w := &world{n: n, rnd: rand.New(rand.NewPCG(seed, 5))}
	for i := range max(20, n/20) {
		first, last := pick(w.rnd, firstNames), pick(w.rnd, lastNames)
		p := person{name: first + " " + last, known: i%10 == 0}
		domain := fmt.Sprintf("firm%d.example", i/3)
		if p.known {
			domain = fmt.Sprintf("customer%d.example", i/30)
		}
		p.address = fmt.Sprintf("p%d@%s", i, domain)
		w.people = append(w.people, p)
	}
	return w
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// mails yields the n mails, oldest first, over three years. A seed's mails are the same on every run.
func (w *world) mails() iter.Seq[mail] {
	return func(yield func(mail) bool) {
		at := time.Date(2023, 11, 1, 6, 0, 0, 0, time.UTC)
		step := float64(3*365*24*time.Hour) / float64(w.n)
		for i := range w.n {
			at = at.Add(time.Duration(step * (0.5 + w.rnd.Float64())))
			if !yield(w.mail(i, at)) {
				return
			}
		}
	}
}

// size draws what a body should measure, so that with its header the median mail has 10 KB and the largest 2 MB.
func (w *world) size() int {
	return int(min(7_500*math.Exp(1.5*w.rnd.NormFloat64()), 2<<20))
}

func (w *world) mail(i int, at time.Time) mail {
	r := w.rnd
	t := talk{who: r.IntN(len(w.people))}
	newsletter := !w.people[t.who].known && r.IntN(4) == 0
	slot := r.IntN(running)
	if !newsletter && slot < len(w.talks) && r.IntN(3) > 0 {
		t = w.talks[slot]
	}
	p := w.people[t.who]
	m := mail{at: at}
	from, to := address(p.name, p.address), address("Nora Lind", owner)
	sent := !newsletter && r.IntN(5) == 0
	if sent {
		m.folder, from, to = sentFolder, to, from
	}
	var h strings.Builder
	id := fmt.Sprintf("%x.%d@%s", r.Uint64(), i, p.address[strings.IndexByte(p.address, '@')+1:])
	size := w.size()
	if !sent {
		w.trace(&h, p, at)
	}
	fmt.Fprintf(&h, "From: %s\nTo: %s\n", from, to)
	if other := w.people[r.IntN(len(w.people))]; !newsletter && !p.known && !other.known && r.IntN(5) == 0 {
		fmt.Fprintf(&h, "Cc: %s\n", address(other.name, other.address))
	}
	subject := sentence(r, words, 3+r.IntN(5))
	lang := -1
	if r.IntN(5) == 0 {
		lang = r.IntN(len(foreign))
		subject = sentence(r, foreign[lang].words, 3)
	}
	if newsletter {
		fmt.Fprintf(&h, "List-Id: <news.%s>\nList-Unsubscribe: <https://%s/u/%d>\nPrecedence: bulk\n", p.address, p.address, i)
	} else {
		if n := len(t.ids); n > 0 {
			fmt.Fprintf(&h, "In-Reply-To: <%s>\nReferences: <%s>\n", t.ids[n-1], strings.Join(t.ids, ">\n <"))
			subject = "Re: " + subject
		}
		if t.ids = append(t.ids, id); slot < len(w.talks) {
			w.talks[slot] = t
		} else {
			w.talks = append(w.talks, t)
		}
	}
	fmt.Fprintf(&h, "Subject: %s\n", mime.QEncoding.Encode("utf-8", subject))
	damage := ""
	if r.IntN(40) == 0 {
		damage = pick(r, damages)
	}
	if damage != "no date" {
		fmt.Fprintf(&h, "Date: %s\n", at.Add(-time.Duration(r.IntN(90))*time.Second).Format(time.RFC1123Z))
	}
	if damage != "no id" {
		fmt.Fprintf(&h, "Message-ID: <%s>\n", id)
	}
	h.WriteString("MIME-Version: 1.0\n")
	var b strings.Builder
	w.body(&b, size, lang, newsletter)
	// quotedprintable writes CRLF, and a Maildir holds LF.
	m.raw = []byte(hurt(damage, h.String(), strings.ReplaceAll(b.String(), "\r\n", "\n")))
	return m
}

// trace is what servers on the way have added; a third of a small mail's bytes.
func (w *world) trace(h *strings.Builder, p person, at time.Time) {
	r := w.rnd
	domain := p.address[strings.IndexByte(p.address, '@')+1:]
	fmt.Fprintf(h, "Return-Path: <%s>\nDelivered-To: %s\n", p.address, owner)
	for hop := range 2 + r.IntN(4) {
		fmt.Fprintf(h, "Received: from relay%d.%s (relay%d.%s [192.0.2.%d])\n\tby mx%d.northwind-tools.example (Postfix) with ESMTPS id %X\n\tfor <%s>; %s\n",
			hop, domain, hop, domain, r.IntN(250), hop, r.Uint64(), owner, at.Add(-time.Duration(hop)*time.Second).Format(time.RFC1123Z))
	}
	fmt.Fprintf(h, "Authentication-Results: mx0.northwind-tools.example; dkim=pass header.d=%s; spf=pass smtp.mailfrom=%s\n", domain, p.address)
	fmt.Fprintf(h, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=key1;\n\th=from:to:subject:date:message-id; bh=%s=;\n\tb=%s\n\t %s\n", domain,
		letters(r, 43), letters(r, 70), letters(r, 70))
	fmt.Fprintf(h, "X-Mailer: Northern Lights %d.%d\nX-Spam-Status: No, score=-%d.%d\n", r.IntN(9), r.IntN(9), r.IntN(5), r.IntN(9))
}

// body is plain text in small mails, text and HTML in most, and with attachments in the large ones.
func (w *world) body(b *strings.Builder, size, lang int, newsletter bool) {
	r := w.rnd
	switch {
	case size > 40_000:
		mark := letters(r, 24)
		fmt.Fprintf(b, "Content-Type: multipart/mixed; boundary=\"%s\"\n\nThis is a multi-part message in MIME format.\n", mark)
		left := size - 8_000
		fmt.Fprintf(b, "--%s\n", mark)
		w.alternative(b, 6_000, lang)
		for n := 1 + r.IntN(3); n > 0 && left > 0; n-- {
			part := left / n
			left -= part
			fmt.Fprintf(b, "--%s\nContent-Type: application/pdf; name=\"drawing %d.pdf\"\nContent-Disposition: attachment;\n\tfilename=\"drawing %d.pdf\"\n"+
				"Content-Transfer-Encoding: base64\n\n", mark, n, n)
			raw := make([]byte, part*3/4)
			for i := 0; i < len(raw); i += 8 {
				v := r.Uint64()
				for j := i; j < min(i+8, len(raw)); j++ {
					raw[j] = byte(v)
					v >>= 8
				}
			}
			fold(b, base64.StdEncoding.EncodeToString(raw))
		}
		fmt.Fprintf(b, "--%s--\n", mark)
	case size > 4_000 || newsletter:
		w.alternative(b, size, lang)
	default:
		w.text(b, size, lang)
	}
}

// alternative is text and HTML, a quarter and three quarters.
func (w *world) alternative(b *strings.Builder, size, lang int) {
	mark := letters(w.rnd, 24)
	fmt.Fprintf(b, "Content-Type: multipart/alternative; boundary=\"%s\"\n\n--%s\n", mark, mark)
	w.text(b, size/4, lang)
	fmt.Fprintf(b, "--%s\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n", mark)
	q := quotedprintable.NewWriter(b)
	at := b.Len()
	fmt.Fprintf(q, "<html><head><style>p { font-family: Arial; color: #333 }</style></head><body>\n") //nolint:errcheck // into memory
	for b.Len()-at < size*3/4 {
		fmt.Fprintf(q, "<p style=\"margin:0 0 1em 0\"><span>%s</span> <a href=\"https://shop.example/?id=%d\">%s</a></p>\n", //nolint:errcheck // into memory
			sentence(w.rnd, words, 12), w.rnd.IntN(1e6), sentence(w.rnd, words, 2))
	}
	fmt.Fprintf(q, "</body></html>\n") //nolint:errcheck // into memory
	q.Close()                          //nolint:errcheck // into memory
	fmt.Fprintf(b, "\n--%s--\n", mark)
}

// text is a plain part of about size bytes in one of the encodings that people send.
func (w *world) text(b *strings.Builder, size, lang int) {
	r := w.rnd
	var t strings.Builder
	for t.Len() < size {
		if lang >= 0 {
			t.WriteString(sentence(r, foreign[lang].words, 8) + "\n")
		} else {
			t.WriteString(sentence(r, words, 10) + ".\n")
		}
	}
	if lang >= 0 && r.IntN(2) == 0 {
		if s, err := foreign[lang].enc.NewEncoder().String(t.String()); err == nil {
			fmt.Fprintf(b, "Content-Type: text/plain; charset=%s\nContent-Transfer-Encoding: base64\n\n", foreign[lang].name)
			fold(b, base64.StdEncoding.EncodeToString([]byte(s)))
			return
		}
	}
	switch r.IntN(3) {
	case 0:
		fmt.Fprintf(b, "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n%s", t.String())
	case 1:
		b.WriteString("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n")
		q := quotedprintable.NewWriter(b)
		q.Write([]byte(t.String())) //nolint:errcheck // into memory
		q.Close()                   //nolint:errcheck // into memory
	default:
		b.WriteString("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n")
		fold(b, base64.StdEncoding.EncodeToString([]byte(t.String())))
	}
}

// damages are what is wrong with one mail in forty.
var damages = []string{"no date", "no id", "no from", "line without colon", "raw 8 bit header", "truncated", "no boundary", "bad base64", "nul",
	"bare cr", "long line", "unknown charset", "empty body", "odd addresses"}

func hurt(damage, header, body string) string {
	switch damage {
	case "no from":
		header = strings.Replace(header, "From: ", "X-From: ", 1)
	case "line without colon":
		header = strings.Replace(header, "To: ", "this line has no colon\nTo: ", 1)
	case "raw 8 bit header":
		header += "X-Note: \xe9t\xe9 \xff\xfe\n"
	case "truncated":
		body = body[:len(body)*2/3]
	case "no boundary":
		body = strings.Replace(body, "boundary=", "x-lost=", 1)
	case "bad base64":
		body = strings.Replace(body, "base64\n\n", "base64\n\n*?=%", 1)
	case "nul":
		body += "a\x00b\n"
	case "bare cr":
		body += "one\rtwo\rthree\n"
	case "long line":
		body += strings.Repeat("no end in sight ", 3000) + "\n"
	case "unknown charset":
		body = strings.ReplaceAll(body, "charset=utf-8", "charset=x-unknown-7")
	case "empty body":
		return header + "\n"
	case "odd addresses":
		header = strings.Replace(header, "To: ", "Cc: undisclosed-recipients:;, <>, \"a,b\" <@>,\nTo: ", 1)
	}
	return header + body
}

func address(name, addr string) string {
	return mime.QEncoding.Encode("utf-8", name) + " <" + addr + ">"
}

func sentence(r *rand.Rand, from []string, n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = pick(r, from)
	}
	return strings.Join(out, " ")
}

func letters(r *rand.Rand, n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

func fold(b *strings.Builder, s string) {
	for len(s) > 0 {
		n := min(76, len(s))
		b.WriteString(s[:n] + "\n")
		s = s[n:]
	}
}

// key is what a CRM finds a person by.
func (p person) key() message.Key { return message.AddressKey(p.address) }

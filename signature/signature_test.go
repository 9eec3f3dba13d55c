package signature_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/intellicon/email-integration/signature"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sections reads a txtar file: a comment, then "-- name --" lines with their text.
func sections(s string) (comment string, parts map[string]string) {
	parts = map[string]string{}
	name := ""
	for line := range strings.Lines(s) {
		if t := strings.TrimSpace(line); strings.HasPrefix(t, "-- ") && strings.HasSuffix(t, " --") {
			name = strings.Trim(t, "- ")
			continue
		}
		parts[name] += line
	}
	return parts[""], parts
}

func TestRender(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txtar")
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			comment, parts := sections(string(data))
			var v signature.Values
			if err := json.Unmarshal([]byte(parts["values"]), &v); err != nil {
				t.Fatal(err)
			}
			got := comment + "-- template --\n" + parts["template"] + "-- values --\n" + parts["values"]
			if tmpl, err := signature.Parse(parts["template"]); err != nil {
				got += "-- error --\n" + err.Error() + "\n"
			} else {
				h, text := tmpl.Render(v)
				got += "-- html --\n" + h + "\n-- text --\n" + text + "\n"
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(data) {
				t.Errorf("got\n%s\nwant\n%s", got, data)
			}
		})
	}
}

func TestAppendHTML(t *testing.T) {
	const sig = `<div class="crm-signature"><br>SIG</div>`
	for in, want := range map[string]string{
		"hello":                               "hello" + sig,
		"<html><body>hi</body></html>":        "<html><body>hi" + sig + "</body></html>",
		"hi<blockquote>q</blockquote>":        "hi" + sig + "<blockquote>q</blockquote>",
		`hi<div class="gmail_quote">On</div>`: "hi" + sig + `<div class="gmail_quote">On</div>`,
		`hi<hr><div id="divRplyFwdMsg">From`:  "hi<hr>" + sig + `<div id="divRplyFwdMsg">From`,
		`hi<div style="border:none;border-top:solid #E1E1E1 1.0pt">From`:                     "hi" + sig + `<div style="border:none;border-top:solid #E1E1E1 1.0pt">From`,
		`<p>hi</p><p>On Mon, 1 Jan, Ada &lt;<a href="mailto:a@b">a@b</a>&gt; wrote:</p><p>q`: `<p>hi</p>` + sig + `<p>On Mon, 1 Jan, Ada &lt;<a href="mailto:a@b">a@b</a>&gt; wrote:</p><p>q`,
		`hi<br>-----Original Message-----<br>q`:                                              `hi<br>` + sig + `-----Original Message-----<br>q`,
		`hi` + sig + `<blockquote>q</blockquote>`:                                            `hi` + sig + `<blockquote>q</blockquote>`,
		`hi<blockquote>q` + sig + `</blockquote>`:                                            `hi` + sig + `<blockquote>q` + sig + `</blockquote>`,
	} {
		got := signature.AppendHTML(in, "SIG")
		if got != want {
			t.Errorf("AppendHTML(%q)\n got %q\nwant %q", in, got, want)
		}
		if again := signature.AppendHTML(got, "SIG"); again != got {
			t.Errorf("twice: %q", again)
		}
	}
}

func TestAppendText(t *testing.T) {
	for in, want := range map[string]string{
		"":            "-- \nSIG\n",
		"hi\n":        "hi\n\n-- \nSIG\n",
		"hi\r\n":      "hi\r\n\r\n-- \r\nSIG\r\n",
		"hi\n\n> q\n": "hi\n\n-- \nSIG\n\n> q\n",
		"hi\n\nOn Mon, 1 Jan 2026, Ada wrote:\n> q\n":                    "hi\n\n-- \nSIG\n\nOn Mon, 1 Jan 2026, Ada wrote:\n> q\n",
		"hi\n\nOn Mon, 1 Jan 2026, Ada <\nada@acme.com> wrote:\n\n> q\n": "hi\n\n-- \nSIG\n\nOn Mon, 1 Jan 2026, Ada <\nada@acme.com> wrote:\n\n> q\n",
		"hi\n-----Original Message-----\nq":                              "hi\n\n-- \nSIG\n\n-----Original Message-----\nq",
		"hi\n\n-- \nSIG\n":                                               "hi\n\n-- \nSIG\n",
		"hi\n\n> -- \n> SIG\n":                                           "hi\n\n-- \nSIG\n\n> -- \n> SIG\n",
		"On the way, I'll call.\n":                                       "On the way, I'll call.\n\n-- \nSIG\n",
	} {
		got := signature.AppendText(in, "SIG")
		if got != want {
			t.Errorf("AppendText(%q)\n got %q\nwant %q", in, got, want)
		}
		if again := signature.AppendText(got, "SIG"); again != got {
			t.Errorf("twice: %q", again)
		}
	}
}

// shape is the tags and attribute names of a text, in order.
func shape(s string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(s))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
		default:
			tok := z.Token()
			b.WriteString(tok.Type.String() + " " + tok.Data)
			for _, a := range tok.Attr {
				b.WriteString(" " + a.Key)
			}
			b.WriteByte('\n')
		}
	}
}

// No value can inject a tag or an attribute: the shape is that of harmless values.
func FuzzValuesInjectNothing(f *testing.F) {
	tmpl, err := signature.Parse(`<p title="{{user_title}}">{{user_name}}<br>x {{user_title}}</p><a href="https://a.example/?q={{user_phone}}">` +
		`{{user_phone}}</a><a href="mailto:{{user_email}}">{{user_email}}</a>{{company_name}}<img src="{{company_logo}}" alt="{{user_name}}">`)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`<script>`, `" onclick="x`, "https://a.example/\"><b>")
	f.Add("\x00<b>", "'><img src=x>", "javascript:x")
	f.Fuzz(func(t *testing.T, a, b, logo string) {
		v := signature.Values{UserName: "x" + a, UserTitle: "x" + b, UserPhone: "1" + a, UserEmail: "x" + b, CompanyName: "x" + a, CompanyLogo: logo}
		plain := signature.Values{UserName: "x", UserTitle: "x", UserPhone: "1", UserEmail: "x", CompanyName: "x"}
		got, _ := tmpl.Render(v)
		without, _ := tmpl.Render(plain)
		plain.CompanyLogo = "https://a.example/x"
		with, _ := tmpl.Render(plain)
		if s := shape(got); s != shape(without) && s != shape(with) {
			t.Errorf("%q has the shape\n%s", got, s)
		}
	})
}

// What Parse lets through holds no script, handler or foreign scheme, and renders to the same when parsed again.
func FuzzTemplateIsClean(f *testing.F) {
	f.Add("<p style>x</p><a href>y</a><img src>")
	f.Add(`<a href="java&#115;cript:x">y</a><svg><script>x</script></svg><p onload=x style="b:u\72l(x)">`)
	f.Add(`<b>x, {{user_name}} | <i>y`)
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := signature.Parse(source)
		if err != nil {
			return
		}
		out, _ := tmpl.Render(signature.Values{UserName: "Ada"})
		z := html.NewTokenizer(strings.NewReader(out))
		for z.Next() != html.ErrorToken {
			tok := z.Token()
			if tok.Data == "script" && tok.Type != html.TextToken {
				t.Fatalf("script in %q", out)
			}
			for _, a := range tok.Attr {
				low := strings.ToLower(a.Val)
				if strings.HasPrefix(a.Key, "on") || a.Key == "href" && strings.HasPrefix(low, "javascript:") || a.Key == "style" && strings.Contains(low, "url(") {
					t.Fatalf("%s=%q in %q", a.Key, a.Val, out)
				}
			}
		}
	})
}

func ExampleTemplate_Render() {
	tmpl, err := signature.Parse(`{{user_name}}<br>{{user_title}}, {{company_name}}<br>Phone: {{user_phone}}<br>`)
	if err != nil {
		fmt.Println(err)
		return
	}
	html, text := tmpl.Render(signature.Values{UserName: "Ada Lovelace", CompanyName: "Acme"})
	fmt.Println(html)
	fmt.Println(text)
	// Output:
	// Ada Lovelace<br>Acme<br>
	// Ada Lovelace
	// Acme
}

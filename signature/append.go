package signature

import (
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// Marker is the class of the element that AppendHTML wraps a signature in.
const Marker = "crm-signature"

var (
	quoteClasses = words("gmail_quote gmail_quote_container gmail_extra yahoo_quoted moz-cite-prefix protonmail_quote " +
		"zmail_extra tutanota_quote AppleMailQuote")
	quoteIDs = words("divRplyFwdMsg appendonsend OLK_SRC_BODY_SECTION mail-editor-reference-message-container " +
		"ms-outlook-mobile-body-separator-line replySplit")
	// Outlook for Windows marks the quote by this line only.
	outlookRule = regexp.MustCompile(`(?i)border-top:\s*solid\s+#(?:e1e1e1|b5c4df)\s+1(?:\.0)?pt`)
	wrote       = regexp.MustCompile(`(?is)^\s*(?:on\b.{6,300}\bwrote|am\b.{6,300}\bschrieb\b.{0,200}|le\b.{6,300}\ba écrit|el\b.{6,300}\bescribió|il\b.{6,300}\bha scritto|op\b.{6,300}\bschreef\b.{0,200})[\s\x{a0}]*:\s*$`)
	original    = regexp.MustCompile(`(?i)^\s*-{2,}\s*(?:original message|forwarded message|ursprüngliche nachricht|message d'origine|mensaje original|messaggio originale|oorspronkelijk bericht)\s*-{2,}\s*$`)
)

// AppendHTML puts the signature into an HTML body: above the quoted reply, or at the end. A body that has one above
// the quote already stays as it is.
func AppendHTML(body, sig string) string {
	if sig == "" {
		return body
	}
	at, signed := htmlQuote(body)
	if signed {
		return body
	}
	return body[:at] + `<div class="` + Marker + `"><br>` + sig + "</div>" + body[at:]
}

// htmlQuote returns where the quote begins, or the content ends, and whether a signature stands above.
func htmlQuote(body string) (at int, signed bool) {
	z := html.NewTokenizer(strings.NewReader(body))
	offset, lineStart, end := 0, 0, len(body)
	var line strings.Builder
	for {
		tt := z.Next()
		raw := len(z.Raw())
		if tt == html.ErrorToken {
			return end, signed
		}
		tok := z.Token()
		start := offset
		offset += raw
		block := tok.Data == "br" || blockTags[tok.Data] || cellTags[tok.Data] || tok.Data == "body" || tok.Data == "html" || tok.Data == "blockquote"
		switch tt {
		case html.TextToken:
			line.WriteString(tok.Data)
			if text := line.String(); wrote.MatchString(text) || original.MatchString(text) {
				return lineStart, signed
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			if tok.Data == "blockquote" {
				return start, signed
			}
			for _, a := range tok.Attr {
				switch a.Key {
				case "class":
					for _, c := range strings.Fields(a.Val) {
						if quoteClasses[c] {
							return start, signed
						}
						signed = signed || c == Marker
					}
				case "id":
					if quoteIDs[strings.TrimPrefix(a.Val, "x_")] {
						return start, signed
					}
				case "style":
					if tok.Data == "div" && outlookRule.MatchString(a.Val) {
						return start, signed
					}
				}
			}
			if block {
				// The signature goes before the element that holds the attribution, but never before <body> or
				// between the parts of a table.
				if line.Reset(); tok.Data == "div" || tok.Data == "p" {
					lineStart = start
				} else {
					lineStart = offset
				}
			}
		case html.EndTagToken:
			if (tok.Data == "body" || tok.Data == "html") && end == len(body) {
				end = start
			}
			if block {
				line.Reset()
				lineStart = offset
			}
		}
	}
}

// AppendText puts the signature into a plain body, after the line "-- " (RFC 3676, 4.3).
func AppendText(body, sig string) string {
	sig = strings.TrimSpace(sig)
	if sig == "" {
		return body
	}
	crlf := strings.Contains(body, "\r\n")
	body = strings.ReplaceAll(body, "\r\n", "\n")
	sig = strings.ReplaceAll(sig, "\r\n", "\n")
	at := textQuote(body)
	top, quote := body[:at], body[at:]
	block := "-- \n" + sig + "\n"
	out := body
	if !strings.Contains("\n"+strings.TrimRight(top, "\n")+"\n", "\n"+block) {
		out = strings.TrimRight(top, "\n")
		if out != "" {
			out += "\n\n"
		}
		out += block
		if quote != "" {
			out += "\n" + quote
		}
	}
	if crlf {
		out = strings.ReplaceAll(out, "\n", "\r\n")
	}
	return out
}

// textQuote returns where the quote begins, len(body) where there is none.
func textQuote(body string) int {
	offset := 0
	lines := strings.SplitAfter(body, "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			offset += len(line)
			continue
		}
		// Mail programs wrap the attribution.
		joined := line
		for n := 1; n < 3 && i+n < len(lines) && strings.TrimSpace(lines[i+n]) != ""; n++ {
			if wrote.MatchString(joined) {
				break
			}
			joined += lines[i+n]
		}
		switch {
		case strings.HasPrefix(line, ">"), original.MatchString(line), wrote.MatchString(line), wrote.MatchString(joined),
			len(strings.TrimSpace(line)) >= 20 && strings.Trim(strings.TrimSpace(line), "_") == "",
			strings.HasPrefix(line, "From: ") && i+1 < len(lines) && (strings.HasPrefix(lines[i+1], "Sent: ") || strings.HasPrefix(lines[i+1], "Date: ")):
			return offset
		}
		offset += len(line)
	}
	return offset
}

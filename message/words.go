package message

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// decodeText decodes the encoded words of RFC 2047 in s, and raw 8-bit text around them.
//
// Neighbouring words of one charset are joined before they are decoded: RFC 2047, 5 forbids to split a character
// between words. Seen in practice: most Asian mailers of the 2000s do.
func decodeText(s, hint string, d *defects) string {
	if !strings.Contains(s, "=?") {
		return oneLine(utf8Text([]byte(s), hint, d))
	}
	var (
		out     strings.Builder
		pending []byte // bytes of words not yet decoded
		charset string
	)
	flush := func() {
		if len(pending) > 0 {
			out.WriteString(utf8Text(pending, charset, d))
			pending = pending[:0]
		}
	}
	for len(s) > 0 {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		cs, b, n := encodedWord(s[i:])
		if n < 0 { // no "?=" follows at all
			break
		}
		if n == 0 {
			flush()
			out.WriteString(utf8Text([]byte(s[:i+2]), hint, d))
			s = s[i+2:]
			continue
		}
		// RFC 2047, 6.2: space between neighbouring words is not shown.
		if len(pending) == 0 || strings.TrimSpace(s[:i]) != "" {
			flush()
			out.WriteString(utf8Text([]byte(s[:i]), hint, d))
		}
		if !strings.EqualFold(cs, charset) {
			flush()
		}
		charset = cs
		pending = append(pending, b...)
		s = s[i+n:]
	}
	flush()
	out.WriteString(utf8Text([]byte(s), hint, d))
	return oneLine(out.String())
}

// encodedWord reads the word that s begins with. n is its length, 0 when it is none, -1 when none can follow.
func encodedWord(s string) (charset string, b []byte, n int) {
	end := strings.IndexByte(s[2:min(len(s), 66)], '?')
	if end <= 0 {
		return "", nil, 0
	}
	charset = s[2 : 2+end]
	rest := s[2+end+1:]
	if len(rest) < 2 || rest[1] != '?' {
		return "", nil, 0
	}
	enc, rest := rest[0], rest[2:]
	stop := strings.Index(rest, "?=")
	if stop < 0 {
		return "", nil, -1
	}
	text := rest[:stop]
	n = len(s) - len(rest) + stop + 2
	switch enc {
	case 'b', 'B':
		b, _ = decodeBase64([]byte(text), maxSubject)
	case 'q', 'Q':
		b, _ = decodeQP([]byte(strings.ReplaceAll(text, "_", " ")), maxSubject)
		if strings.HasSuffix(text, "_") || strings.HasSuffix(text, " ") {
			// decodeQP drops trailing white space, which is padding in bodies and text here.
			for i := len(text); i > 0 && (text[i-1] == '_' || text[i-1] == ' '); i-- {
				b = append(b, ' ')
			}
		}
	default:
		return "", nil, 0
	}
	return charset, b, n
}

// oneLine replaces control characters by spaces: header text with a line break in it is an injection or an accident.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// parseParams splits a structured field such as Content-Type into its lower-case value and its parameters, with
// the continuations and charsets of RFC 2231 resolved. It takes what is seen in practice: unquoted values with
// spaces, quotes that do not close, comments, encoded words in quotes (RFC 2047, 5 forbids these).
func parseParams(v string) (value string, params map[string]string) {
	parts := splitParams(v)
	params = map[string]string{}
	if len(parts) == 0 {
		return "", params
	}
	value = strings.ToLower(strings.TrimSpace(stripComments(parts[0])))
	if i := strings.IndexAny(value, " \t"); i > 0 {
		value = value[:i]
	}
	type piece struct {
		n    int
		ext  bool
		text string
	}
	pieces := map[string][]piece{}
	for _, p := range parts[1:] {
		name, val, ok := strings.Cut(p, "=")
		if !ok {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(name))
		val = unquote(strings.TrimSpace(val))
		base, num, star := strings.Cut(name, "*")
		if !star {
			if _, dup := params[name]; !dup {
				params[name] = val
			}
			continue
		}
		ext := num == "" || strings.HasSuffix(num, "*")
		n, _ := strconv.Atoi(strings.TrimSuffix(num, "*"))
		pieces[base] = append(pieces[base], piece{n, ext, val})
	}
	for name, ps := range pieces {
		slices.SortStableFunc(ps, func(a, b piece) int { return a.n - b.n })
		charset, raw := "", []byte(nil)
		for i, p := range ps {
			t := p.text
			if p.ext && i == 0 {
				if f := strings.SplitN(t, "'", 3); len(f) == 3 {
					charset, t = f[0], f[2]
				}
			}
			if p.ext {
				raw = append(raw, unpercent(t)...)
			} else {
				raw = append(raw, t...)
			}
		}
		params[name] = utf8Text(raw, charset, new(defects))
	}
	return clean(value), params
}

// splitParams splits at semicolons outside quotes, in one pass, bounded.
func splitParams(v string) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(v) && len(parts) < 200; i++ {
		switch c := v[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			parts = append(parts, v[start:i])
			start = i + 1
		}
	}
	return append(parts, v[start:])
}

func unquote(s string) string {
	if !strings.HasPrefix(s, `"`) {
		return strings.TrimSpace(stripComments(s))
	}
	s = s[1:]
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		} else if s[i] == '"' {
			s = s[:i]
			break
		}
	}
	// Only these two: Windows paths in file names keep their backslashes.
	return strings.ReplaceAll(strings.ReplaceAll(s, `\"`, `"`), `\\`, `\`)
}

func unpercent(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if x, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b = append(b, x[0])
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return b
}

// stripComments removes RFC 5322, 3.2.2 comments outside quotes. An open one stays: it is text.
func stripComments(s string) string {
	if strings.IndexByte(s, '(') < 0 || strings.IndexByte(s, ')') < 0 {
		return s
	}
	var out strings.Builder
	depth, quoted, last := 0, false, strings.LastIndexByte(s, ')')
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted && i < last:
			depth++
			continue
		case c == ')' && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			out.WriteByte(c)
		}
	}
	return out.String()
}

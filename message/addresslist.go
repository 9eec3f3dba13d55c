package message

import (
	"mime"
	"net/mail"
	"strings"
)

const (
	maxAddresses   = 2000
	maxAddressText = 256 << 10
)

// ParseAddressList reads an address field. It takes what RFC 5322 allows, and where that fails, what is seen in
// practice: unquoted commas and brackets in names, dots at odd places, quotes that do not close, unknown charsets,
// empty elements. Groups are flattened; `undisclosed-recipients:;` and `<>` are no addresses. A name without an
// address is returned with an empty Key.
func ParseAddressList(s string) []Address {
	s = clean(cut(strings.ToValidUTF8(s, "\uFFFD"), maxAddressText))
	if strings.TrimSpace(s) == "" {
		return nil
	}
	if len(s) <= 16<<10 {
		p := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: charsetReader}}
		if list, err := p.ParseList(s); err == nil {
			var as []Address
			for _, a := range list {
				addr := a.Address
				// net/mail unquotes the local part; as written is what goes back into a header.
				if at := strings.LastIndexByte(addr, '@'); at > 0 && strings.ContainsAny(addr[:at], " \"<>(),;:\\[]@\t") {
					addr = quoteLocal(addr[:at]) + addr[at:]
				}
				as = append(as, NewAddress(decodeText(a.Name, "", new(defects)), oneLine(clean(addr))))
			}
			return as
		}
	}
	return lenientList(s)
}

func quoteLocal(local string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(local, `\`, `\\`), `"`, `\"`) + `"`
}

// mailbox collects one element of a list.
type mailbox struct {
	name, angle, comment strings.Builder
	hasAngle             bool
}

// lenientList reads a list in one pass and never refuses it.
func lenientList(s string) []Address {
	var (
		as      []Address
		m       mailbox
		pending string // a name that ended at a comma: "Doe, John <j@x>"
	)
	flush := func(sep byte) {
		name := strings.TrimSpace(m.name.String())
		switch {
		case m.hasAngle:
			addr := strings.TrimSpace(stripComments(m.angle.String())) // RFC 5322, 3.4.1: comments may stand around "@"
			// RFC 5322, 4.4: an obsolete route, "<@a,@b:c@d>"
			if strings.HasPrefix(addr, "@") {
				if i := strings.LastIndexByte(addr, ':'); i > 0 {
					addr = addr[i+1:]
				}
			}
			addr = strings.TrimPrefix(addr, "mailto:")
			if pending != "" {
				name = strings.TrimSpace(pending + ", " + name)
			}
			if name == "" {
				name = m.comment.String()
			}
			if addr != "" || name != "" {
				as = append(as, NewAddress(displayName(name), oneLine(addr)))
			}
			pending = ""
		case strings.IndexByte(name, '@') >= 0:
			if pending != "" {
				as = append(as, Address{Name: displayName(pending)})
				pending = ""
			}
			// RFC 5322, 4.4: white space around the dots of an obsolete domain.
			words := strings.Fields(strings.ReplaceAll(strings.Join(strings.Fields(name), " "), " . ", "."))
			at := 0
			for i, w := range words {
				if strings.IndexByte(w, '@') >= 0 {
					at = i
				}
			}
			addr := strings.Trim(words[at], `"'<>[]`)
			rest := strings.Join(append(append([]string(nil), words[:at]...), words[at+1:]...), " ")
			if rest == "" {
				rest = m.comment.String()
			}
			as = append(as, NewAddress(displayName(rest), oneLine(addr)))
		case name != "":
			if len(pending) < 1000 { // a name of many commas is none
				pending = strings.TrimPrefix(pending+", "+cut(name, 1000), ", ")
			}
		}
		if sep != ',' && pending != "" {
			if sep == 0 {
				a := Address{Name: displayName(pending)}
				if !strings.ContainsAny(pending, " \t,") {
					a = Address{Addr: oneLine(pending)} // "MAILER-DAEMON", "root"
				}
				as = append(as, a)
			}
			pending = ""
		}
		m = mailbox{}
	}
	openQuote, openComment := false, false // no closing mark follows: the mark is text
	group := false
	for i := 0; i < len(s) && len(as) < maxAddresses; i++ {
		c := s[i]
		switch {
		case c == '"' && !openQuote:
			end := closing(s, i+1, '"')
			if end < 0 {
				openQuote = true
				continue
			}
			q := s[i+1 : end]
			if end+1 < len(s) && s[end+1] == '@' {
				m.name.WriteString(s[i : end+1]) // a quoted local part
			} else {
				m.name.WriteString(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(q, `\"`, `"`), `\\`, `\`), "@", "\x01"))
			}
			i = end
		case c == '(' && !openComment:
			end := closing(s, i+1, ')')
			if end < 0 {
				openComment = true
				continue
			}
			if m.comment.Len() == 0 {
				m.comment.WriteString(s[i+1 : end])
			}
			i = end
		case c == '<':
			end := strings.IndexAny(s[i+1:min(len(s), i+2000)], "<>;,")
			if end >= 0 && s[i+1+end] == ',' && i+1 < len(s) && s[i+1] == '@' { // a route
				if e := strings.IndexByte(s[i+1:min(len(s), i+2000)], '>'); e >= 0 {
					end = e
				}
			}
			if end < 0 {
				end = min(len(s), i+2000) - i - 1
			}
			if m.hasAngle && m.angle.Len() > 0 && strings.IndexByte(m.angle.String(), '@') >= 0 {
				if inner := s[i+1 : i+1+end]; strings.IndexByte(inner, '@') >= 0 {
					flush(',') // two addresses without a comma between them
				}
			}
			if !m.hasAngle || m.angle.Len() == 0 || strings.IndexByte(s[i+1:i+1+end], '@') >= 0 {
				m.angle.Reset()
				m.angle.WriteString(s[i+1 : i+1+end])
			}
			m.hasAngle = true
			i += end
			if i+1 < len(s) && s[i+1] == '>' {
				i++
			}
		case c == ',':
			flush(',')
		case c == ';':
			if group && m.name.Len() == 0 && !m.hasAngle && pending == "" {
				group = false
				continue
			}
			flush(';')
			group = false
		case c == ':' && !m.hasAngle && !group && m.name.Len() < 200 && strings.IndexByte(m.name.String(), '@') < 0:
			// A group's name. "mailto:" is seen too.
			m, pending, group = mailbox{}, "", true
		default:
			m.name.WriteByte(c)
		}
	}
	if group && !m.hasAngle && strings.IndexByte(m.name.String(), '@') < 0 {
		return as
	}
	flush(0)
	return as
}

// closing returns the index of an unescaped mark at or after i, -1 where there is none.
func closing(s string, i int, mark byte) int {
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case mark:
			return i
		}
	}
	return -1
}

func displayName(s string) string {
	s = strings.ReplaceAll(s, "\x01", "@")
	return strings.Trim(decodeText(cut(clean(s), 4096), "", new(defects)), `"' `)
}

// Base returns the key under which addresses of one person may be looked up a second time: without "+tag", and for
// Gmail in one domain without dots. It is a hint, not an identity: RFC 5233 leaves the meaning of "+" to the
// receiver. Send to the address as written.
func (k Key) Base() Key {
	at := strings.LastIndexByte(string(k), '@')
	if at <= 0 {
		return k
	}
	local, domain := string(k[:at]), string(k[at+1:])
	if plus := strings.IndexByte(local, '+'); plus > 0 {
		local = local[:plus]
	}
	if domain == "gmail.com" || domain == "googlemail.com" {
		domain = "gmail.com"
		if l := strings.ReplaceAll(local, ".", ""); l != "" {
			local = l
		}
	}
	return Key(local + "@" + domain)
}

package message

import (
	"encoding/base64"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

// aliases are names that the WHATWG and IANA tables lack, or where what writers mean is wider than what they say:
// mail that says gb2312 holds characters of GB 18030.
var aliases = map[string]encoding.Encoding{
	"gb2312": simplifiedchinese.GB18030, "gbk": simplifiedchinese.GB18030, "x-gbk": simplifiedchinese.GB18030,
	"gb_2312-80": simplifiedchinese.GB18030, "cp936": simplifiedchinese.GB18030, "euc-cn": simplifiedchinese.GB18030,
	"hz-gb-2312": simplifiedchinese.HZGB2312,
	"cp932":      japanese.ShiftJIS, "windows-31j": japanese.ShiftJIS, "x-sjis": japanese.ShiftJIS, "shift-jis": japanese.ShiftJIS,
	"iso-2022-jp-ms": japanese.ISO2022JP, "cp50220": japanese.ISO2022JP, "cp50221": japanese.ISO2022JP,
	"ks_c_5601-1987": korean.EUCKR, "ks_c_5601": korean.EUCKR, "ksc5601": korean.EUCKR, "cp949": korean.EUCKR, "uhc": korean.EUCKR,
	"utf-16":     unicode.UTF16(unicode.BigEndian, unicode.UseBOM), // RFC 2781, 4.3
	"unicode":    unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"iso-8859-1": charmap.Windows1252, "latin1": charmap.Windows1252, "latin-1": charmap.Windows1252,
	"cp1252": charmap.Windows1252, "8859_1": charmap.Windows1252, "iso8859_1": charmap.Windows1252, "iso_8859-1": charmap.Windows1252,
	"cp1250": charmap.Windows1250, "cp1251": charmap.Windows1251, "cp1253": charmap.Windows1253, "cp1254": charmap.Windows1254,
	"cp1255": charmap.Windows1255, "cp1256": charmap.Windows1256, "cp1257": charmap.Windows1257, "cp1258": charmap.Windows1258,
	"cp850": charmap.CodePage850, "cp437": charmap.CodePage437, "cp866": charmap.CodePage866,
}

// charsetEncoding returns the encoding of a charset name; nil with true stands for UTF-8 or ASCII.
func charsetEncoding(name string) (encoding.Encoding, bool) {
	name = strings.ToLower(strings.Trim(strings.TrimSpace(name), `"'`))
	if i := strings.IndexByte(name, '*'); i >= 0 {
		name = name[:i] // RFC 2231, 5: a language may follow the charset of an encoded word
	}
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "unicode-1-1-utf-8", "7bit", "8bit", "binary", "default", "unknown-8bit", "x-unknown", "ansi_x3.4-1968":
		return nil, true
	}
	if len(name) > 40 {
		return nil, false
	}
	if e, ok := aliases[name]; ok {
		return e, true
	}
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return e, true
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e, true
	}
	return nil, false
}

// utf8Text turns bytes of a declared charset into text. Charset labels lie, so ASCII and unknown charsets are
// taken for UTF-8 where they are valid as such, and for windows-1252 otherwise.
func utf8Text(b []byte, charset string, d *defects) string {
	if ascii(b) && !strings.HasPrefix(strings.ToLower(charset), "iso-2022") && !strings.Contains(strings.ToLower(charset), "utf-") && !strings.HasPrefix(strings.ToLower(charset), "hz") {
		return clean(string(b))
	}
	if c := strings.ToLower(charset); c == "utf-7" || c == "unicode-1-1-utf-7" {
		return clean(decodeUTF7(string(b)))
	}
	e, ok := charsetEncoding(charset)
	if !ok {
		d.add("unknown-charset", cut(clean(charset), 40))
	}
	if e == nil {
		if utf8.Valid(b) {
			return clean(string(b))
		}
		if ok {
			d.add("wrong-charset", cut(clean(charset), 40))
		}
		if anyRune(b) { // mostly UTF-8: cut or mixed text
			return clean(string(b))
		}
		e = charmap.Windows1252
	}
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		d.add("wrong-charset", cut(clean(charset), 40))
		return clean(string(b))
	}
	return clean(string(out))
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// anyRune reports whether b has a valid multi-byte UTF-8 sequence.
func anyRune(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if n > 1 && r != utf8.RuneError {
			return true
		}
		b = b[n:]
	}
	return false
}

// charsetReader serves mime.WordDecoder. It never fails: a strange charset must not cost the address.
func charsetReader(charset string, r io.Reader) (io.Reader, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSubject))
	return strings.NewReader(utf8Text(b, charset, new(defects))), err
}

// clean returns valid UTF-8 without NUL.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return s
}

// cut shortens valid UTF-8 to at most n bytes at a rune's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// decodeUTF7 reads RFC 2152. x/text has no UTF-7, and old Exchange servers still relay it.
func decodeUTF7(s string) string {
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '+')
		if i < 0 {
			out.WriteString(s)
			return out.String()
		}
		out.WriteString(s[:i])
		s = s[i+1:]
		n := 0
		for n < len(s) && isBase64(s[n]) {
			n++
		}
		if n == 0 {
			out.WriteByte('+')
		}
		b, _ := base64.RawStdEncoding.DecodeString(s[:n-n%4] + pad(s[n-n%4:n]))
		var units []uint16
		for j := 0; j+1 < len(b); j += 2 {
			units = append(units, uint16(b[j])<<8|uint16(b[j+1]))
		}
		out.WriteString(string(utf16.Decode(units)))
		s = strings.TrimPrefix(s[n:], "-")
	}
}

// pad zeroes the unused bits of a base64 remainder of one character, which no decoder takes.
func pad(s string) string {
	if len(s) == 1 {
		return ""
	}
	return s
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

package gmail

import (
	"bytes"
	"mime"
	"strings"
	"unicode/utf8"
)

// bodyIsUTF8 guesses whether Gmail handed a text out in UTF-8, whatever its Content-Type says: what is valid UTF-8 seldom is anything else, but where a charset
// is written in ASCII with shifts (RFC 1468, RFC 2152), and then they show.
func bodyIsUTF8(b []byte, contentType string) bool {
	if !utf8.Valid(b) {
		return false
	}
	_, params, _ := mime.ParseMediaType(contentType)
	switch c := strings.ToLower(params["charset"]); {
	case strings.HasPrefix(c, "iso-2022-"):
		return !bytes.ContainsAny(b, "\x1b\x0e")
	case strings.HasPrefix(c, "hz"):
		return !bytes.Contains(b, []byte("~{"))
	case strings.Contains(c, "utf-7"):
		return !isASCII(b)
	case strings.HasPrefix(c, "utf-16"), strings.HasPrefix(c, "utf16"), strings.HasPrefix(c, "utf-32"):
		return bytes.IndexByte(b, 0) < 0
	}
	return true
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// withCharset is a content type that says UTF-8.
func withCharset(contentType, typ string) string {
	t, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t, params = strings.ToLower(typ), map[string]string{}
	}
	params["charset"] = "utf-8"
	if s := mime.FormatMediaType(t, params); s != "" {
		return s
	}
	return strings.ToLower(typ) + "; charset=utf-8"
}

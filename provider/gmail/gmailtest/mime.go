package gmailtest

import (
	"strings"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// plain is the text of a message, of HTML without its tags.
func plain(p *fakemail.Part) string {
	if len(p.Parts) > 0 {
		for _, c := range p.Parts {
			if t := plain(c); t != "" {
				return t
			}
		}
		return ""
	}
	switch {
	case p.Filename != "":
		return ""
	case p.Kind == "text/plain":
		return strings.Join(strings.Fields(string(p.Body)), " ")
	case p.Kind == "text/html":
		return strings.Join(strings.Fields(fakemail.Tag.ReplaceAllString(string(p.Body), " ")), " ")
	}
	return ""
}

// attached reports whether any part has a file name.
func attached(p *fakemail.Part) bool {
	if p.Filename != "" {
		return true
	}
	for _, c := range p.Parts {
		if attached(c) {
			return true
		}
	}
	return false
}

package gmail

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	gapi "google.golang.org/api/gmail/v1"
)

// errSamePage is of a server whose pages don't end.
var errSamePage = errors.New("gmail: the server gives the same pages again and again")

// endless is how many pages of a listing may tell nothing.
const endless = 1000

// trail notices where pages of a listing lead nowhere: in a circle, or on and on. Of the pages before it remembers one (Brent's algorithm finds every circle with that).
type trail struct {
	Pages int    `json:"pn,omitempty"`
	Mark  string `json:"pm,omitempty"` // where a page led
	Seen  string `json:"ps,omitempty"` // what was on it
	Idle  int    `json:"pi,omitempty"` // pages that told nothing
}

// on notes a page, and where it leads: errSamePage where that has no end.
func (t *trail) on(next, told string) error {
	if next == "" {
		*t = trail{}
		return nil
	}
	next, told = short8(next), short8(told)
	if next == t.Mark {
		return errSamePage
	}
	if told == "" || told == t.Seen {
		if t.Idle++; t.Idle > endless {
			return errSamePage
		}
	}
	if t.Pages++; t.Pages&(t.Pages-1) == 0 {
		t.Mark, t.Seen = next, told
	}
	return nil
}

// anew notes that the listing begins anew, where what was listed comes again.
func (t *trail) anew() { t.Pages, t.Mark, t.Seen = 0, "", "" }

func short8(s string) string {
	if s == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// names are what is on a page of messages.
func names(msgs []*gapi.Message) (s string) {
	for _, msg := range msgs {
		s += msg.Id + " "
	}
	return s
}

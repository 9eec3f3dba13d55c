package outlook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

const byCategory = "category"

var categoryFields = append([]string{"categories", "changeKey"}, idFields...)

// Label implements provider.Labeler: it is one of the message's categories, beside those that it has.
func (m *Mailbox) Label(ctx context.Context, t provider.Target, label string) (provider.Mutation, error) {
	if strings.TrimSpace(label) == "" {
		return provider.Mutation{}, errors.New("outlook: a label needs a name")
	}
	name := categoryName(label)
	did := provider.Mutation{How: byCategory, To: name}
	err := m.recategorise(ctx, t, func(x *mail) ([]string, bool) {
		did.Item = x.id()
		for _, c := range x.GetCategories() {
			if strings.EqualFold(c, name) {
				did.Already, did.To = true, c
				return nil, false
			}
		}
		return append(slices.Clone(x.GetCategories()), name), true
	})
	if err != nil {
		return provider.Mutation{}, err
	}
	if m.p.o.ColorCategories && !did.Already {
		m.color(ctx, name)
	}
	return did, nil
}

// Unlabel implements provider.Labeler.
func (m *Mailbox) Unlabel(ctx context.Context, t provider.Target, was provider.Mutation) error {
	if was.How != byCategory || was.Already || was.To == "" {
		return ctx.Err()
	}
	return m.recategorise(ctx, t, func(x *mail) ([]string, bool) {
		had := x.GetCategories()
		rest := slices.DeleteFunc(slices.Clone(had), func(c string) bool { return strings.EqualFold(c, was.To) })
		return rest, len(rest) < len(had)
	})
}

// recategorise changes the categories of a message. Facts 2.3: "PATCH replaces the WHOLE array: read, merge, write with If-Match": where somebody changed the
// message in between it is read again.
func (m *Mailbox) recategorise(ctx context.Context, t provider.Target, change func(*mail) ([]string, bool)) error {
	for try := 0; ; try++ {
		x, err := m.target(ctx, t, categoryFields)
		if err != nil {
			return err
		}
		categories, wanted := change(x)
		if !wanted {
			return nil
		}
		err = m.once(ctx, quota.Live, messageUpdate, func(ctx context.Context) error {
			patch := models.NewMessage()
			patch.SetOdataType(nil)
			if categories == nil {
				categories = []string{}
			}
			patch.SetCategories(categories)
			_, err := m.me.Messages().ByMessageId(string(x.id())).Patch(ctx, patch, &users.ItemMessagesMessageItemRequestBuilderPatchRequestConfiguration{Headers: ifMatch(x.etag())})
			return err
		})
		if s := status(err); (s == http.StatusPreconditionFailed || s == http.StatusConflict) && try < 5 {
			continue
		}
		return err
	}
}

// nameLimit is how long names of categories are made at most, in characters: Exchange takes 255. (mem)
const nameLimit = 200

// categoryName is a name that Exchange takes. Control characters, signs by which Outlook separates categories (mem) and lengths that it refuses are changed, and a hash of the name keeps such
// names apart.
func categoryName(s string) string {
	name := strings.TrimSpace(s)
	clean := strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r) || r == utf8.RuneError:
			return ' '
		case r == ',' || r == ';':
			return '-'
		}
		return r
	}, name))
	if utf8.RuneCountInString(clean) > nameLimit {
		clean = strings.TrimSpace(string([]rune(clean)[:nameLimit-12]))
	}
	if clean == name {
		return name
	}
	sum := sha256.Sum256([]byte(strings.ToLower(name)))
	return clean + " (" + hex.EncodeToString(sum[:4]) + ")"
}

// color makes a category known to Outlook. Facts 2.3: names that aren't in the list stick all the same, without a colour: so it is no trouble where that can't be done.
func (m *Mailbox) color(ctx context.Context, name string) {
	key := strings.ToLower(name)
	m.known.mu.Lock()
	done := m.known.coloured[key]
	if m.known.coloured[key] = true; len(m.known.coloured) > 1000 {
		clear(m.known.coloured)
	}
	m.known.mu.Unlock()
	if done {
		return
	}
	sum := sha256.Sum256([]byte(key))
	m.once(ctx, quota.Live, categoryCreate, func(ctx context.Context) error { //nolint:errcheck // it is there already, or may not be made
		c := models.NewOutlookCategory()
		c.SetDisplayName(&name)
		c.SetColor(ptr(models.CategoryColor(1 + int(sum[0])%25))) // preset0 to preset24
		_, err := m.me.Outlook().MasterCategories().Post(ctx, c, nil)
		return err
	})
}

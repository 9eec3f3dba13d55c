package gmail

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

	"golang.org/x/text/unicode/norm"
	gapi "google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider"
)

// Label implements provider.Labeler. A label that isn't there is made, and those above it: "a/b" lies in "a". Names are compared without case, as Gmail
// does; one that Gmail would not take gets another, always the same.
func (m *Mailbox) Label(ctx context.Context, t provider.Target, label string) (provider.Mutation, error) {
	if m.p.o.ReadOnly {
		return provider.Mutation{}, readOnly
	}
	if strings.TrimSpace(label) == "" {
		return provider.Mutation{}, errors.New("gmail: a label needs a name")
	}
	msg, err := m.target(ctx, t)
	if err != nil {
		return provider.Mutation{}, err
	}
	for again := false; ; again = true {
		id, err := m.makeLabel(ctx, labelName(label))
		if err != nil {
			return provider.Mutation{}, err
		}
		did := provider.Mutation{How: "label", To: id, Item: itemID(msg.Id)}
		if slices.Contains(msg.LabelIds, id) {
			did.Already = true
			return did, nil
		}
		err = m.modify(ctx, msg.Id, []string{id}, nil)
		if status(err) == http.StatusBadRequest { // its owner deleted the label since it was listed
			if m.labels = nil; !again {
				continue
			}
		}
		return done(did, err)
	}
}

// Unlabel implements provider.Labeler.
func (m *Mailbox) Unlabel(ctx context.Context, t provider.Target, was provider.Mutation) error {
	if was.How != "label" || was.Already || was.To == "" {
		return ctx.Err()
	}
	if m.p.o.ReadOnly {
		return readOnly
	}
	msg, err := m.target(ctx, t)
	if err != nil || !slices.Contains(msg.LabelIds, was.To) {
		return err
	}
	return m.modify(ctx, msg.Id, nil, []string{was.To})
}

// nameLimit is how long names of labels are made at most, in characters: Gmail takes 225. (mem)
const nameLimit = 200

// labelName is a name that Gmail takes. Control characters, levels without a name and lengths that it refuses are changed, and a hash of the name keeps such names apart.
func labelName(s string) string {
	name := strings.TrimSpace(s)
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, name)
	levels := strings.Split(clean, "/")
	for i, l := range levels {
		levels[i] = strings.TrimSpace(l)
	}
	if slices.Contains(levels, "") {
		levels = []string{strings.ReplaceAll(clean, "/", "-")}
	}
	if joined := strings.Join(levels, "/"); utf8.RuneCountInString(joined) > nameLimit {
		rs := []rune(joined)
		levels = []string{strings.ReplaceAll(strings.TrimSpace(string(rs[:nameLimit-12])), "/", "-")}
	}
	if out := strings.Join(levels, "/"); out == name {
		return out
	}
	sum := sha256.Sum256([]byte(strings.ToLower(name)))
	return strings.Join(levels, "/") + " (" + hex.EncodeToString(sum[:4]) + ")"
}

const reserved = unsupported("Gmail keeps that name of a label for itself: choose another")

// makeLabel returns the id of the label of that name, made if need be.
func (m *Mailbox) makeLabel(ctx context.Context, name string) (string, error) {
	if err := m.loadLabels(ctx, live, false); err != nil {
		return "", err
	}
	id, err := m.named(name)
	if id != "" || err != nil {
		return id, err
	}
	// It may have been made since, elsewhere.
	if err := m.loadLabels(ctx, live, true); err != nil {
		return "", err
	}
	levels := strings.Split(name, "/")
	for i := range levels {
		at := strings.Join(levels[:i+1], "/")
		if id, err = m.named(at); err != nil {
			if i+1 < len(levels) {
				continue // what is below a name of Gmail's own is for it to judge
			}
			return "", err
		}
		if id != "" {
			continue
		}
		var made *gapi.Label
		err := m.once(ctx, live, labelsCreate, func(ctx context.Context) (err error) {
			made, err = m.api.Users.Labels.Create("me", &gapi.Label{Name: at, LabelListVisibility: "labelShow", MessageListVisibility: "show"}).Context(ctx).Do()
			return err
		})
		switch {
		case err == nil && (made.Id == "" || slices.ContainsFunc(m.labels.all, func(l *gapi.Label) bool { return l.Id == made.Id })):
			return "", errors.New("gmail: labels.create: the answer names no label")
		case err == nil:
			m.labels.all = append(m.labels.all, made)
			id = made.Id
		case status(err) == http.StatusConflict || status(err) == http.StatusBadRequest: // facts 1.5: "name clash or reserved name -> 409/400"
			if err := m.loadLabels(ctx, live, true); err != nil {
				return "", err
			}
			if id, err = m.named(at); err != nil {
				return "", err
			}
			if id == "" && i+1 == len(levels) {
				return "", reserved
			}
		default:
			return "", err
		}
	}
	return id, nil
}

// named finds a label of the user by its name, "" where there is none.
func (m *Mailbox) named(name string) (string, error) {
	for _, l := range m.labels.all {
		if !strings.EqualFold(norm.NFC.String(l.Name), norm.NFC.String(name)) {
			continue
		}
		if !isFolder(l.Id) || roles[l.Id] != "" {
			return "", reserved
		}
		return l.Id, nil
	}
	return "", nil
}

package gmail_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// names are the names of all labels of the user's own.
func (w *world) names() (out []string) {
	for _, n := range w.user.Labels() {
		if role(n) == "" && n != "UNREAD" {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func TestLabelNesting(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	before := w.names()
	id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0))
	box := w.open(t)
	m, err := box.Label(t.Context(), provider.Target{Item: id}, "CRM/Deals/Won")
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.DeleteFunc(w.names(), func(n string) bool { return slices.Contains(before, n) }); !slices.Equal(got, []string{"CRM", "CRM/Deals", "CRM/Deals/Won"}) {
		t.Errorf("labels are %q", got)
	}
	if w.user.Labels()[m.To] != "CRM/Deals/Won" {
		t.Errorf("it has %q", w.user.Labels()[m.To])
	}
	// In other letters it is the same label, as it is to Gmail, and another box finds it.
	if again, err := w.open(t).Label(t.Context(), provider.Target{Item: id}, "crm/deals/WON"); err != nil || again.To != m.To || !again.Already {
		t.Errorf("%+v, %v", again, err)
	}
}

// A label that its owner made, renamed or deleted since the labels were read.
func TestLabelsChange(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	id := provider.Target{Item: provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0))}
	box := w.open(t)
	one, err := box.Label(t.Context(), id, "One")
	if err != nil {
		t.Fatal(err)
	}
	two := w.user.CreateLabel("Two")
	if m, err := box.Label(t.Context(), id, "Two"); err != nil || m.To != two {
		t.Errorf("one that was made: %+v, %v", m, err)
	}
	w.user.DeleteLabel(one.To)
	if err := box.Unlabel(t.Context(), id, one); err != nil {
		t.Errorf("taking off one that was deleted: %v", err)
	}
	if m, err := box.Label(t.Context(), id, "One"); err != nil || m.To == one.To || m.Already {
		t.Errorf("one that was deleted: %+v, %v", m, err)
	}
	for _, name := range []string{"INBOX", "Trash", "starred", "UNREAD"} {
		if m, err := box.Label(t.Context(), id, name); !errors.Is(err, provider.ErrUnsupported) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

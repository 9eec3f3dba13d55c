package gmail

import (
	"context"
	"strings"

	gapi "google.golang.org/api/gmail/v1"
)

// sendAs are the addresses that the owner may send as, asked for once.
func (m *Mailbox) sendAs(ctx context.Context) ([]*gapi.SendAs, error) {
	if m.aliases != nil {
		return m.aliases, nil
	}
	var r *gapi.ListSendAsResponse
	if err := m.read(ctx, live, sendAsList, func(ctx context.Context) (err error) {
		r, err = m.api.Users.Settings.SendAs.List("me").Context(ctx).Do()
		if err == nil && len(r.SendAs) == 0 { // the address of the account is one (G-disc)
			err = errEmpty
		}
		return err
	}); err != nil {
		return nil, err
	}
	m.aliases = []*gapi.SendAs{}
	for _, a := range r.SendAs {
		if a != nil && a.SendAsEmail != "" {
			m.aliases = append(m.aliases, a)
		}
	}
	return m.aliases, nil
}

// verified reports whether Gmail sends as an address. Facts 1.7: the primary address, or an alias "with verificationStatus accepted".
func verified(a *gapi.SendAs) bool { return a.IsPrimary || a.VerificationStatus == "accepted" }

// alias finds an address among those that the owner sends as.
func (m *Mailbox) alias(ctx context.Context, address string) (*gapi.SendAs, error) {
	all, err := m.sendAs(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if strings.EqualFold(a.SendAsEmail, address) {
			return a, nil
		}
	}
	return nil, nil
}

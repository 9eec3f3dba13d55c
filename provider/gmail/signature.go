package gmail

import "context"

// Signature implements provider.Signer: that of Gmail's own settings. Facts 1.7: "Signatures are web-UI only: the API never appends them".
func (m *Mailbox) Signature(ctx context.Context, from string) (string, error) {
	all, err := m.sendAs(ctx)
	if err != nil {
		return "", err
	}
	if from != "" {
		a, err := m.alias(ctx, from)
		if a == nil {
			return "", err
		}
		return a.Signature, nil
	}
	out := ""
	for _, a := range all {
		if a.IsDefault {
			return a.Signature, nil
		}
		if a.IsPrimary {
			out = a.Signature
		}
	}
	return out, nil
}

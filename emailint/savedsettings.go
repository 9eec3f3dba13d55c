package emailint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// eachSecret replaces every secret by what f makes of it.
func (s *Settings) eachSecret(f func(path string, x Secret) Secret) {
	s.SMTP.Password = f("smtp.password", s.SMTP.Password)
	s.Apps = maps.Clone(s.Apps)
	for name, a := range s.Apps {
		a.ClientSecret = f("apps."+name+".client_secret", a.ClientSecret)
		s.Apps[name] = a
	}
}

func secretRow(org, path string) string { return row("setting", org, path) }

// row is what a sealed value is bound to. Parts are escaped: ids are the host's own and may hold a slash, and no two places have one name.
func row(kind string, parts ...string) string {
	for _, p := range parts {
		kind += "/" + url.PathEscape(p)
	}
	return kind
}

// sealed returns what is stored. Secrets stand apart, each bound to its organisation and field; one that is SecretSet is the one that was there before,
// sealed by the first key: Reseal may have passed since it was read.
func (e *Engine) sealed(org string, s Settings, before state.Settings) (state.Settings, error) {
	out := state.Settings{Secrets: map[string][]byte{}, Version: before.Version}
	var errs []error
	s.eachSecret(func(path string, x Secret) Secret {
		switch {
		case x == SecretSet:
			out.Secrets[path] = before.Secrets[path]
			if plain, err := e.keys.Open(before.Secrets[path], secretRow(org, path)); err == nil && !bytes.HasPrefix(before.Secrets[path], e.keys.Prefix()) {
				out.Secrets[path], err = e.keys.Seal(plain, secretRow(org, path))
				errs = append(errs, err)
			}
		case x != "":
			b, err := e.keys.Seal([]byte(x), secretRow(org, path))
			out.Secrets[path] = b
			errs = append(errs, err)
		}
		return x
	})
	var err error
	out.Body, err = json.Marshal(s)
	return out, errors.Join(append(errs, err)...)
}

// openSecrets puts the secrets in. One that does not open is "", and named in the error.
func (e *Engine) openSecrets(org string, s *Settings, sealed map[string][]byte) error {
	var errs []error
	s.eachSecret(func(path string, x Secret) Secret {
		if x == "" {
			return ""
		}
		errs = append(errs, e.openSecret(org, path, &x, sealed))
		return x
	})
	return errors.Join(errs...)
}

// openSecret puts one secret in where it is SecretSet.
func (e *Engine) openSecret(org, path string, x *Secret, sealed map[string][]byte) error {
	if *x != SecretSet {
		return nil
	}
	plain, err := e.keys.Open(sealed[path], secretRow(org, path))
	*x = Secret(plain)
	if err != nil {
		return &provider.NeedsAction{Who: provider.Operator, Reason: "the stored " + path + " does not open: is its sealing key in Options.Keys?", Err: err}
	}
	return nil
}

// Settings returns an organisation's settings and their version; one that has saved none has Options.Defaults, and version 0. Secrets are in them:
// they print and marshal as redacted. Where one does not open, for its key is not in Options.Keys, it is "", and the rest is returned with the error.
func (e *Engine) Settings(ctx context.Context, org string) (Settings, int64, error) {
	s, saved, err := e.settings(ctx, org)
	if err == nil {
		if err = e.openSecrets(org, &s, saved.Secrets); err != nil {
			err = fmt.Errorf("emailint: settings of %s: %w", org, err)
		}
	}
	return s, saved.Version, err
}

// settings is Settings with SecretSet for every secret that is there: nothing but what needs one depends on its key.
func (e *Engine) settings(ctx context.Context, org string) (s Settings, saved state.Settings, err error) {
	saved, err = e.o.State.Settings(ctx, org)
	switch {
	case err != nil:
	case saved.Version == 0:
		s = e.o.Defaults.clone()
	default:
		s = DefaultSettings()
		err = json.Unmarshal(saved.Body, &s)
		s.eachSecret(func(path string, _ Secret) Secret {
			if saved.Secrets[path] == nil {
				return ""
			}
			return SecretSet
		})
	}
	if err != nil {
		err = fmt.Errorf("emailint: settings of %s: %w", org, err)
	}
	return s, saved, err
}

// clone returns settings that share nothing that the caller may change.
func (s *Settings) clone() Settings {
	out := *s
	out.Apps = maps.Clone(s.Apps)
	out.Inbox = slices.Clone(s.Inbox)
	for i := range out.Inbox {
		out.Inbox[i].Kinds, out.Inbox[i].Users = slices.Clone(out.Inbox[i].Kinds), slices.Clone(out.Inbox[i].Users)
	}
	r := &out.Rules
	r.Custom, r.Own, r.ExcludedDomains = slices.Clone(r.Custom), slices.Clone(r.Own), slices.Clone(r.ExcludedDomains)
	for _, list := range []*[]message.Key{&r.OwnDomains, &r.ExcludedAddresses, &r.SharedDomains, &r.CompanyDomains} {
		*list = slices.Clone(*list)
	}
	return out
}

// SetSettings replaces the settings if version is still the stored one, and returns the new version. A secret that is SecretSet stays as it was. Where the
// rules of linking changed, earlier mail is decided again; where an app did, mailboxes are tried again that were misconfigured. It sets InboxRule.Since. Every wrong field is named in one error.
func (e *Engine) SetSettings(ctx context.Context, org string, s Settings, version int64) (int64, error) {
	before, saved, err := e.settings(ctx, org)
	if err != nil {
		return 0, err
	}
	// What is kept, and what is refused, follows from what is there: of another version somebody decided without having seen it.
	if saved.Version != version {
		return 0, changed(org, state.ErrStale)
	}
	// One that was read and comes back is the one that is there.
	s.eachSecret(func(path string, x Secret) Secret {
		if saved.Secrets[path] == nil {
			if x == SecretSet {
				return ""
			}
			return x
		}
		if plain, err := e.keys.Open(saved.Secrets[path], secretRow(org, path)); err == nil && Secret(plain) == x {
			return SecretSet
		}
		return x
	})
	v := &validator{}
	v.below("", s.Validate())
	v.kept(before, s)
	for name, a := range s.Apps {
		if a != before.Apps[name] {
			e.redirect(v, "apps."+name, name, a)
		}
	}
	if err := errors.Join(v.errs...); err != nil {
		return 0, fmt.Errorf("emailint: settings: %w", err)
	}
	s.Inbox = switchedOn(s.Inbox, before.Inbox, e.o.Now())
	to, err := e.sealed(org, s, saved)
	if err != nil {
		return 0, fmt.Errorf("emailint: settings: %w", err)
	}
	relink := version == 0 || !reflect.DeepEqual(before.Rules, s.Rules)
	to.Version = version
	n, err := e.o.State.SaveSettings(ctx, org, to, relink)
	if errors.Is(err, state.ErrStale) {
		return 0, changed(org, err)
	}
	if err != nil {
		return 0, fmt.Errorf("emailint: settings of %s: %w", org, err)
	}
	// Another pace holds from now on, and a wider window is imported now. Where this is cut short the next pass sees it.
	if !relink && before.Sync != s.Sync {
		if err := e.wakeAll(ctx, org); err != nil {
			return n, fmt.Errorf("emailint: settings of %s: %w", org, err)
		}
	}
	if err := e.mended(ctx, org, func(provider string) bool { return before.Apps[provider] != s.Apps[provider] }); err != nil {
		return n, fmt.Errorf("emailint: settings of %s: %w", org, err)
	}
	e.hurry()
	return n, nil
}

func changed(org string, err error) error {
	return fmt.Errorf("emailint: settings of %s were changed by somebody else, read them again: %w", org, err)
}

func (e *Engine) wakeAll(ctx context.Context, org string) error {
	conns, err := e.o.State.Connections(ctx, org)
	for _, c := range conns {
		if err == nil && c.State == state.Connected {
			err = e.o.State.Wake(ctx, org, c.ID)
		}
	}
	return err
}

// mended tries mailboxes again that waited for the operator, of an organisation or with "" all: whose app is another one by now, or whose key is there. No user
// has anything to do.
func (e *Engine) mended(ctx context.Context, org string, of func(provider string) bool) error {
	conns, err := e.o.State.Connections(ctx, org)
	for _, c := range conns {
		if err == nil && c.State == state.Misconfigured && of(c.Provider) {
			if err = e.o.State.Retry(ctx, c.Org, c.ID, c.State); errors.Is(err, state.ErrStale) || errors.Is(err, state.ErrNotFound) {
				err = nil // it was disconnected meanwhile, or is being erased
			}
		}
	}
	return err
}

// PatchSettings changes what a JSON merge patch names (RFC 7396), if version is still the stored one, and returns the settings as they are then. What
// a form sends back for a secret, "" or SecretSet, leaves it; null takes it away.
func (e *Engine) PatchSettings(ctx context.Context, org string, patch []byte, version int64) (Settings, int64, error) {
	s, n, err := e.patch(ctx, org, patch, version)
	if err != nil {
		return s, n, err
	}
	return e.Settings(ctx, org)
}

// patch saves, and returns settings without secrets: as they were and the version that is stored, where it did not.
func (e *Engine) patch(ctx context.Context, org string, patch []byte, version int64) (Settings, int64, error) {
	before, saved, err := e.settings(ctx, org)
	if err != nil {
		return before, 0, err
	}
	s, err := before.patched(patch, e.o.Defaults.clone())
	if err != nil {
		return before, saved.Version, fmt.Errorf("emailint: settings: %w", err)
	}
	if _, err := e.SetSettings(ctx, org, s, version); err != nil {
		return before, saved.Version, err
	}
	s, saved, err = e.settings(ctx, org)
	return s, saved.Version, err
}

// kept refuses to send a secret that was not typed anew to another server than that for which it was typed: whoever may edit settings could read it
// by way of a server of their own.
func (v *validator) kept(before, s Settings) {
	if s.SMTP.Password == SecretSet && (s.SMTP.Host != before.SMTP.Host || s.SMTP.Username != before.SMTP.Username) {
		v.wrong("smtp.password", "server or user name is another one: type the password again")
	}
	for name, a := range s.Apps {
		if a.ClientSecret == SecretSet && a.ClientID != before.Apps[name].ClientID {
			v.wrong("apps."+name+".client_secret", "the client id is another one: type its secret")
		}
	}
}

// Advice is Settings.Advice with the addresses of the connected mailboxes.
func (e *Engine) Advice(ctx context.Context, org string, s Settings) ([]Advice, error) {
	people, err := e.people(ctx, org)
	if err != nil {
		return nil, fmt.Errorf("emailint: advice for %s: %w", org, err)
	}
	return s.Advice(people), nil
}

// people returns the addresses of all mailboxes that are connected, or were and are not erased.
func (e *Engine) people(ctx context.Context, org string) (out []message.Key, err error) {
	conns, err := e.o.State.Connections(ctx, org)
	if err != nil {
		return nil, err
	}
	for _, c := range conns {
		if c.State == state.Erasing {
			continue
		}
		for _, a := range append([]string{c.Address}, c.Aliases...) {
			if k := message.AddressKey(a); k != "" {
				out = append(out, k)
			}
		}
	}
	return out, nil
}

// rules returns the organisation's rules with its own addresses.
func (e *Engine) rules(ctx context.Context, org string) (linker.Rules, Settings, int64, error) {
	s, saved, err := e.settings(ctx, org)
	if err != nil {
		return linker.Rules{}, s, 0, err
	}
	r := s.Rules
	if r.Own, err = e.people(ctx, org); err != nil {
		return linker.Rules{}, s, 0, err
	}
	return r, s, saved.Version, nil
}

// checkDefaults checks what the operator sets for all organisations.
func (e *Engine) checkDefaults() error {
	v := &validator{}
	if e.o.Defaults != nil {
		d := e.o.Defaults.clone()
		v.below("option Defaults", d.Validate())
		d.eachSecret(func(path string, x Secret) Secret {
			if x != "" {
				v.wrong("option Defaults."+path, "every organisation can read the defaults: the operator's apps are in Options.Apps")
			}
			return x
		})
	}
	if problem := redirectProblem(e.o.BaseURL); e.o.BaseURL != "" && problem != "" {
		v.wrong("option BaseURL", "%s", problem)
	} else if strings.Contains(e.o.BaseURL, "?") {
		v.wrong("option BaseURL", "it must not have a query (?)")
	}
	for name, a := range e.o.Apps {
		v.app("option Apps."+name, a)
		e.redirect(v, "option Apps."+name, name, a)
	}
	return errors.Join(v.errs...)
}

// RedirectURI is where Handler expects people back from a provider: what is to stand in the registration of an app there. "" without Options.BaseURL.
func (e *Engine) RedirectURI(provider string) string {
	if e.o.BaseURL == "" {
		return ""
	}
	return strings.TrimRight(e.o.BaseURL, "/") + "/oauth/" + provider + "/callback"
}

// redirect checks that an app sends people back to where Handler waits for them.
func (e *Engine) redirect(v *validator, path, name string, a App) {
	switch want := e.RedirectURI(name); {
	case want == "":
		v.wrong(path+".redirect_uri", "Options.BaseURL does not say where Handler is mounted, so nobody waits there")
	case a.RedirectURI != want && redirectProblem(a.RedirectURI) == "":
		v.wrong(path+".redirect_uri", "Handler does not serve it: it waits at %s", want)
	}
}

package emailint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

const base = "https://crm.example.com/email"

// full are settings in which everything is filled in.
func full() emailint.Settings {
	s := emailint.DefaultSettings()
	s.Apps = map[string]emailint.App{
		"gmail":   {ClientID: "id-1.apps.googleusercontent.com", ClientSecret: "gmail-secret", RedirectURI: base + "/oauth/gmail/callback"},
		"outlook": {ClientID: "6a8b0d1e-0000-4000-8000-000000000001", ClientSecret: "outlook-secret", Tenant: "common", RedirectURI: base + "/oauth/outlook/callback"},
	}
	s.SMTP = emailint.SMTP{Host: "smtp.example.com", Port: 587, Encryption: emailint.TLS, Username: "crm", Password: "smtp-secret", FromAddress: "sales@mail.example.com", FromName: "Example, Sales"}
	s.Signature.HTML = "<p>{{user_name}}<br>{{company_name}}</p>"
	s.Rules.OwnDomains = []message.Key{"example.com"}
	return s
}

var secrets = []string{"gmail-secret", "outlook-secret", "smtp-secret"}

func settingsWorld(t *testing.T) *emailinttest.World {
	return emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.BaseURL = base + "/" }))
}

// fields returns the paths that an error names.
func fields(err error) (out []string) {
	var walk func(error)
	walk = func(err error) {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range many.Unwrap() {
				walk(e)
			}
		} else if f := (*emailint.FieldError)(nil); errors.As(err, &f) && err == error(f) {
			out = append(out, f.Field)
		} else if err = errors.Unwrap(err); err != nil {
			walk(err)
		}
	}
	walk(err)
	return out
}

func TestSettingsAreWhole(t *testing.T) {
	w := settingsWorld(t)
	v, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, full(), 1)
	if err != nil {
		t.Fatal(err)
	}
	got, version, err := w.Engine.Settings(t.Context(), emailinttest.Org)
	if err != nil || version != v {
		t.Fatalf("version %d, want %d: %v", version, v, err)
	}
	want := full()
	want.Inbox = got.Inbox
	if a, b := asText(t, got), asText(t, want); a != b {
		t.Errorf("what was saved is\n%s\nwant\n%s", a, b)
	}
	if got.SMTP.Password != "smtp-secret" || got.Apps["gmail"].ClientSecret != "gmail-secret" {
		t.Error("a secret is another one")
	}
}

// asText shows everything but secrets.
func asText(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryFieldHasItsLimits(t *testing.T) {
	long := strings.Repeat("x", 300)
	app := func(change func(*emailint.App)) func(*emailint.Settings) {
		return func(s *emailint.Settings) {
			a := s.Apps["gmail"]
			change(&a)
			s.Apps["gmail"] = a
		}
	}
	redirect := func(uri string) func(*emailint.Settings) {
		return app(func(a *emailint.App) { a.RedirectURI = uri })
	}
	tenant := func(text string) func(*emailint.Settings) {
		return app(func(a *emailint.App) { a.Tenant = text })
	}
	template := func(text string) func(*emailint.Settings) {
		return func(s *emailint.Settings) { s.Signature.HTML = text }
	}
	for _, c := range []struct {
		field  string
		change func(*emailint.Settings)
	}{
		{"apps.gmail.client_id", app(func(a *emailint.App) { a.ClientID = "" })},
		{"apps.gmail.client_id", app(func(a *emailint.App) { a.ClientID = "two words" })},
		{"apps.gmail.client_id", app(func(a *emailint.App) { a.ClientID = long })},
		{"apps.gmail.client_id", app(func(a *emailint.App) { a.ClientID = "a\x00b" })},
		{"apps.gmail.client_secret", app(func(a *emailint.App) { a.ClientSecret = "" })},
		{"apps.gmail.client_secret", app(func(a *emailint.App) { a.ClientSecret = "secret\n" })},
		{"apps.gmail.tenant", tenant("everybody")},
		{"apps.gmail.tenant", tenant("common/../x")},
		{"apps.gmail.redirect_uri", redirect("")},
		{"apps.gmail.redirect_uri", redirect("http://crm.example.com/email/oauth/gmail/callback")},
		{"apps.gmail.redirect_uri", redirect("https://crm.example.com/email/oauth/gmail/callback#x")},
		{"apps.gmail.redirect_uri", redirect("https://u:p@crm.example.com/email/oauth/gmail/callback")},
		{"apps.gmail.redirect_uri", redirect("https://*.example.com/email/oauth/gmail/callback")},
		{"apps.gmail.redirect_uri", redirect("//crm.example.com/email/oauth/gmail/callback")},
		{"apps.gmail.redirect_uri", redirect("javascript:alert(1)")},
		{"apps.gmail.redirect_uri", redirect("https://evil.example/oauth/gmail/callback")},
		{"apps.gmail.redirect_uri", redirect(base + "/oauth/outlook/callback")},
		{"apps.gmail.redirect_uri", redirect(base + "/oauth/gmail/callback/")},
		{"smtp.host", func(s *emailint.Settings) { s.SMTP.Host = "" }},
		{"smtp.host", func(s *emailint.Settings) { s.SMTP.Host = "smtps://smtp.example.com" }},
		{"smtp.host", func(s *emailint.Settings) { s.SMTP.Host = "smtp.example.com:587" }},
		{"smtp.port", func(s *emailint.Settings) { s.SMTP.Port = 65536 }},
		{"smtp.port", func(s *emailint.Settings) { s.SMTP.Port = -1 }},
		{"smtp.encryption", func(s *emailint.Settings) { s.SMTP.Encryption = "none" }},
		{"smtp.username", func(s *emailint.Settings) { s.SMTP.Username = "" }},
		{"smtp.username", func(s *emailint.Settings) { s.SMTP.Username = "crm\r\nRCPT" }},
		{"smtp.password", func(s *emailint.Settings) { s.SMTP.Password = "" }},
		{"smtp.password", func(s *emailint.Settings) { s.SMTP.Password = " pasted" }},
		{"smtp.from_address", func(s *emailint.Settings) { s.SMTP.FromAddress = "" }},
		{"smtp.from_address", func(s *emailint.Settings) { s.SMTP.FromAddress = "Sales <sales@example.com>" }},
		{"smtp.from_address", func(s *emailint.Settings) { s.SMTP.FromAddress = "sales@" }},
		{"smtp.from_address", func(s *emailint.Settings) { s.SMTP.FromAddress = "a@example.com,b@example.com" }},
		{"smtp.from_name", func(s *emailint.Settings) { s.SMTP.FromName = "Sales\r\nBcc: x@evil.example" }},
		{"signature.html", template("<script>alert(1)</script>{{printf \"%d\" 1}}")},
		{"signature.html", template("{{user_nmae}}")},
		{"signature.html", template("<p>{{user_name")},
		{"signature.html", template(strings.Repeat("<p>x</p>", 10000))},
		{"sync.inbound_minutes", func(s *emailint.Settings) { s.Sync.InboundMinutes = -1 }},
		{"sync.inbound_minutes", func(s *emailint.Settings) { s.Sync.InboundMinutes = 1441 }},
		{"sync.outbound_minutes", func(s *emailint.Settings) { s.Sync.OutboundMinutes = -5 }},
		{"sync.import_days", func(s *emailint.Settings) { s.Sync.ImportDays = -2 }},
		{"rules.opportunity_policy", func(s *emailint.Settings) { s.Rules.OpportunityPolicy = "best" }},
		{"rules.excluded_domains[0].domain", func(s *emailint.Settings) { s.Rules.ExcludedDomains = []linker.Exclusion{{Domain: "no domain"}} }},
		{"rules.own_domains[0]", func(s *emailint.Settings) { s.Rules.OwnDomains = []message.Key{"gmail.com"} }},
		{"inbox[0].label", func(s *emailint.Settings) {
			s.Inbox = []emailint.InboxRule{{ID: "label", On: true, Do: emailint.LabelMail}}
		}},
		{"on_delete", func(s *emailint.Settings) { s.OnDelete = "burn" }},
	} {
		w := settingsWorld(t)
		s := full()
		c.change(&s)
		_, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, 1)
		if fs := fields(err); len(fs) == 0 || fs[0] != c.field {
			t.Errorf("%s: the error names %q: %v", c.field, fs, err)
		}
		for _, x := range secrets {
			if err != nil && strings.Contains(err.Error(), x) {
				t.Errorf("%s: the error shows a secret: %v", c.field, err)
			}
		}
	}
}

func TestAllThatIsWrongIsNamedAtOnce(t *testing.T) {
	s := full()
	s.SMTP.Port, s.Sync.ImportDays, s.OnDelete, s.Rules.OpportunityPolicy = 70000, -7, "", ""
	got := fmt.Sprint(fields(s.Validate()))
	if want := "[smtp.port sync.import_days rules.opportunity_policy on_delete]"; got != want {
		t.Errorf("it names %s, want %s", got, want)
	}
}

func TestLoopbackMayBeHTTP(t *testing.T) {
	for _, host := range []string{"http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"} {
		w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.BaseURL = host }))
		s := emailint.DefaultSettings()
		s.Apps = map[string]emailint.App{"gmail": {ClientID: "id", ClientSecret: "x", RedirectURI: w.Engine.RedirectURI("gmail")}}
		if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, 1); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	s := full()
	var b strings.Builder
	log := slog.New(slog.NewJSONHandler(&b, nil))
	log.Info("settings", "value", s, "secret", s.SMTP.Password)
	slog.New(slog.NewTextHandler(&b, nil)).Info("settings", "value", s, "secret", s.SMTP.Password)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb, s)
		fmt.Fprintf(&b, verb, s.SMTP.Password)
		fmt.Fprintf(&b, verb, &s)
	}
	b.WriteString(asText(t, s))
	for _, x := range append(secrets, fmt.Sprintf("%x", "smtp-secret")) {
		if strings.Contains(b.String(), x) {
			t.Errorf("%q is shown in:\n%s", x, b.String())
		}
	}
	if !strings.Contains(asText(t, s), `"password":"`+emailint.SecretSet+`"`) {
		t.Error("that there is a password is not said")
	}
}

func TestSecretsSurviveAForm(t *testing.T) {
	w := settingsWorld(t)
	v, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, full(), 1)
	if err != nil {
		t.Fatal(err)
	}
	secret := func() (out string) {
		s, _, err := w.Engine.Settings(t.Context(), emailinttest.Org)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []emailint.Secret{s.Apps["gmail"].ClientSecret, s.Apps["outlook"].ClientSecret, s.SMTP.Password} {
			out += string(x) + " "
		}
		return strings.TrimSpace(out)
	}
	for _, c := range []struct{ patch, want string }{
		{`{"smtp": {"from_name": "Somebody else"}}`, "gmail-secret outlook-secret smtp-secret"},
		{`{"smtp": {"password": ""}, "apps": {"gmail": {"client_secret": ""}}}`, "gmail-secret outlook-secret smtp-secret"},
		{`{"smtp": {"password": "` + emailint.SecretSet + `"}}`, "gmail-secret outlook-secret smtp-secret"},
		{`{"apps": {"outlook": {"client_secret": "renewed"}}}`, "gmail-secret renewed smtp-secret"},
		{`{"apps": {"gmail": null}}`, " renewed smtp-secret"},
		{`{"smtp": {"username": null, "password": null}}`, " renewed "},
	} {
		if _, v, err = w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(c.patch), v); err != nil {
			t.Fatalf("%s: %v", c.patch, err)
		}
		if got := secret(); got != strings.TrimSpace(c.want) {
			t.Errorf("%s: the secrets are %q, want %q", c.patch, got, c.want)
		}
	}
	// A whole value that went through a page, and came back with what stood there.
	s := full()
	s.SMTP.Password = emailint.SecretSet
	if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); fmt.Sprint(fields(err)) != "[smtp.password]" {
		t.Errorf("a mask where there is no password is %v", err)
	}
}

func TestASecretDoesNotFollowToAnotherServer(t *testing.T) {
	w := settingsWorld(t)
	v, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, full(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for patch, field := range map[string]string{
		`{"smtp": {"host": "smtp.evil.example"}}`:              "[smtp.password]",
		`{"smtp": {"username": "other"}}`:                      "[smtp.password]",
		`{"apps": {"gmail": {"client_id": "somebody-elses"}}}`: "[apps.gmail.client_secret]",
	} {
		if _, _, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(patch), v); fmt.Sprint(fields(err)) != field {
			t.Errorf("%s: %v", patch, err)
		}
	}
	s, _, err := w.Engine.Settings(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	s.SMTP.Host = "smtp.evil.example" // read with its secret, and sent back
	if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); fmt.Sprint(fields(err)) != "[smtp.password]" {
		t.Errorf("%v", err)
	}
	if _, v, err = w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"smtp": {"host": "new.example.com", "password": "typed"}}`), v); err != nil || v == 0 {
		t.Error(err)
	}
}

func TestPatchesThatAreNone(t *testing.T) {
	w := settingsWorld(t)
	for patch, want := range map[string]string{
		`{`:                                    "no JSON",
		`[]`:                                   "not a JSON object",
		`null`:                                 "not a JSON object",
		`{} {}`:                                "behind",
		`{"smpt": {}}`:                         `smpt: there is no such field`,
		`{"sync": {"inbound_minutes": "5"}}`:   "sync.inbound_minutes",
		`{"sync": {"inbound_minutes": 5.5}}`:   "sync.inbound_minutes",
		`{"rules": {"contacts": "yes"}}`:       "rules.contacts",
		`{"smtp": {"password": {"a": "b"}}}`:   "smtp.password",
		`{"apps": {"gmail": {"tenant": [1]}}}`: "tenant",
	} {
		_, _, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(patch), 1)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", patch, err, want)
		}
	}
	if _, _, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"sync": {"inbound_minutes": 60}}`), 7); !errors.Is(err, state.ErrStale) {
		t.Errorf("on another version: %v", err)
	}
	if s, v, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"sync": {"inbound_minutes": 60}}`), 1); err != nil || s.Sync.InboundMinutes != 60 || v != 2 {
		t.Errorf("%d minutes at version %d: %v", s.Sync.InboundMinutes, v, err)
	}
}

// A database that was stolen, or in which rows were moved, opens nothing.
func TestSecretsAreSealed(t *testing.T) {
	w := settingsWorld(t)
	if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, full(), 1); err != nil {
		t.Fatal(err)
	}
	saved, err := w.State.Settings(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	if len(saved.Secrets) != len(secrets) {
		t.Errorf("%d secrets are stored, want %d", len(saved.Secrets), len(secrets))
	}
	for _, x := range secrets {
		if strings.Contains(fmt.Sprintf("%s %s", saved.Body, saved.Secrets), x) {
			t.Errorf("%q is stored in the clear", x)
		}
	}
	// As another organisation's, and in another place of the same one.
	if _, err := w.State.SaveSettings(t.Context(), "thief", state.Settings{Body: saved.Body, Secrets: saved.Secrets}, false); err != nil {
		t.Fatal(err)
	}
	if s, _, err := w.Engine.Settings(t.Context(), "thief"); err == nil || s.SMTP.Password != "" || s.Apps["gmail"].ClientSecret != "" || s.SMTP.Host == "" {
		t.Errorf("another organisation reads %v: %v", s.SMTP, err)
	}
	saved.Secrets["smtp.password"], saved.Secrets["apps.gmail.client_secret"] = saved.Secrets["apps.gmail.client_secret"], saved.Secrets["smtp.password"]
	if _, err := w.State.SaveSettings(t.Context(), emailinttest.Org, saved, false); err != nil {
		t.Fatal(err)
	}
	if s, _, err := w.Engine.Settings(t.Context(), emailinttest.Org); err == nil || s.SMTP.Password != "" || s.Apps["gmail"].ClientSecret != "" || s.Apps["outlook"].ClientSecret == "" {
		t.Errorf("a secret opens in another's place: %v", err)
	}
	// Mail goes on meanwhile.
	w.Deliver("From: ada@acme.example\nTo: owner@example.com\nSubject: hello\nMessage-ID: <1@acme.example>\n\nhi\n")
	if err := w.Drain(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestAdvice(t *testing.T) {
	w := settingsWorld(t)
	advised := func(change func(*emailint.Settings)) string {
		s := full()
		change(&s)
		as, err := w.Engine.Advice(t.Context(), emailinttest.Org, s)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, a := range as {
			out = append(out, a.Field)
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		change func(*emailint.Settings)
		want   string
	}{
		{func(*emailint.Settings) {}, ""},
		{func(s *emailint.Settings) { s.Rules.CreateContacts = true }, "rules.create_contacts"},
		{func(s *emailint.Settings) {
			s.Rules.CreateContacts, s.Rules.ExcludedDomains = true, []linker.Exclusion{{Domain: "gmail.com"}}
		}, ""},
		{func(s *emailint.Settings) { s.Rules.OwnDomains = nil }, "rules.own_domains"},
		{func(s *emailint.Settings) { s.SMTP.FromAddress = "us@gmail.com" }, "smtp.from_address"},
		{func(s *emailint.Settings) { s.SMTP.FromAddress = emailinttest.Owner }, "smtp.from_address"},
		{func(s *emailint.Settings) { s.SMTP.Host = "smtp.office365.com" }, "smtp.host"},
		{func(s *emailint.Settings) { s.SMTP.Host = "notgmail.com" }, ""},
	} {
		if got := advised(c.change); got != c.want {
			t.Errorf("the advice is on %q, want %q", got, c.want)
		}
	}
}

func TestTheOperatorsDefaults(t *testing.T) {
	d := emailint.DefaultSettings()
	d.Sync.InboundMinutes = 15
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.Defaults = &d }))
	s, v, err := w.Engine.Settings(t.Context(), "new")
	if err != nil || v != 0 || s.Sync.InboundMinutes != 15 {
		t.Errorf("an organisation that saved nothing has %d minutes at version %d: %v", s.Sync.InboundMinutes, v, err)
	}
	s.Inbox = append(s.Inbox, emailint.InboxRule{ID: "mine"})
	if again, _, err := w.Engine.Settings(t.Context(), "new"); err != nil || len(again.Inbox) != 0 {
		t.Errorf("what one changed in its copy another has: %v, %v", again.Inbox, err)
	}
	d.SMTP = full().SMTP
	o := emailint.Options{Defaults: &d, Apps: map[string]emailint.App{"gmail": {ClientID: "id", ClientSecret: "x", RedirectURI: "https://elsewhere.example/"}}, BaseURL: base}
	_, err = emailint.New(o)
	for _, want := range []string{"option Defaults.smtp.password", "option Apps.gmail.redirect_uri"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error says nothing of %s: %v", want, err)
		}
	}
}

// Whatever a host prints or logs of what holds a secret, it doesn't show it.
func TestNothingThatHoldsASecretPrintsIt(t *testing.T) {
	const secret = "hunter2-hunter2"
	var out bytes.Buffer
	opts := emailint.Options{Apps: map[string]emailint.App{"gmail": {ClientSecret: secret}}, Keys: []emailint.Key{{ID: "k", Secret: []byte(secret)}}, IndexKey: []byte(secret)}
	h := signingIn(t, emailinttest.AuthGoogle)
	h.opts.Apps = map[string]emailint.App{"gmail": {ClientID: "x", ClientSecret: secret, RedirectURI: base + "/oauth/gmail/callback"}}
	e, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"app": provider.OAuthApp{ClientID: "id", ClientSecret: secret}, "new": emailint.NewConnection{Credential: []byte(secret)}, "opts": opts,
		"engine": e, "key": emailint.Key{ID: "k", Secret: []byte(secret)},
		"options":  &opts,
		"settings": struct{ S emailint.Settings }{emailint.Settings{SMTP: emailint.SMTP{Password: secret}}},
		"keyptr":   &emailint.Key{ID: "k", Secret: []byte(secret)},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			out.Reset()
			fmt.Fprintf(&out, verb, v)
			hides(t, name+" "+verb, out.String(), secret)
		}
		out.Reset()
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		hides(t, name+" json log", out.String(), secret)
		out.Reset()
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		hides(t, name+" text log", out.String(), secret)
		if b, err := json.Marshal(v); err == nil && name != "new" { // who marshals a connection to be made wants it whole
			hides(t, name+" json", string(b), secret)
		}
	}
}

func hides(t *testing.T, name, out, secret string) {
	t.Helper()
	b64, _ := json.Marshal([]byte(secret))
	for _, s := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]"), strings.Trim(string(b64), `"`)} {
		if strings.Contains(out, s) {
			t.Errorf("%s shows it: %.200s", name, out)
			return
		}
	}
}

func wants(t *testing.T, err error, field string) {
	t.Helper()
	var f *emailint.FieldError
	if !errors.As(err, &f) || f.Field != field {
		t.Errorf("the error is %v, want one of %s", err, field)
	}
}

// A name that is nearly a field's is none, and what stands behind the patch is not lost without a word.
func TestPatchesOfNoField(t *testing.T) {
	w := emailinttest.New(t)
	for patch, field := range map[string]string{
		`{"SMTP":{"from_name":"x"}}`:                      "SMTP",
		`{"smtp":{},"Smtp":{"from_name":"x"}}`:            "Smtp",
		`{"smtp":{"From_Name":"x"}}`:                      "smtp.From_Name",
		`{"inbox":[{"id":"a","DO":"archive"}]}`:           "inbox[0].DO",
		`{"rules":{"excluded_domains":[{"Domain":"x"}]}}`: "rules.excluded_domains[0].Domain",
		`{"apps":{"gmail":{"Client_ID":"x"}}}`:            "apps.gmail.Client_ID",
		`{"rules":{"Own":["boss@example.com"]}}`:          "rules.Own",
		`{"rules":{"-":["boss@example.com"]}}`:            "rules.-",
		`{"apps":{"a.b":{"client_id":"x"}}}`:              "apps",
		`{"apps":{"../x":{"client_id":"x"}}}`:             "apps",
		`{"smtp":{"smtp":{"smtp":{"smtp":{"host":""}}}}}`: "smtp.smtp",
	} {
		s, version, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(patch), 1)
		wants(t, err, field)
		if s.SMTP.FromName != "" || version != 1 {
			t.Errorf("%s: version %d, %+v", patch, version, s)
		}
	}
	for _, patch := range []string{`{}}`, `{} {}`, `{}]`, `{},`, `[]`, `null`, ``, strings.Repeat(`{"smtp":`, 20000)} {
		if _, version, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(patch), 1); err == nil || version != 1 {
			t.Errorf("%.20s: version %d, %v", patch, version, err)
		}
	}
}

// Null takes away what was saved: what holds then is the default, not zero.
func TestNullIsTheDefault(t *testing.T) {
	def := emailint.DefaultSettings()
	def.Sync.ImportDays, def.Rules.ExcludedDomains = 60, []linker.Exclusion{{Domain: "mail.example"}}
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.Defaults = &def }))
	const org = "another"
	set := `{"sync":{"inbound_minutes":15,"import_days":0},"file_sent":false,"on_delete":"release","rules":{"excluded_domains":[]},
		"smtp":{"host":"mx.example","username":"u","password":"secret","from_address":"a@b.example","from_name":"B"}}`
	_, version, err := w.Engine.PatchSettings(t.Context(), org, []byte(set), 0)
	if err != nil {
		t.Fatal(err)
	}
	s, version, err := w.Engine.PatchSettings(t.Context(), org,
		[]byte(`{"sync":null,"file_sent":null,"on_delete":null,"rules":{"excluded_domains":null},"smtp":{"from_name":null}}`), version)
	if err != nil {
		t.Fatal(err)
	}
	if s.Sync != def.Sync || !s.FileSent || s.OnDelete != def.OnDelete || len(s.Rules.ExcludedDomains) != 1 || s.SMTP.FromName != "" || s.SMTP.Password != "secret" {
		t.Errorf("the settings are %+v", s)
	}
	if s, _, err = w.Engine.PatchSettings(t.Context(), org, []byte(`{"smtp":null}`), version); err != nil || s.SMTP != def.SMTP {
		t.Errorf("without a server: %+v, %v", s.SMTP, err)
	}
}

// What one organisation does to the defaults that it was given, another does not see.
func TestDefaultsAreNobodysToChange(t *testing.T) {
	def := emailint.DefaultSettings()
	def.Rules.ExcludedDomains = append(make([]linker.Exclusion, 0, 8), linker.Exclusion{Domain: "mail.example"})
	def.Rules.OwnDomains = append(make([]message.Key, 0, 8), "own.example")
	def.Inbox = []emailint.InboxRule{{ID: "a", Do: emailint.ArchiveMail, Users: []string{"ann"}}}
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.Defaults = &def }))
	a, _, err := w.Engine.Settings(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	a.Rules.ExcludedDomains[0].Domain, a.Rules.OwnDomains[0], a.Inbox[0].Users[0] = "a.example", "a.example", "eve"
	a.Rules.ExcludedDomains = append(a.Rules.ExcludedDomains, linker.Exclusion{Domain: "a.example"})
	b, _, err := w.Engine.Settings(t.Context(), "b")
	if err != nil || b.Rules.ExcludedDomains[0].Domain != "mail.example" || b.Rules.OwnDomains[0] != "own.example" || b.Inbox[0].Users[0] != "ann" {
		t.Errorf("another organisation has %+v, %+v, %v", b.Rules, b.Inbox, err)
	}
	if more := def.Rules.ExcludedDomains[:2]; more[1].Domain != "" {
		t.Errorf("the defaults have %v behind their end", more)
	}
}

// racing does something between the reading of settings and their saving.
type racing struct {
	state.Store
	before func()
}

func (s *racing) SaveSettings(ctx context.Context, org string, to state.Settings, relink bool) (int64, error) {
	if f := s.before; f != nil {
		s.before = nil
		f()
	}
	return s.Store.SaveSettings(ctx, org, to, relink)
}

// A version that is not there yet is refused, also when it is there in the end: what a mask keeps is what was read.
func TestAVersionOfTheFuture(t *testing.T) {
	var opts emailint.Options
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { opts = *o }))
	set := func(password string, version int64) {
		if _, _, err := w.Engine.PatchSettings(t.Context(), "future", []byte(`{"smtp":{"host":"mx.example","username":"u","password":"`+password+`","from_address":"a@b.example"}}`), version); err != nil {
			t.Error(err)
		}
	}
	set("first", 0)
	opts.State = &racing{Store: opts.State, before: func() { set("second", 1) }}
	e, err := emailint.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.PatchSettings(t.Context(), "future", []byte(`{"smtp":{"from_name":"B"}}`), 2); !errors.Is(err, state.ErrStale) {
		t.Errorf("PatchSettings = %v", err)
	}
	set("second", 1)
	if s, _, err := w.Engine.Settings(t.Context(), "future"); err != nil || s.SMTP.Password != "second" {
		t.Errorf("the password that was set last is lost: %v", err)
	}
}

// A patch that was saved is not answered by an error because of a secret that it doesn't name and nobody is shown.
func TestAPatchBesideASecretThatDoesNotOpen(t *testing.T) {
	var opts emailint.Options
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { opts = *o }))
	if _, _, err := w.Engine.PatchSettings(t.Context(), "lost", []byte(`{"smtp":{"host":"mx.example","username":"u","password":"p","from_address":"a@b.example"}}`), 0); err != nil {
		t.Fatal(err)
	}
	opts.Keys = []emailint.Key{{ID: "other", Secret: bytes.Repeat([]byte{9}, 32)}}
	e, err := emailint.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s, version, err := e.As(emailint.Actor{Org: "lost", User: "boss", Admin: true}).PatchSettings(t.Context(), []byte(`{"sync":{"import_days":60}}`), 1)
	if err != nil || version != 2 || s.Sync.ImportDays != 60 || s.SMTP.Password != emailint.SecretSet {
		t.Errorf("the page is told version %d, %+v, %v", version, s.Sync, err)
	}
}

package emailint

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/signature"
)

// Settings of an organisation, what its settings page shows. A complete value: start from DefaultSettings, or from what Engine.Settings returns.
type Settings struct {
	// Apps are the organisation's own OAuth apps, by provider: "gmail", "outlook". Where there is none the operator's is used (Options.Apps).
	Apps map[string]App `json:"apps,omitempty"`
	// SMTP is the server by which the organisation sends; a zero Host: none.
	SMTP      SMTP            `json:"smtp"`
	Signature SignaturePolicy `json:"signature"`
	Sync      SyncSettings    `json:"sync"`
	Rules     linker.Rules    `json:"rules"`
	// Inbox are the rules that archive or label mail in its mailbox once it is linked. None by default.
	Inbox []InboxRule `json:"inbox,omitempty"`
	// OnDelete says what follows when a mail was deleted from its mailbox for good: "keep" by default.
	OnDelete Deletion `json:"on_delete"`
	// FileSent has a copy of what is sent by SMTP filed in Sent where the service doesn't do that itself. On by default.
	FileSent bool `json:"file_sent"`
}

// App is a registration of the host's at a service whose users sign in by OAuth.
type App struct {
	ClientID     string `json:"client_id"`
	ClientSecret Secret `json:"client_secret"`
	// Tenant is for Microsoft: "common", "organizations", "consumers", or the id or a domain of one. "": common.
	Tenant string `json:"tenant,omitempty"`
	// RedirectURI is sent exactly as it stands here, as it must stand in the registration (RFC 9700, 2.1). https, or http on the loopback.
	RedirectURI string `json:"redirect_uri"`
}

// Encryption of the connection to a mail server. There is no way without.
type Encryption string

const (
	TLS Encryption = "tls" // STARTTLS; port 587
	SSL Encryption = "ssl" // from the first byte; port 465
)

// SMTP is a mail server to send by.
type SMTP struct {
	Host        string     `json:"host"`
	Port        int        `json:"port,omitempty"` // 0: 587 for TLS, 465 for SSL
	Encryption  Encryption `json:"encryption"`
	Username    string     `json:"username,omitempty"` // "": no authentication
	Password    Secret     `json:"password"`
	FromAddress string     `json:"from_address"`
	FromName    string     `json:"from_name,omitempty"`
}

// SignaturePolicy is the organisation's signature, and whether its people may have their own.
type SignaturePolicy struct {
	HTML          string `json:"html"` // package signature says what it may contain; "": none
	AllowOverride bool   `json:"allow_override"`
}

// SyncSettings say how soon mail is seen, and how far back the first import reaches.
type SyncSettings struct {
	// InboundMinutes is how often a mailbox is looked at for what others sent; 0 is real time: as soon as the service tells. 5 by default.
	InboundMinutes int `json:"inbound_minutes"`
	// OutboundMinutes is how soon mail is linked that the user sent elsewhere and that is seen in Sent; 0 is real time, the default.
	OutboundMinutes int `json:"outbound_minutes"`
	// ImportDays is how far the import reaches back when a mailbox is connected: days, 0 for none (mail is read that comes from then on), -1 for everything. 30 by default.
	ImportDays int `json:"import_days"`
	// PeopleFirst reads of older mail what is from or to people of the CRM, and only lists the rest (state.FateUnread), where the service makes reading
	// dear (provider.Searcher, as Gmail) and the CRM lists its addresses (AddressLister). When people are added their mail is searched for. What
	// only answers such mail, and is from nobody whom the CRM knows, is not found. Off by default; Engine.PlanImport says what either would cost.
	PeopleFirst bool `json:"people_first"`
}

// DefaultSettings returns the settings of an organisation that has chosen nothing yet.
func DefaultSettings() Settings {
	return Settings{
		SMTP: SMTP{Encryption: TLS}, Signature: SignaturePolicy{AllowOverride: true}, Sync: SyncSettings{InboundMinutes: 5, ImportDays: 30},
		Rules: linker.DefaultRules(), OnDelete: KeepDeleted, FileSent: true,
	}
}

// FieldError is one wrong field: its path in JSON, and what is wrong with it in a sentence without the value of a secret.
type FieldError = message.FieldError

// Bounds of what may be typed.
const (
	maxName     = 256
	maxSecret   = 4096
	maxTemplate = 64 << 10
	maxMinutes  = 24 * 60
	maxDays     = 36500
)

// Validate reports every wrong field, each as a *FieldError, joined. What is right and unwise is said by Advice. Where an app is redirected to is
// compared with what Handler serves by SetSettings.
func (s Settings) Validate() error {
	v := &validator{}
	names := make([]string, 0, len(s.Apps))
	for name := range s.Apps {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !appName.MatchString(name) {
			v.wrong("apps", "%q is no name of a provider", name)
			continue
		}
		v.app("apps."+name, s.Apps[name])
	}
	v.smtp(s.SMTP)
	v.signature("signature.html", s.Signature.HTML)
	v.bounds("sync.inbound_minutes", s.Sync.InboundMinutes, 0, maxMinutes, "0 for real time, or minutes up to a day")
	v.bounds("sync.outbound_minutes", s.Sync.OutboundMinutes, 0, maxMinutes, "0 for real time, or minutes up to a day")
	v.bounds("sync.import_days", s.Sync.ImportDays, -1, maxDays, "a number of days, 0 for none or -1 for all")
	v.below("rules", s.Rules.Validate())
	if s.OnDelete != KeepDeleted && s.OnDelete != ReleaseDeleted {
		v.wrong("on_delete", `%q is neither "keep" nor "release"`, s.OnDelete)
	}
	v.below("", validateInbox(s.Inbox))
	return errors.Join(v.errs...)
}

// validator collects what is wrong.
type validator struct{ errs []error }

func (v *validator) wrong(path, format string, args ...any) {
	v.errs = append(v.errs, &FieldError{Field: path, Problem: fmt.Sprintf(format, args...)})
}

// below takes over what is wrong with a part.
func (v *validator) below(path string, err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			v.below(path, one)
		}
		return
	}
	f := &FieldError{Field: path, Problem: err.Error()}
	if part := (*FieldError)(nil); errors.As(err, &part) {
		f = &FieldError{Field: strings.Trim(path+"."+part.Field, "."), Problem: part.Problem}
	}
	v.errs = append(v.errs, f)
}

func (v *validator) bounds(path string, n, from, to int, want string) {
	if n < from || n > to {
		v.wrong(path, "%d is not %s", n, want)
	}
}

// text checks what somebody types into a field of one line, and reports whether it is fit for more.
func (v *validator) text(path, s string, most int) bool {
	switch {
	case len(s) > most:
		v.wrong(path, "it is longer than %d bytes", most)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		v.wrong(path, "it holds a control character, or is not UTF-8")
	case s != strings.TrimSpace(s):
		v.wrong(path, "it begins or ends with a space")
	default:
		return true
	}
	return false
}

// secret checks a secret, without showing it. Spaces around it are a slip of the clipboard.
func (v *validator) secret(path string, s Secret) bool { return v.text(path, string(s), maxSecret) }

// appName: a provider's name stands in paths, of fields and of the redirect URI.
var appName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}$`)

var tenant = regexp.MustCompile(`^(common|organizations|consumers|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)

func (v *validator) app(path string, a App) {
	switch {
	case a.ClientID == "":
		v.wrong(path+".client_id", "the id that the service gave to your app is missing")
	case v.text(path+".client_id", a.ClientID, maxName) && strings.ContainsAny(a.ClientID, " \"<>"):
		v.wrong(path+".client_id", "this is no client id: it has no spaces, quotes or angle brackets")
	}
	if a.ClientSecret == "" {
		v.wrong(path+".client_secret", "the secret that the service gave to your app is missing")
	} else {
		v.secret(path+".client_secret", a.ClientSecret)
	}
	if a.Tenant != "" && !tenant.MatchString(a.Tenant) && (!strings.Contains(a.Tenant, ".") || !isHost(a.Tenant)) {
		v.wrong(path+".tenant", `it is "common", "organizations", "consumers", the id of a tenant, or one of its domains`)
	}
	if a.RedirectURI == "" {
		v.wrong(path+".redirect_uri", "the address to which the service sends people back is missing")
	} else if problem := redirectProblem(a.RedirectURI); problem != "" {
		v.wrong(path+".redirect_uri", "%s", problem)
	}
}

// redirectProblem says what is wrong with a redirect URI. RFC 6749, 3.1.2: absolute, without fragment; RFC 9700, 2.6: no http but on the loopback.
func redirectProblem(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil || len(uri) > 2000 || strings.ContainsAny(uri, " \\*") || strings.ContainsFunc(uri, func(r rune) bool { return unicode.IsControl(r) || r > unicode.MaxASCII }):
		return "this is no URL: write it as in the registration, without spaces and placeholders"
	case u.Host == "" || u.Hostname() == "":
		return "it needs a host, as in https://crm.example.com/email/oauth/gmail/callback"
	case u.User != nil:
		return "it must not hold a user name or password"
	case u.Fragment != "" || strings.Contains(uri, "#"):
		return "it must not have a fragment (#)"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && loopback(u.Hostname()):
		return ""
	}
	return "it must begin with https:// (http:// only on localhost)"
}

func loopback(name string) bool {
	ip := net.ParseIP(name)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}

func (v *validator) smtp(s SMTP) {
	empty := SMTP{Encryption: s.Encryption, Port: s.Port}
	if s == empty {
		return // not set up
	}
	switch {
	case s.Host == "":
		v.wrong("smtp.host", "the name of the mail server is missing")
	case net.ParseIP(s.Host) == nil && !isHost(s.Host):
		v.wrong("smtp.host", "this is not a host name; give it without scheme and port")
	}
	v.bounds("smtp.port", s.Port, 0, 65535, "a port: 1 to 65535, or 0 for the usual one")
	if s.Encryption != TLS && s.Encryption != SSL {
		v.wrong("smtp.encryption", `%q is neither "tls" nor "ssl"; mail is not sent without`, s.Encryption)
	}
	v.text("smtp.username", s.Username, maxName)
	v.secret("smtp.password", s.Password)
	if s.Username == "" && s.Password != "" {
		v.wrong("smtp.username", "there is a password and no user name")
	} else if s.Username != "" && s.Password == "" {
		v.wrong("smtp.password", "the password is missing")
	}
	if s.FromAddress == "" {
		v.wrong("smtp.from_address", "the address from which mail comes is missing")
	} else if v.text("smtp.from_address", s.FromAddress, maxName) && !isAddress(s.FromAddress) {
		v.wrong("smtp.from_address", "%q is not an address: give it bare, as in sales@example.com; the name has a field of its own", s.FromAddress)
	}
	v.text("smtp.from_name", s.FromName, maxName)
}

var host = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// isHost reports whether something is the name of a host, in whatever script.
func isHost(s string) bool { return host.MatchString(string(message.DomainKey(s))) }

func isAddress(s string) bool {
	k := message.AddressKey(s)
	return k != "" && !strings.ContainsAny(s, " ,;:\"()[]\\") && strings.Count(s, "@") == 1
}

func (v *validator) signature(path, template string) {
	if len(template) > maxTemplate {
		v.wrong(path, "it is longer than %d bytes: put pictures on a web server and name their address", maxTemplate)
		return
	}
	if _, err := signature.Parse(template); err != nil {
		v.below(path, err)
	}
}

// Advice is what is right and unwise about a setting.
type Advice struct {
	Field string // its path in JSON
	Text  string // a sentence
}

// Advice returns what somebody who knows mail would change; it never stands in the way of saving. people are the addresses of connected mailboxes
// (Engine.Advice knows them).
func (s Settings) Advice(people []message.Key) (out []Advice) {
	say := func(field, text string) { out = append(out, Advice{field, text}) }
	if s.Rules.CreateContacts && len(s.Rules.ExcludedDomains) == 0 {
		say("rules.create_contacts", "Contacts are made of unknown senders, and no domain is excluded: private mail makes contacts too. Exclude the providers of personal mail.")
	}
	if len(s.Rules.OwnDomains) == 0 {
		say("rules.own_domains", "No domain is your own: a colleague whose mailbox is not connected counts as an outsider, and may be made a contact.")
	}
	if s.SMTP.Host == "" {
		return out
	}
	from := message.AddressKey(s.SMTP.FromAddress)
	_, domain, _ := strings.Cut(string(from), "@")
	switch {
	case slices.Contains(linker.PersonalDomains(), message.Key(domain)):
		say("smtp.from_address", "This is an address at a provider of personal mail, which lets no other server send for it: such mail is refused or taken for spam. Use a dedicated sending domain.")
	case slices.Contains(people, from):
		say("smtp.from_address", "This is the address of a person whose mailbox is connected: what is sent for all harms their own mail when it is complained about. Use a dedicated sending domain.")
	}
	if signsInBetter(s.SMTP.Host) {
		say("smtp.host", "This service lets people sign in by OAuth: connected mailboxes send as themselves, and passwords for programs are being switched off there.")
	}
	return out
}

// signsInBetter: services where OAuth is possible (provider-facts 1.1, 2.1).
func signsInBetter(server string) bool {
	server = strings.ToLower(strings.TrimSuffix(server, "."))
	return slices.ContainsFunc([]string{"gmail.com", "googlemail.com", "google.com", "office365.com", "outlook.com", "office.com"}, func(h string) bool {
		return server == h || strings.HasSuffix(server, "."+h)
	})
}

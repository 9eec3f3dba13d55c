package inputs

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/intellicon/email-integration/examples/internal/program"
)

// Names are the words for a service in flags and complaints.
type Names struct {
	Program string // gmail
	Speaks  string // the Gmail API
	Brought string // the Gmail that comes with this program
	Owner   string // Google
	Env     string // GOOGLE: of the variables GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET
	Guide   string // docs/setup-google.md
	CRM     string // what -crm is for
}

// Service is what flags and environment say of a service whose users sign in by OAuth.
type Service struct {
	API, AuthURL, TokenURL string // "" for the service's own
	Token                  string // nobody signs in
	ClientID, ClientSecret string
	CRM, State, Listen     string
	Days                   int // -1: all
	JSON                   bool
}

// Own reports whether the mailbox is the one that comes along.
func (s Service) Own() bool { return s.API == "" && s.Token == "" && s.ClientID == "" }

// ParseService reads flags and environment. With -help it prints the flags to out, and returns flag.ErrHelp.
func ParseService(n Names, args []string, env func(string) string, out io.Writer) (s Service, err error) {
	id, secret := n.Env+"_CLIENT_ID", n.Env+"_CLIENT_SECRET"
	fs := flag.NewFlagSet(n.Program, flag.ContinueOnError)
	fs.StringVar(&s.API, "api", "", fmt.Sprintf("base `URL` of a server that speaks %s; none: %s's with %s, else %s", n.Speaks, n.Owner, id, n.Brought))
	fs.StringVar(&s.AuthURL, "auth-url", "", "with -api: `URL` of the consent page of its authorization server")
	fs.StringVar(&s.TokenURL, "token-url", "", "with -api: `URL` of its token endpoint")
	fs.StringVar(&s.Token, "token", "", "a ready access `token`: nobody signs in")
	fs.StringVar(&s.CRM, "crm", "", "JSON `file` with the CRM's records: "+n.CRM)
	fs.StringVar(&s.State, "state", "", "`file` that holds everything between runs; none: nothing is kept")
	since := fs.String("since", "", "how far back, `30d` or all; none: 30d of a server, all of what comes along")
	fs.StringVar(&s.Listen, "listen", "", fmt.Sprintf("`address` the browser comes back to; none: 127.0.0.1:8085, where %s must have it registered", n.Owner))
	fs.BoolVar(&s.JSON, "json", false, "import only, and print one JSON object")
	extra, err := program.Parse(fs, n.Program+" [flags]", args, out)
	if err != nil {
		return s, err
	}
	s.ClientID, s.ClientSecret = env(id), env(secret)
	switch {
	case extra != "":
		return s, fmt.Errorf("%q is no flag; see -help", extra)
	case (s.ClientID == "") != (s.ClientSecret == ""):
		return s, fmt.Errorf("set %s and %s both, or none of them (%s says where they are from)", id, secret, n.Guide)
	case s.API == "" && (s.AuthURL != "" || s.TokenURL != ""):
		return s, errors.New("-auth-url and -token-url are for the server of -api: name it")
	case s.API != "" && s.Token == "" && (s.AuthURL == "" || s.TokenURL == ""):
		return s, errors.New("-api needs a way in: give -token, or -auth-url and -token-url of its authorization server")
	case s.API != "" && s.Token == "" && s.ClientID == "":
		return s, fmt.Errorf("signing in at -auth-url needs an app: set %s and %s to what that server knows it by, or give -token", id, secret)
	case s.Own() && s.State != "":
		return s, fmt.Errorf("-state is for a mailbox that lasts: %s is gone when it ends", n.Brought)
	}
	usual := map[bool][2]string{true: {"all", "127.0.0.1:0"}, false: {"30d", "127.0.0.1:8085"}}[s.Own()]
	if *since == "" {
		*since = usual[0]
	}
	if s.Listen == "" {
		s.Listen = usual[1]
	}
	s.Days, err = Since(*since)
	return s, err
}

// Package inputs reads what the examples are given: rules, own addresses, URLs of servers. Every mistake is one line that says
// what and where.
package inputs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// Rules reads a JSON file over the default rules; "" gives the defaults.
func Rules(path string) (linker.Rules, error) {
	r := linker.DefaultRules()
	if path == "" {
		return r, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("reading the rules: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("rules file %s: %w", path, err)
	}
	if err := r.Validate(); err != nil {
		return r, fmt.Errorf("rules file %s: %s", path, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return r, nil
}

// Own reads addresses separated by commas.
func Own(s string) ([]message.Key, error) {
	var out []message.Key
	for _, a := range strings.Split(s, ",") {
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		k := message.AddressKey(a)
		if k == "" {
			return nil, fmt.Errorf("-own: %q is not an email address", a)
		}
		out = append(out, k)
	}
	return out, nil
}

// Since reads "30d" or "all" as days, -1 for all.
func Since(s string) (int, error) {
	if s == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, "d"))
	if err != nil || n < 0 || !strings.HasSuffix(s, "d") {
		return 0, fmt.Errorf("-since: %q is neither a number of days such as 30d nor all", s)
	}
	return n, nil
}

// Server is a mail server as given by a URL.
type Server struct {
	Host     string
	Port     int // 0: the usual one
	User     string
	Implicit bool // TLS from the first byte
}

// URL reads imaps://user@host:port and the like: scheme+"s" is TLS from the first byte, scheme alone STARTTLS.
func URL(flag, raw, scheme string) (Server, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || (u.Scheme != scheme && u.Scheme != scheme+"s") {
		return Server{}, fmt.Errorf("%s: write it as %ss://user@host:port (TLS) or %s://user@host:port (STARTTLS)", flag, scheme, scheme)
	}
	s := Server{Host: u.Hostname(), Implicit: u.Scheme == scheme+"s"}
	if u.User != nil {
		s.User = u.User.Username()
		if _, set := u.User.Password(); set {
			return s, fmt.Errorf("%s: a password in a URL ends up in shell histories: set EMAILINT_%s_PASSWORD instead", flag, strings.ToUpper(scheme))
		}
	}
	if _, port, err := net.SplitHostPort(u.Host); err == nil {
		if s.Port, err = strconv.Atoi(port); err != nil || s.Port < 1 || s.Port > 65535 {
			return s, fmt.Errorf("%s: %q is not a port", flag, port)
		}
	}
	return s, nil
}

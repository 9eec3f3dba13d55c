package emailint

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/intellicon/email-integration/provider"
)

// Handler serves what browsers and services need to reach, below the path of Options.BaseURL: mount it there, as it is.
//
//	GET  oauth/{provider}/start?return=/settings/email   sends the browser to the service; also ?connection=7 to connect one again
//	GET  oauth/{provider}/callback                        the redirect URI of the app for this provider
//	POST push/{provider}                                  where the service sends its notifications (provider.Pusher)
//
// In the end the browser is sent to the path that start was given, with ?connected={id}, or ?problem={sentence}&who={user|admin|operator}. Nothing of a
// request's Host header is used.
func (e *Engine) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/{provider}/start", e.startConsent)
	mux.HandleFunc("GET /oauth/{provider}/callback", e.finishConsent)
	mux.HandleFunc("POST /push/{provider}", e.push)
	prefix := ""
	if u, err := url.Parse(e.o.BaseURL); err == nil {
		prefix = strings.TrimRight(u.Path, "/")
	}
	inner := http.StripPrefix(prefix, mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A code or a state in an address must not travel on.
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		inner.ServeHTTP(w, r)
	})
}

// session asks the host whose request it is.
func (e *Engine) session(w http.ResponseWriter, r *http.Request) (Session, bool) {
	if e.o.Session == nil {
		page(w, http.StatusNotImplemented, "Connecting is not set up: Options.Session is missing.")
		return Session{}, false
	}
	s, err := e.o.Session(r)
	if err != nil || s.ID == "" || s.User == "" || s.Org == "" {
		page(w, http.StatusForbidden, "Sign in to your CRM first, and begin again from the settings page.")
		return s, false
	}
	return s, true
}

func (e *Engine) startConsent(w http.ResponseWriter, r *http.Request) {
	s, ok := e.session(w, r)
	if !ok {
		return
	}
	req := ConsentRequest{Session: s, Provider: r.PathValue("provider"), Return: r.URL.Query().Get("return")}
	if id := r.URL.Query().Get("connection"); id != "" {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			page(w, http.StatusBadRequest, "That is no connection.")
			return
		}
		req.Reconnect = n
	}
	to, err := e.Consent(r.Context(), req)
	if err != nil {
		back := req.Return
		if !ownPath(back) {
			back = ""
		}
		e.problem(w, r, back, err)
		return
	}
	http.Redirect(w, r, to, http.StatusFound)
}

func (e *Engine) finishConsent(w http.ResponseWriter, r *http.Request) {
	s, ok := e.session(w, r)
	if !ok {
		return
	}
	c, path, err := e.Finish(r.Context(), Return{Session: s, Provider: r.PathValue("provider"), Query: r.URL.Query()})
	if err != nil {
		e.problem(w, r, path, err)
		return
	}
	if path == "" {
		page(w, http.StatusOK, "Connected: "+c.Address+". You can close this page.")
		return
	}
	http.Redirect(w, r, with(path, url.Values{"connected": {strconv.FormatInt(c.ID, 10)}}), http.StatusFound)
}

// problem says what went wrong: on the host's own page where it is known, else on one of ours.
func (e *Engine) problem(w http.ResponseWriter, r *http.Request, path string, err error) {
	e.o.Logger.WarnContext(r.Context(), "connecting a mailbox", "provider", r.PathValue("provider"), "error", err)
	text, who := "It did not work, which may pass: try again.", ""
	var action *provider.NeedsAction
	var said sentence
	if errors.As(err, &action) {
		text, who = action.Reason, string(action.Who)
	} else if errors.As(err, &said) {
		text = string(said)
	} else if errors.Is(err, ErrObserving) {
		text = "This installation only observes: connect the mailbox where it is at work."
	}
	if path != "" {
		http.Redirect(w, r, with(path, url.Values{"problem": {text}, "who": {who}}), http.StatusFound)
		return
	}
	page(w, http.StatusBadRequest, text)
}

func with(path string, add url.Values) string {
	u, err := url.Parse(path)
	if err != nil {
		return path
	}
	q := u.Query()
	for k, v := range add {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	return u.String()
}

var pageText = template.Must(template.New("page").Parse("<!doctype html><meta charset=utf-8><title>Email</title><p>{{.}}</p>\n"))

func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	pageText.Execute(w, text) //nolint:errcheck // the browser is gone
}

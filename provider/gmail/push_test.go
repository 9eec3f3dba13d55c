package gmail_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

const (
	pushEndpoint = "https://crm.example/email/push/gmail"
	pushAccount  = "push@crm-test.iam.gserviceaccount.com"
)

// pushWorld is a Gmail whose clock stands, with a provider that takes its notifications.
type pushWorld struct {
	srv  *gmailtest.Server
	now  time.Time
	prov *gmail.Provider
	keys int   // how often these were asked for
	fail error // instead of the keys
	page string
}

func newPushWorld(set func(*gmail.Options)) *pushWorld {
	w := &pushWorld{now: day0}
	w.srv = gmailtest.New(gmailtest.Options{Now: func() time.Time { return w.now }})
	o := gmail.Options{BaseURL: w.srv.URL(), KeysURL: w.srv.KeysURL(), PushAudience: pushEndpoint, PushAccount: pushAccount, Now: func() time.Time { return w.now }}
	o.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		w.keys++
		switch {
		case r.Header.Get("Authorization") != "":
			return nil, errors.New("a token goes to where the keys are")
		case w.fail != nil:
			return nil, w.fail
		case w.page != "":
			return &http.Response{Status: "200 OK", StatusCode: 200, Body: io.NopCloser(strings.NewReader(w.page))}, nil
		}
		return w.srv.Transport().RoundTrip(r)
	})}
	if set != nil {
		set(&o)
	}
	w.prov = gmail.New(&o)
	return w
}

func claims(change map[string]any) map[string]any {
	out := map[string]any{"aud": pushEndpoint, "email": pushAccount, "email_verified": true, "sub": "1"}
	for k, v := range change {
		if out[k] = v; v == nil {
			delete(out, k)
		}
	}
	return out
}

func (w *pushWorld) push(token, body string) (provider.Pushed, error) {
	r := httptest.NewRequest(http.MethodPost, pushEndpoint, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return w.prov.Push(r)
}

func notification(data string) string {
	return fmt.Sprintf(`{"message":{"data":%q,"messageId":"1"},"subscription":"projects/p/subscriptions/s"}`, data)
}

var aNotification = notification(base64.StdEncoding.EncodeToString([]byte(`{"emailAddress":"me@acme.example","historyId":12}`)))

func part(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// forge signs what Google's key would sign, by something else.
func (w *pushWorld) forge(header map[string]any, sign func(string) []byte) string {
	c := claims(map[string]any{"iss": gmailtest.Issuer, "iat": w.now.Unix(), "exp": w.now.Add(time.Hour).Unix()})
	text := part(header) + "." + part(c)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
}

// Who is not Google, or not our subscription, is refused, and nothing of what he says is told.
func TestPushForged(t *testing.T) { synctest.Test(t, testPushForged) }

func testPushForged(t *testing.T) {
	w := newPushWorld(nil)
	if got, err := w.push(w.srv.PushToken(claims(nil)), aNotification); err != nil || len(got.News) != 1 || got.News[0].Address != owner {
		t.Fatalf("Google's own: %+v, %v", got, err)
	}
	good := w.srv.PushToken(claims(nil))
	head, rest, _ := strings.Cut(good, ".")
	body, sig, _ := strings.Cut(rest, ".")
	var hd map[string]any
	if b, err := base64.RawURLEncoding.DecodeString(head); err != nil || json.Unmarshal(b, &hd) != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs256 := func(s string) []byte {
		sum := sha256.Sum256([]byte(s))
		b, err := rsa.SignPKCS1v15(rand.Reader, other, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	with := func(k string, v any) string { return w.srv.PushToken(claims(map[string]any{k: v})) }
	for name, token := range map[string]string{
		"no token":                      "",
		"no JWT":                        "let me in",
		"three dots":                    "...",
		"long":                          strings.Repeat("x", 100_000),
		"of another key, with our kid":  w.forge(hd, rs256),
		"of another key, with no kid":   w.forge(map[string]any{"alg": "RS256"}, rs256),
		"of another key, of some kid":   w.forge(map[string]any{"alg": "RS256", "kid": "mine"}, rs256),
		"with a key of its own":         w.forge(map[string]any{"alg": "RS256", "jwk": map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(other.N.Bytes()), "e": "AQAB"}}, rs256),
		"alg none":                      w.forge(map[string]any{"alg": "none"}, func(string) []byte { return nil }),
		"alg none, signed":              part(map[string]any{"alg": "none"}) + "." + body + "." + sig,
		"HS256 by the public key":       w.forge(map[string]any{"alg": "HS256", "kid": hd["kid"]}, func(s string) []byte { return hmacOf(other.N.Bytes(), s) }),
		"a body that was changed":       head + "." + part(claims(map[string]any{"iss": gmailtest.Issuer, "exp": w.now.Add(time.Hour).Unix()})) + "." + sig,
		"without signature":             head + "." + body + ".",
		"expired":                       with("exp", w.now.Add(-time.Second).Unix()),
		"without an end":                with("exp", 0),
		"of an hour to come":            with("nbf", w.now.Add(time.Hour).Unix()),
		"another issuer":                with("iss", "https://accounts.google.com.evil.example"),
		"no issuer":                     with("iss", ""),
		"another audience":              with("aud", "https://evil.example/push"),
		"a longer audience":             with("aud", pushEndpoint+"/"),
		"the audience in capitals":      with("aud", strings.ToUpper(pushEndpoint)),
		"several audiences":             with("aud", []string{pushEndpoint, "https://evil.example/push"}),
		"no audience":                   with("aud", nil),
		"another account":               with("email", "push@evil.iam.gserviceaccount.com"),
		"no account":                    with("email", nil),
		"an account that is a list":     with("email", []string{pushAccount}),
		"an account not verified":       with("email_verified", false),
		"nothing said of verifying":     with("email_verified", nil),
		"verified in words of its own":  with("email_verified", "true"),
		"an id_token of a sign-in here": w.srv.PushToken(map[string]any{"aud": "client", "sub": "1", "email": owner, "email_verified": true}),
	} {
		got, err := w.push(token, aNotification)
		if !errors.Is(err, provider.ErrForged) || len(got.News) > 0 || got.Answer != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 500) {
			t.Errorf("%s: no line for a log: %v", name, err)
		}
	}
	if got, err := w.push(w.srv.PushToken(claims(map[string]any{"iss": "accounts.google.com"})), aNotification); err != nil || len(got.News) != 1 {
		t.Errorf("the issuer's other form: %+v, %v", got, err)
	}
	// However many come, the keys are asked for once in a while.
	if w.keys > 1 {
		t.Errorf("the keys were asked for %d times", w.keys)
	}
	synctest.Wait() // go-oidc gives whoever comes in the next moment the last answer
	w.now = w.now.Add(61 * time.Second)
	if _, err := w.push(w.forge(map[string]any{"alg": "RS256", "kid": "new"}, rs256), aNotification); !errors.Is(err, provider.ErrForged) || w.keys != 2 {
		t.Errorf("a minute later: %v, asked for %d times", err, w.keys)
	}
}

func hmacOf(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s)) //nolint:errcheck // never fails
	return h.Sum(nil)
}

// Where it is not said who may push, nobody may.
func TestPushUnset(t *testing.T) {
	for name, set := range map[string]func(*gmail.Options){
		"audience": func(o *gmail.Options) { o.PushAudience = "" },
		"account":  func(o *gmail.Options) { o.PushAccount = "" },
		"keys":     func(o *gmail.Options) { o.KeysURL = "http://keys.example/certs" },
	} {
		w := newPushWorld(set)
		_, err := w.push(w.srv.PushToken(claims(nil)), aNotification)
		if !errors.Is(err, provider.ErrForged) || !strings.Contains(err.Error(), "Options.") || w.keys > 0 {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// Keys that can't be had are our trouble: it comes again, and then it is taken.
func TestPushKeysUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPushWorld(nil)
		token := w.srv.PushToken(claims(nil))
		push := func() (provider.Pushed, error) {
			synctest.Wait() // go-oidc gives whoever comes in the next moment the last answer
			return w.push(token, aNotification)
		}
		for _, c := range []struct {
			fail error
			page string
		}{{fail: errors.New("no route")}, {page: "<html>"}, {page: `{"keys":[]}`}} {
			w.fail, w.page = c.fail, c.page
			if _, err := push(); err == nil || errors.Is(err, provider.ErrForged) {
				t.Errorf("%+v: %v", c, err)
			}
		}
		w.fail, w.page = nil, ""
		if got, err := push(); err != nil || len(got.News) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		// From now on they are there.
		w.fail = errors.New("no route")
		if got, err := push(); err != nil || len(got.News) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestPushBodies(t *testing.T) {
	w := newPushWorld(nil)
	token := w.srv.PushToken(claims(nil))
	const number, quoted = `{"other":"???>>>~~~","emailAddress":"me@acme.example","historyId":12}`, `{"other":"???>>>~~~","emailAddress":"me@acme.example","historyId":"18446744073709551615"}`
	const address = owner
	for _, c := range []struct{ name, body, want string }{
		{"a number, standard base64", notification(base64.StdEncoding.EncodeToString([]byte(number))), address},
		{"a string, standard base64", notification(base64.StdEncoding.EncodeToString([]byte(quoted))), address},
		{"for URLs", notification(base64.URLEncoding.EncodeToString([]byte(number))), address},
		{"for URLs, without padding", notification(base64.RawURLEncoding.EncodeToString([]byte(quoted))), address},
		{"standard, without padding", notification(base64.RawStdEncoding.EncodeToString([]byte(quoted))), address},
		{"nothing", "", ""},
		{"no JSON", "hello", ""},
		{"a list", "[1]", ""},
		{"no data", `{"message":{}}`, ""},
		{"no base64", notification("!!!"), ""},
		{"data that is no JSON", notification(base64.StdEncoding.EncodeToString([]byte("x"))), ""},
		{"nobody", notification(base64.StdEncoding.EncodeToString([]byte(`{"historyId":1}`))), ""},
		{"no address", notification(base64.StdEncoding.EncodeToString([]byte(`{"emailAddress":"nobody"}`))), ""},
	} {
		got, err := w.push(token, c.body)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.want == "" && len(got.News) > 0 || c.want != "" && (len(got.News) != 1 || got.News[0].Address != c.want) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	// A replay says the same again, for as long as its token lives.
	for range 3 {
		if got, err := w.push(token, aNotification); err != nil || len(got.News) != 1 {
			t.Errorf("again: %+v, %v", got, err)
		}
	}
	w.now = w.now.Add(61 * time.Minute)
	if _, err := w.push(token, aNotification); !errors.Is(err, provider.ErrForged) {
		t.Errorf("after its time: %v", err)
	}
	// Who is refused is not listened to.
	r := httptest.NewRequest(http.MethodPost, pushEndpoint, bodyThatMustNotBeRead{t})
	if _, err := w.prov.Push(r); !errors.Is(err, provider.ErrForged) {
		t.Error(err)
	}
	// What is longer than the endpoint takes is told as it is.
	r = httptest.NewRequest(http.MethodPost, pushEndpoint, strings.NewReader(strings.Repeat("x", 1000)))
	r.Header.Set("Authorization", "Bearer "+w.srv.PushToken(claims(nil)))
	r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, 100)
	var long *http.MaxBytesError
	if _, err := w.prov.Push(r); !errors.As(err, &long) {
		t.Error(err)
	}
}

type bodyThatMustNotBeRead struct{ t *testing.T }

func (b bodyThatMustNotBeRead) Read([]byte) (int, error) {
	b.t.Error("the body of a forged notification is read")
	return 0, io.EOF
}

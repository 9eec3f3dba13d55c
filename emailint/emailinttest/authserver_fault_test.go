package emailinttest_test

import (
	"context"
	"errors"
	"io"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint/emailinttest"
)

func TestAuthServerFaults(t *testing.T) {
	retrieve := func(t *testing.T, err error) *oauth2.RetrieveError {
		t.Helper()
		var r *oauth2.RetrieveError
		if !errors.As(err, &r) {
			t.Fatalf("not an answer: %v", err)
		}
		return r
	}
	for _, c := range []struct {
		name    string
		fault   emailinttest.AuthFault
		check   func(t *testing.T, err error)
		logged  int
		errCode string
	}{
		{"500", emailinttest.AuthFault{Status: 500}, func(t *testing.T, err error) {
			if r := retrieve(t, err); r.Response.StatusCode != 500 || r.ErrorCode != "" || r.Response.Header.Get("Retry-After") != "" {
				t.Error(err)
			}
		}, 500, ""},
		{"429", emailinttest.AuthFault{Status: 429, RetryAfter: 1500 * time.Millisecond}, func(t *testing.T, err error) {
			if r := retrieve(t, err); r.Response.StatusCode != 429 || r.Response.Header.Get("Retry-After") != "2" {
				t.Error(err, r.Response.Header)
			}
		}, 429, ""},
		{"invalid_client", emailinttest.AuthFault{Status: 401, Code: "invalid_client", Description: "why"}, func(t *testing.T, err error) {
			if r := retrieve(t, err); r.Response.StatusCode != 401 || r.ErrorCode != "invalid_client" || r.ErrorDescription != "why" {
				t.Error(err)
			}
		}, 401, "invalid_client"},
		{"temporarily_unavailable", emailinttest.AuthFault{Code: "temporarily_unavailable"}, func(t *testing.T, err error) {
			if r := retrieve(t, err); r.Response.StatusCode != 400 || r.ErrorCode != "temporarily_unavailable" {
				t.Error(err)
			}
		}, 400, "temporarily_unavailable"},
		{"cut", emailinttest.AuthFault{Cut: true}, func(t *testing.T, err error) {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
		}, 0, ""},
	} {
		for _, after := range []bool{false, true} {
			t.Run(c.name+map[bool]string{true: " after the effect", false: " before it"}[after], func(t *testing.T) {
				a := newApp(t, emailinttest.AuthRotating)
				tok := a.connect()
				c.fault.After = after
				a.s.Fail(emailinttest.AuthRefresh, 2, c.fault)
				a.connect() // other steps are left alone
				_, err := a.again(tok.RefreshToken)
				c.check(t, err)
				if l := a.s.Log(); l[len(l)-1].Status != c.logged || l[len(l)-1].Error != c.errCode {
					t.Errorf("logged %v", l[len(l)-1])
				}
				_, err = a.again(tok.RefreshToken)
				c.check(t, err)
				// The nasty case: the answer with the new token was lost, and the old one is taken for stolen.
				_, err = a.again(tok.RefreshToken)
				if want := map[bool]string{true: "invalid_grant"}[after]; code(err) != want {
					t.Errorf("the third time it gave %v", err)
				}
				if a.valid(tok) == after {
					t.Errorf("the access token is valid: %v", a.valid(tok))
				}
				if n := a.s.Refreshes(tok.RefreshToken); n != 3 {
					t.Errorf("%d refreshes", n)
				}
			})
		}
	}
	t.Run("calm", func(t *testing.T) {
		a := newApp(t, emailinttest.AuthGoogle)
		a.s.Fail(emailinttest.AuthExchange, 1, emailinttest.AuthFault{Status: 500})
		a.s.Calm()
		a.connect()
	})
	t.Run("revoke", func(t *testing.T) {
		a := newApp(t, emailinttest.AuthGoogle)
		tok := a.connect()
		a.s.Fail(emailinttest.AuthRevoke, 1, emailinttest.AuthFault{Status: 503})
		if status, _, _ := a.post(a.s.RevokeURL(), url.Values{"token": {tok.AccessToken}}, nil); status != 503 || !a.valid(tok) {
			t.Errorf("%d", status)
		}
	})
	t.Run("a held answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, after := range []bool{false, true} {
				a := newApp(t, emailinttest.AuthMicrosoft)
				tok := a.connect()
				release, reached := make(chan struct{}), 0
				a.s.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Wait: release, After: after, Reached: func() { reached++ }})
				got := make(chan error, 1)
				go func() {
					_, err := a.again(tok.RefreshToken)
					got <- err
				}()
				synctest.Wait()
				if l := a.s.Log(); reached != 1 || len(got) != 0 || l[len(l)-1].Status != 0 {
					t.Errorf("before the release: reached %d, answered %d, %v", reached, len(got), l)
				}
				// What happens meanwhile counts only for a request that had no effect yet.
				a.s.EndSessions("owner")
				close(release)
				if err := <-got; (err == nil) != after {
					t.Errorf("after: %v: %v", after, err)
				}
			}
			// Nobody answers: the caller's own limit ends it.
			a := newApp(t, emailinttest.AuthMicrosoft)
			tok := a.connect()
			a.s.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Wait: make(chan struct{})})
			hc := a.s.Client()
			hc.Timeout = time.Minute
			a.ctx = context.WithValue(t.Context(), oauth2.HTTPClient, hc)
			start := time.Now()
			if _, err := a.again(tok.RefreshToken); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
				t.Errorf("%v after %s", err, time.Since(start))
			}
			if _, err := a.again(tok.RefreshToken); err != nil {
				t.Errorf("the next: %v", err)
			}
		})
	})
}

// Package fakehttp reaches the fake services of the tests through memory.
package fakehttp

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
)

// Transport has a handler answer requests, without a connection. As over a real one the body is sent whatever becomes of it and must have the
// length that was said, and a handler that panics with http.ErrAbortHandler breaks the connection.
type Transport struct {
	Handler http.Handler
	// Refuse, where it isn't nil, returns an error for an address that isn't the service's.
	Refuse func(*url.URL) error
}

// RoundTrip implements http.RoundTripper.
func (t Transport) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	body := []byte{}
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if e := r.Body.Close(); err == nil {
			err = e
		}
		if err != nil {
			return nil, err
		}
		if body = b; r.ContentLength > 0 && r.ContentLength != int64(len(b)) {
			return nil, fmt.Errorf("fakehttp: ContentLength=%d with Body length %d", r.ContentLength, len(b))
		}
	}
	if t.Refuse != nil {
		if err := t.Refuse(r.URL); err != nil {
			return nil, err
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	in.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p != http.ErrAbortHandler:
			panic(p)
		default:
			// As a real connection: whoever gave up hears of that, everybody else that it ended.
			if resp, err = nil, r.Context().Err(); err == nil {
				err = io.ErrUnexpectedEOF
			}
		}
	}()
	t.Handler.ServeHTTP(rec, in)
	if err := r.Context().Err(); err != nil {
		return nil, err // the answer came too late
	}
	resp = rec.Result()
	resp.Request = r
	return resp, nil
}

// Client is one with this Transport. It hands redirects back, as whoever follows one wants to look at it.
func (t Transport) Client() *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

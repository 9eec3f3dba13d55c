package fakehttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestTransport(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		http.Redirect(w, r, r.Host+r.RequestURI+string(b), http.StatusFound)
	})
	mux.HandleFunc("/broken", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/late", func(http.ResponseWriter, *http.Request) { cancel() })
	c := Transport{Handler: mux, Refuse: func(at *url.URL) error {
		if at.Host != "fake.test" {
			return errors.New("not here")
		}
		return nil
	}}.Client()
	for path, want := range map[string]string{
		"http://fake.test/echo?q":  "302 /fake.test/echo?qbody",
		"http://fake.test/broken":  io.ErrUnexpectedEOF.Error(),
		"http://fake.test/late":    context.Canceled.Error(),
		"http://other.test/echo?q": "not here",
	} {
		at := t.Context()
		if strings.HasSuffix(path, "late") {
			at = ctx
		}
		r, err := http.NewRequestWithContext(at, http.MethodPost, path, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(r)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = resp.Status[:4] + resp.Header.Get("Location")
		}
		if !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://fake.test/echo", io.LimitReader(strings.NewReader("body"), 3))
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 4
	if _, err := c.Do(r); err == nil {
		t.Error("a body that is shorter than was said was sent")
	}
}

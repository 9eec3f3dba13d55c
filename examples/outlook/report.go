package main

import (
	"net/http"
	"sync/atomic"

	"github.com/intellicon/email-integration/examples/internal/walk"
)

// report is what -json prints.
type report struct {
	walk.Import
	Requests int64 `json:"requests"`
}

// requests counts what Graph is asked.
type requests struct {
	n    atomic.Int64
	said int64 // how many were reported
}

// RoundTrip implements http.RoundTripper.
func (r *requests) RoundTrip(req *http.Request) (*http.Response, error) {
	r.n.Add(1)
	return http.DefaultTransport.RoundTrip(req)
}

// say says how many were made since it was said last.
func (r *requests) say(s walk.Steps, what string) {
	n := r.n.Load()
	s.Say("Requests for %s: %d (ten minutes have 10000)", what, n-r.said)
	r.said = n
}

package walk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Page stands for the settings page of a host: the engine sends the browser there when a sign-in has ended, with ?connected= or ?problem=.
type Page chan returned

type returned struct {
	connection int64
	err        error
}

// NewPage makes one to which nobody came yet.
func NewPage() Page { return make(Page, 1) }

// ServeHTTP implements http.Handler.
func (p Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	var back returned
	if problem := r.URL.Query().Get("problem"); problem != "" {
		back.err = errors.New(problem)
		fmt.Fprintln(w, problem) //nolint:errcheck // to a browser
	} else {
		back.connection, back.err = strconv.ParseInt(r.URL.Query().Get("connected"), 10, 64)
		fmt.Fprintln(w, "Connected. You can close this page.") //nolint:errcheck // to a browser
	}
	select {
	case p <- back:
	default:
	}
}

// Wait waits until the browser has come back, and returns the connection that was made.
func (p Page) Wait(ctx context.Context) (connection int64, err error) {
	select {
	case back := <-p:
		return back.connection, back.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Serve runs a web server until end is called.
func Serve(l net.Listener, h http.Handler) (end func()) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(l) }) //nolint:errcheck // it ends with Close
	return func() {
		srv.Close() //nolint:errcheck // nobody is served any more
		wg.Wait()
	}
}

// Browse opens a page as a browser does whose owner allows everything, and follows where it leads.
func Browse(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

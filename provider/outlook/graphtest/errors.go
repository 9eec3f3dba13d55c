package graphtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// apiError is an error as Graph writes it: {"error":{"code","message","innerError"}}.
type apiError struct {
	status        int
	code, message string
	retryAfter    time.Duration // in the header, where it is positive
	header        http.Header
	bare          bool // no body (facts 2.7: "Empty-body errors")
	html          bool // a page of a gateway's (facts 2.7: "a non-JSON error page")
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

func (c *call) failure(e *apiError) *response {
	h := http.Header{}
	for k, v := range e.header {
		h[k] = v
	}
	if e.retryAfter > 0 { // facts 2.5: in seconds
		h.Set("Retry-After", strconv.Itoa(int((e.retryAfter+time.Second-1)/time.Second)))
	}
	switch {
	case e.bare:
		return &response{e.status, h, nil, e.code}
	case e.html:
		h.Set("Content-Type", "text/html")
		return &response{e.status, h, fmt.Appendf(nil, "<html><head><title>%d %s</title></head></html>\r\n", e.status, http.StatusText(e.status)), e.code}
	}
	inner := map[string]string{"date": c.s.now().UTC().Format("2006-01-02T15:04:05"), "request-id": c.request}
	if id := c.r.Header.Get("client-request-id"); id != "" {
		inner["client-request-id"] = id
	}
	b, err := json.Marshal(map[string]any{"error": map[string]any{"code": e.code, "message": e.message, "innerError": inner}})
	if err != nil {
		panic(err) // strings
	}
	h.Set("Content-Type", jsonType)
	return &response{e.status, h, b, e.code}
}

const jsonType = "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8"

// Codes and texts of errors are from memory where the notes don't have them.

func badRequest(code, format string, a ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, code: code, message: fmt.Sprintf(format, a...)}
}

func notFound() *apiError {
	return &apiError{status: http.StatusNotFound, code: "ErrorItemNotFound", message: "The specified object was not found in the store."}
}

func denied() *apiError {
	return &apiError{status: http.StatusForbidden, code: "ErrorAccessDenied", message: "Access is denied. Check credentials and try again."}
}

func malformed() *apiError { return badRequest("ErrorInvalidIdMalformed", "Id is malformed.") }

func unauthorized(message string) *apiError {
	return &apiError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: message,
		header: http.Header{"Www-Authenticate": {`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`}}}
}

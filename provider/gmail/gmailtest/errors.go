package gmailtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// apiError is an error as Google's API writes it: googleapi.Error reads it back.
type apiError struct {
	status     int
	reason     string
	domain     string // "": "global"
	message    string
	retryAfter time.Duration // in the header, where it is positive
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.reason, e.message) }

// Names of the statuses in "status", as google.rpc.Code has them.
var statusNames = map[int]string{
	400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS", 413: "INVALID_ARGUMENT",
	429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE",
}

func (e *apiError) body() []byte {
	domain := e.domain
	if domain == "" {
		domain = "global"
	}
	status := statusNames[e.status]
	if e.reason == "failedPrecondition" {
		status = "FAILED_PRECONDITION"
	}
	b, err := json.Marshal(map[string]any{"error": map[string]any{
		"code": e.status, "message": e.message, "status": status,
		"errors": []map[string]string{{"message": e.message, "domain": domain, "reason": e.reason}},
	}})
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return b
}

func invalid(format string, a ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, reason: "invalidArgument", message: fmt.Sprintf(format, a...)}
}

func notFound() *apiError {
	return &apiError{status: http.StatusNotFound, reason: "notFound", message: "Requested entity was not found."}
}

func forbidden(reason, message string) *apiError {
	return &apiError{status: http.StatusForbidden, reason: reason, message: message}
}

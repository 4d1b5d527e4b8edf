package preseed

import (
	"fmt"
	"net/http"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// PlainHTTPError refuses a request without TLS.
type PlainHTTPError struct{ Host string }

func (e *PlainHTTPError) Error() string {
	return fmt.Sprintf("refusing plain http to %s: it is neither this machine nor named in registries.plain_http", e.Host)
}

// Unwrap returns net/http's error for the same condition.
func (e *PlainHTTPError) Unwrap() error { return http.ErrSchemeMismatch }

// LimitError reports that a registry limits requests: HTTP status 429.
type LimitError struct {
	Host  string
	After time.Duration // wait before asking again; 0 if the registry did not say
	Quota Quota
}

func (e *LimitError) Error() string {
	said := "too many requests (HTTP status 429)"
	if e.Quota.Limit > 0 {
		said += ": " + e.Quota.String()
	}
	if e.After > 0 {
		return fmt.Sprintf("%s; it asks to wait for %s", said, e.After.Round(time.Second))
	}
	return said
}

// Unwrap returns the status.
func (e *LimitError) Unwrap() error {
	return &transfer.StatusError{Code: http.StatusTooManyRequests, After: e.After}
}

// Quota is Docker Hub's limit on pulls (headers ratelimit-limit and ratelimit-remaining,
// "100;w=21600").
type Quota struct {
	Limit, Remaining int
	Window           time.Duration
}

func (q Quota) String() string {
	said := fmt.Sprintf("%d of %d pulls left", q.Remaining, q.Limit)
	if q.Window > 0 {
		said += fmt.Sprintf(" in %s", q.Window)
	}
	return said
}

// DeniedError means that a registry denies access: HTTP status 401 or 403.
type DeniedError struct {
	Host, Repository string
	Code             int
	Said             string // the registry's message
}

func (e *DeniedError) Error() string {
	said := fmt.Sprintf("%s refuses access to %s (HTTP status %d)", e.Host, e.Repository, e.Code)
	if e.Said != "" {
		said += ": " + e.Said
	}
	return said + fmt.Sprintf("; log in with docker login %s or podman login %s", e.Host, e.Host)
}

// Unwrap returns the status.
func (e *DeniedError) Unwrap() error { return &transfer.StatusError{Code: e.Code} }

// NotFoundError reports that a registry does not have something.
type NotFoundError struct{ What string }

func (e *NotFoundError) Error() string { return "it does not have " + e.What }

// Unwrap returns the status.
func (e *NotFoundError) Unwrap() error { return &transfer.StatusError{Code: http.StatusNotFound} }

// imageError is a fault of the published image itself: other registries have the same
// bytes.
type imageError struct{ err error }

func (e *imageError) Error() string { return e.err.Error() }
func (e *imageError) Unwrap() error { return e.err }

// Error lists the images that could not be preseeded, sorted by output.
type Error struct {
	Failures []Failure
	Total    int // images asked for
}

// Failure is one image and the last failure of each registry.
type Failure struct {
	Image    Image
	Attempts transfer.Attempts
}

// Error returns a summary in one line; the failures have the details.
func (e *Error) Error() string {
	if len(e.Failures) == 1 {
		return fmt.Sprintf("could not preseed 1 of %d images: %s", e.Total, e.Failures[0].Error())
	}
	names := transfer.Few(e.Failures, "%s", func(f Failure) string { return f.Image.Output })
	return fmt.Sprintf("could not preseed %d of %d images: %s", len(e.Failures), e.Total, names)
}

// Unwrap returns all reasons.
func (e *Error) Unwrap() []error {
	var all []error
	for _, f := range e.Failures {
		all = append(all, f.Unwrap()...)
	}
	return all
}

// Error names the output, and each registry with its reason.
func (f Failure) Error() string { return f.Image.Output + ": " + f.Attempts.Error() }

// Reason is Error without the output.
func (f Failure) Reason() error { return f.Attempts }

// Unwrap returns the reasons.
func (f Failure) Unwrap() []error { return f.Attempts.Unwrap() }

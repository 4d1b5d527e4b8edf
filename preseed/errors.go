package preseed

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cache"
)

// PlainHTTPError refuses a request without TLS.
type PlainHTTPError struct{ Host string }

func (e *PlainHTTPError) Error() string {
	return fmt.Sprintf("refusing plain http to %s: it is neither this machine nor named in registries.plain_http", e.Host)
}

// RedirectError is a redirect that is not followed.
type RedirectError struct{ Reason string }

func (e *RedirectError) Error() string { return "redirect refused: " + e.Reason }

// LimitError says that a registry wants fewer requests: HTTP status 429.
type LimitError struct {
	Host  string
	After time.Duration // when to come back; 0: it did not say
	Quota Quota
}

func (e *LimitError) Error() string {
	said := "too many requests (HTTP status 429)"
	if e.Quota.Limit > 0 {
		said += ": " + e.Quota.String()
	}
	if e.After > 0 {
		return fmt.Sprintf("%s; it wants to be asked again in %s", said, e.After.Round(time.Second))
	}
	return said
}

// Quota is what Docker Hub tells of its limit on pulls (ratelimit-limit and
// ratelimit-remaining, "100;w=21600").
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

// DeniedError is a refusal for want of credentials, HTTP status 401 or 403.
type DeniedError struct {
	Host, Repository string
	Code             int
	Said             string // by the registry
}

func (e *DeniedError) Error() string {
	said := fmt.Sprintf("%s refuses access to %s (HTTP status %d)", e.Host, e.Repository, e.Code)
	if e.Said != "" {
		said += ": " + e.Said
	}
	return said + fmt.Sprintf("; docker login %s or podman login %s gives credentials", e.Host, e.Host)
}

// NotFoundError says that a registry does not have something.
type NotFoundError struct{ What string }

func (e *NotFoundError) Error() string { return "it does not have " + e.What }

// StatusError is any other HTTP status that brings nothing.
type StatusError struct {
	Code int
	Said string // by the registry, at most some words
}

func (e *StatusError) Error() string {
	said := strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", e.Code, http.StatusText(e.Code)))
	if e.Said != "" {
		said += ": " + e.Said
	}
	return said
}

// AnswerError is an answer that breaks the protocol, or is not what was asked for.
type AnswerError struct{ Reason string }

func (e *AnswerError) Error() string { return e.Reason }

func answerf(format string, args ...any) error { return &AnswerError{fmt.Sprintf(format, args...)} }

// rangeError is a refusal of the range asked for; the whole blob may be had.
type rangeError struct{ reason string }

func (e *rangeError) Error() string { return e.reason }

// imageError is a fault of the published image itself: no registry has another
// one of that digest.
type imageError struct{ err error }

func (e *imageError) Error() string { return e.err.Error() }
func (e *imageError) Unwrap() error { return e.err }

// Error is every image that could not be had, sorted by output.
type Error struct {
	Failures []Failure
	Total    int // images asked for
}

// Failure is one image and what each registry said.
type Failure struct {
	Image    Image
	Attempts []Attempt
}

// Attempt is the last thing that went wrong with a registry.
type Attempt struct {
	Registry string // "" where the reason is not a registry's
	Reason   error
}

// Error is a summary in one line; the failures have the whole story.
func (e *Error) Error() string {
	if len(e.Failures) == 1 {
		return fmt.Sprintf("preseeding %d of %d images: %s", 1, e.Total, e.Failures[0].Error())
	}
	var names []string
	for _, f := range e.Failures[:min(len(e.Failures), 3)] {
		names = append(names, f.Image.Output)
	}
	if more := len(e.Failures) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("preseeding %d of %d images: %s", len(e.Failures), e.Total, strings.Join(names, ", "))
}

// Unwrap is all reasons.
func (e *Error) Unwrap() []error {
	var all []error
	for _, f := range e.Failures {
		all = append(all, f.Unwrap()...)
	}
	return all
}

// Error names the output, and each registry with its reason.
func (f Failure) Error() string {
	return f.Image.Output + ": " + attempts(f.Attempts).Error()
}

// Reason is Error without the output.
func (f Failure) Reason() error { return attempts(f.Attempts) }

// Unwrap is the reasons.
func (f Failure) Unwrap() []error {
	var all []error
	for _, a := range f.Attempts {
		all = append(all, a.Reason)
	}
	return all
}

// attempts carries what each registry said.
type attempts []Attempt

func (as attempts) Error() string {
	var parts []string
	for _, a := range as {
		if a.Registry == "" {
			parts = append(parts, a.Reason.Error())
			continue
		}
		parts = append(parts, a.Registry+": "+a.Reason.Error())
	}
	return strings.Join(parts, "; ")
}

// mismatch reports that err says that bytes were not those that a digest names.
func mismatch(err error) bool {
	var m *cache.DigestMismatchError
	return errors.As(err, &m)
}

package fetch

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"codeberg.org/stagex/sx/graph"
)

// Error is every source that could not be had, sorted by name and path.
type Error struct {
	Failures []Failure
	Total    int // sources asked for
	// Stopped is why sources that are neither had nor in Failures were not
	// tried, such as a *DiskError; nil when all were.
	Stopped error
}

// Failure is one source and what each mirror said.
type Failure struct {
	Source
	// Attempts are in mirror order, one for each mirror. Before them comes a
	// *WrongError, where something else lay under the final name.
	Attempts []Attempt
}

// Attempt is the last thing that went wrong with a mirror.
type Attempt struct {
	Mirror string // without credentials; "" where the reason is on this machine
	Reason error
}

// Error is a summary in one line; Table has the whole story.
func (e *Error) Error() string {
	var parts []string
	if n := len(e.Failures); n > 0 {
		parts = append(parts, fmt.Sprintf("fetching %d of %d sources: %s", n, e.Total, e.names()))
	}
	if e.Stopped != nil {
		parts = append(parts, e.Stopped.Error())
	}
	return strings.Join(parts, "; ")
}

// names is the first three failures with their reasons, if there is but one.
func (e *Error) names() string {
	if len(e.Failures) == 1 {
		return e.Failures[0].Error()
	}
	return few(e.Failures, func(f Failure) string { return f.Name })
}

func few[T any](all []T, name func(T) string) string {
	var names []string
	for _, t := range all[:min(len(all), 3)] {
		names = append(names, fmt.Sprintf("%q", name(t)))
	}
	if more := len(all) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// Unwrap is all reasons.
func (e *Error) Unwrap() []error {
	var all []error
	for i := range e.Failures {
		all = append(all, e.Failures[i].Unwrap()...)
	}
	if e.Stopped != nil {
		all = append(all, e.Stopped)
	}
	return all
}

// Error names the source, and each mirror with its reason.
func (f Failure) Error() string {
	var parts []string
	for _, a := range f.Attempts {
		if a.Mirror == "" {
			parts = append(parts, printable(a.Reason.Error()))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s: %s", printable(a.Mirror), printable(a.Reason.Error())))
	}
	return fmt.Sprintf("%q: %s", f.Name, strings.Join(parts, "; "))
}

// Unwrap is the reasons.
func (f Failure) Unwrap() []error {
	var all []error
	for _, a := range f.Attempts {
		all = append(all, a.Reason)
	}
	return all
}

// HashError says that a file is whole and another than the one wanted.
type HashError struct{ Got, Want graph.Hash }

func (e *HashError) Error() string {
	return fmt.Sprintf("wrong file: sha256 %s, want %s", e.Got, e.Want)
}

// StatusError is an HTTP status that brings no file.
type StatusError struct{ Code int }

func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", e.Code, http.StatusText(e.Code)))
}

// SizeError is a file, or the partial files together, above a limit.
type SizeError struct {
	What      string // what is too large: "file", "partial files"
	Size, Max int64  // bytes; Size is at least so much
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s of %d bytes or more, above the limit of %d", e.What, e.Size, e.Max)
}

// DiskError is a full disk or quota: it ends the run.
type DiskError struct {
	Path string
	Err  error
}

func (e *DiskError) Error() string { return fmt.Sprintf("writing %q: %v", e.Path, e.Err) }

// Unwrap is the system's error, such as ENOSPC.
func (e *DiskError) Unwrap() error { return e.Err }

// OfflineError lists the sources that only the network has, sorted.
type OfflineError struct{ Missing []Missing }

// Missing is one of them.
type Missing struct {
	Source
	// Wrong is a *WrongError for what lies there instead; nil when nothing does.
	Wrong error
}

// Error says what is missing, or what lies there instead.
func (m Missing) Error() string {
	if m.Wrong == nil {
		return fmt.Sprintf("%q is missing", m.Path)
	}
	return m.Wrong.Error()
}

// Error is a summary in one line, and one more for each wrong file.
func (e *OfflineError) Error() string {
	noun, what := "sources", "missing"
	if len(e.Missing) == 1 {
		noun = "source"
	}
	var wrong strings.Builder
	for _, m := range e.Missing {
		if m.Wrong != nil {
			what = "missing or wrong"
			wrong.WriteString("\n" + m.Wrong.Error())
		}
	}
	return fmt.Sprintf("offline, %d %s %s: %s%s", len(e.Missing), noun, what, few(e.Missing, func(m Missing) string { return m.Path }), wrong.String())
}

var errNoMirrors = errors.New("no mirrors")

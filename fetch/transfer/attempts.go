package transfer

import (
	"fmt"
	"strings"
)

// Attempt is the last failure of a place.
type Attempt struct {
	Place  string // without credentials; "" if the reason is not a place's
	Reason error
}

// maxText is how many bytes of a reason are shown; it may quote a server.
const maxText = 800

// Text returns the reason, shortened.
func (a Attempt) Text() string { return Shorten(a.Reason.Error(), maxText) }

// Shorten cuts a text to n bytes and marks the cut with "…".
func Shorten(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// Attempts are the failures of all places that were asked for one thing.
type Attempts []Attempt

// Error lists each place with its reason, in one line.
func (as Attempts) Error() string {
	var parts []string
	for _, a := range as {
		if a.Place == "" {
			parts = append(parts, a.Text())
			continue
		}
		parts = append(parts, Shorten(a.Place, maxText)+": "+a.Text())
	}
	return strings.Join(parts, "; ")
}

// Unwrap returns the reasons.
func (as Attempts) Unwrap() []error {
	var all []error
	for _, a := range as {
		all = append(all, a.Reason)
	}
	return all
}

// Few lists the first three names, formatted by format, and counts the rest.
func Few[T any](all []T, format string, name func(T) string) string {
	var names []string
	for _, t := range all[:min(len(all), 3)] {
		names = append(names, fmt.Sprintf(format, name(t)))
	}
	if more := len(all) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

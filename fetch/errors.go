package fetch

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// Error lists the sources that could not be fetched, sorted by name and path.
type Error struct {
	Failures []Failure
	Total    int // sources asked for
	// Stopped is the reason why the remaining sources, which are neither present nor
	// in Failures, were not tried, such as a *DiskError; nil if all were tried.
	Stopped error
}

// Failure is one source and the reason of each mirror.
type Failure struct {
	Source
	// Attempts has one entry for each mirror, in their order. If another file was found
	// at the final name, a *WrongError comes first.
	Attempts transfer.Attempts
}

// Error returns a summary in one line; Table has the details.
func (e *Error) Error() string {
	var parts []string
	if n := len(e.Failures); n > 0 {
		parts = append(parts, fmt.Sprintf("could not fetch %d of %d sources: %s", n, e.Total, e.names()))
	}
	if e.Stopped != nil {
		parts = append(parts, e.Stopped.Error())
	}
	return strings.Join(parts, "; ")
}

// names returns the only failure with its reasons, or the names of the first three.
func (e *Error) names() string {
	if len(e.Failures) == 1 {
		return e.Failures[0].Error()
	}
	return transfer.Few(e.Failures, "%q", func(f Failure) string { return f.Name })
}

// Unwrap returns all reasons.
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
	return fmt.Sprintf("%q: %s", f.Name, printable(f.Attempts.Error()))
}

// Reason returns the attempts, without the source.
func (f Failure) Reason() error { return f.Attempts }

// Unwrap returns the reasons.
func (f Failure) Unwrap() []error { return f.Attempts.Unwrap() }

// DiskError reports a full disk or quota, which ends the run.
type DiskError struct {
	Path string
	Err  error
}

func (e *DiskError) Error() string { return fmt.Sprintf("writing %q: %v", e.Path, e.Err) }

// Unwrap returns the system's error, such as ENOSPC.
func (e *DiskError) Unwrap() error { return e.Err }

// OfflineError lists the sources that are not on this machine, sorted.
type OfflineError struct{ Missing []Missing }

// Missing is a source that is not on this machine.
type Missing struct {
	Source
	// Wrong is a *WrongError if a wrong file is in its place, else nil.
	Wrong error
}

// Error names the missing path, or the wrong file there.
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
	return fmt.Sprintf("offline, %d %s %s: %s%s", len(e.Missing), noun, what, transfer.Few(e.Missing, "%q", func(m Missing) string { return m.Path }), wrong.String())
}

var errNoMirrors = errors.New("no mirrors")

// Table writes a row for each mirror of each failure: source, mirror, reason.
// A source is named in its first row only. Control characters are replaced.
// Without failures, as when the disk was full, it writes nothing.
func (e *Error) Table(w io.Writer) error {
	if len(e.Failures) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(t, "SOURCE", "MIRROR", "REASON")
	for _, f := range e.Failures {
		name := f.Name
		for _, a := range f.Attempts {
			mirror := a.Place
			if mirror == "" {
				mirror = "-"
			}
			row(t, name, mirror, a.Text())
			name = ""
		}
	}
	return t.Flush()
}

// row ignores errors: tabwriter returns them from Flush.
func row(t *tabwriter.Writer, cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	io.WriteString(t, strings.Join(cells, "\t")+"\n")
}

// printable replaces control characters, which could change a terminal or break a row:
// names and mirrors come from an untrusted tree, and reasons may quote a server.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

package fetch

import (
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

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

// row needs no error: tabwriter keeps it for Flush.
func row(t *tabwriter.Writer, cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	io.WriteString(t, strings.Join(cells, "\t")+"\n")
}

// printable replaces what could paint on a terminal or break a row: names and
// mirrors come from a tree that is not trusted, reasons may quote a server.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

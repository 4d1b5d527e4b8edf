// Package manpage writes manual pages in the man(7) language of groff and mandoc.
//
// It knows nothing of commands: what a page says is given. cobra's own generator is not
// used, because it goes by way of Markdown and has no place for groups of flags and for
// exit codes.
package manpage

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Page is a manual page of section 1. All texts are plain text.
type Page struct {
	Name    string // as it is typed: "sx engine stop"
	Summary string
	Date    string // of the page, as 2026-11-30
	Version string // of the program, as "sx 1.2.3"
	Usage   string

	// Description and Examples are in lines. An empty line ends a paragraph; a
	// line that begins with a space stays a line of its own.
	Description, Examples string

	Commands  []Item
	Flags     []Group
	ExitCodes []Item
	SeeAlso   []string // other pages of section 1: "sx-build"
}

// Group is a list with a heading.
type Group struct {
	Heading string
	Items   []Item
}

// Item is an entry of a list: a flag, a command or a number, and what it means.
type Item struct{ Term, Text string }

// FileName returns the name of the page's file: "sx-engine-stop.1".
func (p Page) FileName() string { return p.title() + ".1" }

func (p Page) title() string { return strings.ReplaceAll(p.Name, " ", "-") }

// Write writes the page.
func (p Page) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, ".TH %s 1 %s %s %s\n", quoted(strings.ToUpper(p.title())), quoted(p.Date), quoted(p.Version), quoted("StageX"))
	fmt.Fprintf(b, ".nh\n.ad l\n") // words such as MISMATCH stay whole
	fmt.Fprintf(b, ".SH NAME\n%s \\- %s\n", escape(p.title()), escape(p.Summary))
	fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\n", escape(p.Usage))
	section(b, "DESCRIPTION", p.Description)
	items(b, "COMMANDS", p.Commands)
	for _, g := range p.Flags {
		items(b, strings.ToUpper(g.Heading), g.Items)
	}
	section(b, "EXAMPLES", p.Examples)
	items(b, "EXIT STATUS", p.ExitCodes)
	if len(p.SeeAlso) > 0 {
		fmt.Fprintf(b, ".SH SEE ALSO\n")
		for i, name := range p.SeeAlso {
			comma := ","
			if i == len(p.SeeAlso)-1 {
				comma = ""
			}
			fmt.Fprintf(b, ".BR %s (1)%s\n", escape(name), comma)
		}
	}
	return b.Flush()
}

// section writes a heading and the lines of a text, if there is any.
func section(w io.Writer, heading, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(w, ".SH %s\n", heading)
	asIs := false
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		if indented := strings.HasPrefix(line, " "); indented != asIs && line != "" {
			asIs = indented
			fmt.Fprintln(w, map[bool]string{true: ".nf", false: ".fi"}[asIs])
		}
		if line == "" {
			fmt.Fprintln(w, ".PP")
			continue
		}
		fmt.Fprintln(w, escapeLine(line))
	}
	if asIs {
		fmt.Fprintln(w, ".fi")
	}
}

// items writes a heading and a list, if there is any.
func items(w io.Writer, heading string, list []Item) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, ".SH %s\n", heading)
	for _, i := range list {
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", escape(i.Term), escapeLine(i.Text))
	}
}

// escape keeps groff from reading anything in text as an instruction. A hyphen becomes
// the minus sign of ASCII, so that a flag can be copied from the page.
var escape = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace

// escapeLine escapes a whole line, which must not begin as a request does.
func escapeLine(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + escape(line)
	}
	return escape(line)
}

// quoted makes one argument of text.
func quoted(text string) string {
	return `"` + strings.ReplaceAll(escape(text), `"`, `\(dq`) + `"`
}

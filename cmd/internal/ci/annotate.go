package ci

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// Of more failures than these a system shows none: GitHub takes ten annotations a step,
// and a log of thousands of lines is not read.
const (
	maxAnnotations = 10
	maxGroups      = 50
)

// Annotate writes an annotation for each failure, and the end of its log, folded. It
// writes nothing for [None].
func Annotate(w io.Writer, s System, r Report) error {
	if s == None {
		return nil
	}
	b := bufio.NewWriter(w)
	n := 0
	for _, one := range r.Results {
		if one.State != Failed {
			continue
		}
		if n++; n <= maxAnnotations && s != GitLab { // GitLab has no annotations
			fmt.Fprintln(b, annotation(one, r.Tree))
		}
		if n <= maxGroups && len(one.Log) > 0 {
			fold(b, s, n, one)
		}
	}
	return b.Flush()
}

// annotation returns a workflow command (docs.github.com, "Workflow commands").
func annotation(one Result, tree string) string {
	properties := "title=" + property(one.Output+" "+one.Words)
	if one.File != "" {
		at := "file=" + property(path.Join(tree, one.File))
		if one.Line > 0 {
			at += fmt.Sprintf(",line=%d", one.Line)
		}
		properties = at + "," + properties
	}
	message := one.Message
	if message == "" {
		message = one.Words
	}
	return "::error " + properties + "::" + data(message)
}

// data escapes the message of a workflow command, property a value before it
// (github.com/actions/toolkit, packages/core/src/command.ts).
func data(s string) string { return dataEscape.Replace(text.Lines(s)) }

func property(s string) string { return propertyEscape.Replace(text.Field(s)) }

var (
	dataEscape     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscape = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// fold writes a log that the system shows folded. Its lines are harmless before they get
// here, and are made so again.
func fold(w io.Writer, s System, number int, one Result) {
	title := text.Field(one.Output) + ": the end of its log"
	name := fmt.Sprintf("sx_log_%d", number)
	switch s {
	case GitLab: // docs.gitlab.com, "Custom collapsible sections"; without times
		fmt.Fprintf(w, "\x1b[0Ksection_start:0:%s[collapsed=true]\r\x1b[0K%s\n", name, title)
		defer fmt.Fprintf(w, "\x1b[0Ksection_end:0:%s\r\x1b[0K\n", name)
	default:
		fmt.Fprintf(w, "::group::%s\n", dataEscape.Replace(title))
		defer fmt.Fprintln(w, "::endgroup::")
	}
	for _, line := range one.Log {
		fmt.Fprintln(w, text.Lines(line))
	}
	if one.LogPath != "" {
		fmt.Fprintf(w, "the whole log: %s\n", text.Field(one.LogPath))
	}
}

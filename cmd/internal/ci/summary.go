package ci

import (
	"fmt"
	"html"
	"io"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// What a summary has room for: GitHub takes 1 MiB a step.
const (
	maxTable     = 800 << 10 // bytes, where tables end
	maxLogs      = 10
	maxLogLines  = 20
	maxLineBytes = 400
)

// Summary writes the report as Markdown: the totals, what failed with the end of its log,
// then all results in a table, folded.
func Summary(w io.Writer, r Report) error {
	b := new(strings.Builder)
	fmt.Fprintf(b, "### %s\n\n%s\n\n", code(r.Command), escape(r.Totals))
	table(b, r, Failed)
	logs := 0
	for _, one := range r.Results {
		if one.State != Failed || len(one.Log) == 0 {
			continue
		}
		if logs++; logs > maxLogs {
			break
		}
		fmt.Fprintf(b, "<details><summary>%s: the end of its log</summary>\n\n<pre>\n", code(one.Output))
		for _, line := range one.Log[max(0, len(one.Log)-maxLogLines):] {
			// An empty line would end the block of HTML.
			fmt.Fprintf(b, "%s \n", entities(text.Shorten(text.Lines(line), maxLineBytes)))
		}
		fmt.Fprint(b, "</pre>\n</details>\n\n")
	}
	if r.count(Passed)+r.count(Skipped) > 0 {
		fmt.Fprint(b, "<details><summary>All others</summary>\n\n")
		table(b, r, Skipped)
		table(b, r, Passed)
		fmt.Fprint(b, "</details>\n\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table writes the results of one state, if there are any, as far as there is room.
func table(w *strings.Builder, r Report, s State) {
	n := r.count(s)
	if n == 0 {
		return
	}
	fmt.Fprint(w, "| output | | time |\n| --- | --- | --- |\n")
	rows := 0
	for _, one := range r.Results {
		if one.State != s {
			continue
		}
		if w.Len() > maxTable {
			fmt.Fprintf(w, "| and %d more | | |\n", n-rows)
			break
		}
		rows++
		words, elapsed := escape(one.Words), ""
		if one.Message != "" {
			words += ": " + code(text.Shorten(one.Message, maxLineBytes))
		}
		if one.Elapsed > 0 {
			elapsed = text.Duration(one.Elapsed)
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", code(one.Output), words, elapsed)
	}
	fmt.Fprintln(w)
}

// code shows s as code: inside it nothing is a mention or a link.
func code(s string) string { return "<code>" + escape(s) + "</code>" }

// escape makes s one harmless line of Markdown.
func escape(s string) string { return entities(text.Field(s)) }

// entities replaces all that HTML or Markdown could read as markup. An entity never
// stands for the structure of a text (CommonMark 0.31, "Entity and numeric character references").
func entities(s string) string { return markdown.Replace(html.EscapeString(s)) }

var markdown = func() *strings.Replacer {
	var pairs []string
	for _, c := range "\\`*_{}[]()#+-.!|~@:$^=/" {
		pairs = append(pairs, string(c), fmt.Sprintf("&#%d;", c))
	}
	return strings.NewReplacer(pairs...)
}()

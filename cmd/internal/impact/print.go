package impact

import (
	"fmt"
	"io"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

// Report is an impact and what it was compared with.
type Report struct {
	Impact
	Commit string // the commit, as history.Commit prints it
	Is     string // why that one, in words; "" if the user named it
	Time   Time
	Fetch  int // sources of these outputs that are not in fetch/
}

// Time is how long the builds should take, if the last builds here tell.
type Time struct {
	Work, Longest, Estimate time.Duration // see schedule.Forecast
	Jobs                    int
	Untimed                 int // outputs that were never built here, and count as the average
}

// Kept counts the outputs whose lines in digests/ are as they were.
func (i Impact) Kept() (n int) {
	for _, o := range i.Outputs {
		if o.Digest == Kept {
			n++
		}
	}
	return n
}

func (r Report) since() string {
	said := "since " + r.Commit
	if r.Is != "" {
		said += " (" + r.Is + ")"
	}
	return said
}

// totals is a sentence about the outputs.
func (r Report) totals() string {
	if len(r.Outputs) == 0 {
		return "no output is touched"
	}
	said := fmt.Sprintf("at most %s to build again", count(len(r.Outputs), "output"))
	if kept := r.Kept(); kept > 0 {
		said += fmt.Sprintf("; %s in digests/ may change", count(kept, "digest"))
	}
	if updated := r.updated(); updated > 0 {
		said += fmt.Sprintf("; %d were updated", updated)
	}
	return said
}

func (i Impact) updated() (n int) {
	for _, o := range i.Outputs {
		if o.Digest == Updated {
			n++
		}
	}
	return n
}

// time is a sentence about how long that takes, "" if nothing is known.
func (r Report) time() string {
	t := r.Time
	if len(r.Outputs) == t.Untimed {
		return ""
	}
	said := fmt.Sprintf("about %s of work, %s on the longest path, %s with -j %d", text.Duration(t.Work), text.Duration(t.Longest), text.Duration(t.Estimate), t.Jobs)
	if t.Untimed > 0 {
		said += fmt.Sprintf(" (%d of them never built here: estimated)", t.Untimed)
	}
	return said
}

// Print writes a line for each definition and each output, then the totals.
func (r Report) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, r.since())
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "%-8s %s%s\n", c.Kind, text.Field(c.Definition), files(c))
	}
	for _, name := range r.Gone {
		fmt.Fprintf(&b, "gone     %s\n", text.Field(name))
	}
	for _, o := range r.Outputs {
		fmt.Fprintf(&b, "build    %s: %s%s\n", o.Ref, because(o), took(o))
	}
	fmt.Fprintln(&b, r.totals())
	for _, said := range []string{r.fetch(), r.time()} {
		if said != "" {
			fmt.Fprintln(&b, said)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Report) fetch() string {
	if r.Fetch == 0 {
		return ""
	}
	return count(r.Fetch, "source") + " to fetch"
}

// maxFiles bounds the files that a line names.
const maxFiles = 5

func files(c Change) string {
	if len(c.Files) == 0 {
		return ""
	}
	said := ": "
	for i, f := range c.Files[:min(len(c.Files), maxFiles)] {
		if i > 0 {
			said += ", "
		}
		said += text.Field(f)
	}
	if more := len(c.Files) - maxFiles; more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return said
}

func because(o Output) string {
	said := "its definition changed"
	if o.Via != nil {
		said = fmt.Sprintf("through %s", o.Via)
	}
	return said + map[Published]string{Kept: "", Updated: "; its line in digests/ was updated", None: "; not in digests/"}[o.Digest]
}

func took(o Output) string {
	if o.Seconds == 0 {
		return ""
	}
	return fmt.Sprintf(" (took %s)", text.Duration(time.Duration(o.Seconds*float64(time.Second))))
}

// maxRows bounds the table of a pull request, whose text has a limit of 64 KiB.
const maxRows = 500

// Markdown writes the report for a pull request: the totals, the definitions, and the
// outputs in a table that is folded.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s** %s.\n", upper(r.totals()), cell(r.since()))
	for _, said := range []string{r.time(), r.fetch()} {
		if said != "" {
			fmt.Fprintf(&b, "%s. ", upper(said))
		}
	}
	b.WriteString("\n")
	if len(r.Changes) > 0 {
		b.WriteString("\n| definition | | files |\n| --- | --- | --- |\n")
		for _, c := range r.Changes[:min(len(r.Changes), maxRows)] {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(c.Definition), c.Kind, cell(strings.TrimPrefix(files(c), ": ")))
		}
		b.WriteString(more(len(r.Changes)))
	}
	if len(r.Outputs) > 0 {
		fmt.Fprintf(&b, "\n<details><summary>%s to build again</summary>\n\n| output | because | digest | last build |\n| --- | --- | --- | --- |\n", count(len(r.Outputs), "output"))
		for _, o := range r.Outputs[:min(len(r.Outputs), maxRows)] {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", o.Ref, cause(o), o.Digest, strings.Trim(took(o), " ()"))
		}
		b.WriteString(more(len(r.Outputs)))
		b.WriteString("\n</details>\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func cause(o Output) string {
	if o.Via == nil {
		return "its definition changed"
	}
	return o.Via.String()
}

// more is a last row for those that have none.
func more(n int) string {
	if n <= maxRows {
		return ""
	}
	return fmt.Sprintf("| and %d more | |\n", n-maxRows)
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// cell keeps foreign text from being Markdown or HTML.
func cell(s string) string { return entities.Replace(text.Field(s)) }

var entities = func() *strings.Replacer {
	var pairs []string
	for _, c := range "\\`*_{}[]()#+!|~@$<>&\"'" {
		pairs = append(pairs, string(c), fmt.Sprintf("&#%d;", c))
	}
	return strings.NewReplacer(pairs...)
}()

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Refs returns the outputs of an impact.
func (i Impact) Refs() []graph.Ref {
	refs := make([]graph.Ref, len(i.Outputs))
	for n, o := range i.Outputs {
		refs[n] = o.Ref
	}
	return refs
}

package receipt

import (
	"fmt"
	"io"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// maxIgnored is how many receipts that do not count a text lists; JSON has all.
const maxIgnored = 20

// Print writes a line for each output, the receipts that do not count, and the totals.
func (s Sum) Print(w io.Writer) {
	for _, c := range s.Outputs {
		fmt.Fprintf(w, "%s %s\n", c.Output, c.words())
	}
	for _, i := range s.Ignored[:min(len(s.Ignored), maxIgnored)] {
		fmt.Fprintf(w, "does not count: %s: %s\n", text.Field(i.Name), text.Field(i.Why))
	}
	if more := len(s.Ignored) - maxIgnored; more > 0 {
		fmt.Fprintf(w, "%d more do not count (--json lists all)\n", more)
	}
	fmt.Fprintln(w, s.totals())
}

// words says what is known of an output.
func (c Coverage) words() string {
	said := c.State
	if len(c.People) > 0 {
		said = fmt.Sprintf("confirmed by %d: %s; %s%s", len(c.People), fields(c.People), count(c.Machines, "machine"), c.vendors())
	}
	switch c.State {
	case Conflict:
		return "conflict: " + said + "; against it: " + fields(c.Against)
	case Failed:
		return "failed: " + fields(c.Against)
	}
	return said
}

func (c Coverage) vendors() string {
	if len(c.Vendors) == 0 {
		return ""
	}
	return " (" + fields(c.Vendors) + ")"
}

func (s Sum) totals() string {
	said := fmt.Sprintf("%s: %d confirmed, %d failed, %d in conflict, %d missing", count(len(s.Outputs), "output"),
		s.Count(Confirmed), s.Count(Failed), s.Count(Conflict), s.Count(Missing))
	if s.People > 0 {
		said += fmt.Sprintf("; all of them confirmed by %d", s.People)
	}
	return said
}

// Markdown writes a table for a pull request, the weakest outputs first told by their
// state.
func (s Sum) Markdown(w io.Writer) {
	fmt.Fprintf(w, "%s.\n\n| output | state | confirmed by | machines | CPU vendors |\n| --- | --- | --- | --- | --- |\n", s.totals())
	for _, c := range s.Outputs {
		state := c.State
		if len(c.Against) > 0 {
			state += ": " + fields(c.Against)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %d | %s |\n", c.Output, cell(state), cell(fields(c.People)), c.Machines, cell(fields(c.Vendors)))
	}
	if len(s.Ignored) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s %s:\n\n", count(len(s.Ignored), "receipt"), map[bool]string{true: "does not count", false: "do not count"}[len(s.Ignored) == 1])
	for _, i := range s.Ignored[:min(len(s.Ignored), maxIgnored)] {
		fmt.Fprintf(w, "- %s: %s\n", cell(text.Field(i.Name)), cell(text.Field(i.Why)))
	}
}

// cell keeps foreign text from being Markdown or HTML.
func cell(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\`*_{}[]<>#+!|~&", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func fields(list []string) string {
	said := make([]string, len(list))
	for i, s := range list {
		said[i] = text.Field(s)
	}
	return strings.Join(said, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Print writes what a receipt says, and whose word it is.
func (r Receipt) Print(w io.Writer) {
	if r.output() == "" {
		fmt.Fprintf(w, "%s: %s\n", text.Field(r.Name), text.Field(r.Why.Error()))
		return
	}
	d, run := r.Predicate.BuildDefinition, r.Predicate.RunDetails
	fmt.Fprintf(w, "%s: %s %s\n", text.Field(r.Name), text.Field(r.Output()), r.Digest())
	if r.Why != nil {
		fmt.Fprintf(w, "  not counted: %s\n", text.Field(r.Why.Error()))
	} else if r.MachineKey != "" {
		fmt.Fprintf(w, "  signed by %s, with the machine key %s\n", text.Field(r.Person), text.Field(r.MachineKey))
	} else {
		fmt.Fprintf(w, "  signed by %s\n", text.Field(r.Person))
	}
	fmt.Fprintf(w, "  built     %s to %s, for %s, %s\n", run.Metadata.StartedOn.Format("2006-01-02 15:04:05"),
		run.Metadata.FinishedOn.Format("15:04:05"), text.Field(d.External.Platform), cached(d.Internal))
	fmt.Fprintf(w, "  engine    %s, sx %s\n", text.Field(strings.TrimPrefix(run.Builder.ID, builderID)), text.Field(run.Builder.Version["sx"]))
	if m := d.Internal.Machine; m.CPUVendor != "" || m.Kernel != "" {
		fmt.Fprintf(w, "  machine   %s, %s, kernel %s\n", text.Field(m.CPUVendor), text.Field(m.CPUModel), text.Field(m.Kernel))
	}
	for _, dep := range d.Resolved {
		fmt.Fprintf(w, "  %-9s %s sha256:%s\n", text.Field(dep.Annotations["kind"]), text.Field(dep.Name), text.Field(dep.Digest["sha256"]))
	}
}

func cached(in Internal) string {
	if in.NoCache {
		return "without a cache"
	}
	return "perhaps from a cache"
}

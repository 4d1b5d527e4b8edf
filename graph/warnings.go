package graph

import (
	"fmt"
	"slices"
)

// noPackageTOML is why a definition is passed over that the trees of 2024 have.
const noPackageTOML = "has no package.toml"

// allWarnings are those about folders, sorted, and one of each kind about what
// package.toml holds.
func (l *loader) allWarnings() []string {
	slices.Sort(l.warnings)
	return append(l.warnings,
		slices.Concat(
			l.noted(noteUnknown, "%s", "key"),
			l.noted(noteNewer, "%s: upstream's parser, of TOML 1.0, refuses the file", "such line"),
		)...)
}

// noted tells the first note of a kind, and counts the others.
func (l *loader) noted(kind noteKind, format, noun string) []string {
	first, more, files := "", 0, 0
	for _, d := range l.drafts {
		here := 0
		for _, n := range d.notes {
			switch {
			case n.kind != kind:
			case first == "":
				first = printable(shorten(fmt.Sprintf("%s/%s:%d: "+format, d.def.Dir, manifestName, n.line, n.text)))
			default:
				here++
			}
		}
		if more += here; here > 0 {
			files++
		}
	}
	switch {
	case first == "":
		return nil
	case more > 0:
		first += fmt.Sprintf(" (and %s more, in %s)", count(more, noun), count(files, "file"))
	}
	return []string{first}
}

// count is "1 file" or "2 files".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

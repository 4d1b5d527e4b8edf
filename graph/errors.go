package graph

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// FileError says where in the tree something is wrong.
type FileError struct {
	File string // relative to the tree, slashes
	Line int    // from 1; 0 for the whole file
	Err  error
}

// maxMessage bounds the printed bytes of a message; a definition may hold a thousand
// times as many.
const maxMessage = 1000

// Error is one line without control characters. The middle of a long one is left out.
func (e *FileError) Error() string {
	if e.Line == 0 {
		return printable(shorten(fmt.Sprintf("%s: %v", e.File, e.Err)))
	}
	return printable(shorten(fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)))
}

func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	const half = maxMessage / 2
	head, tail := strings.ToValidUTF8(text[:half], ""), strings.ToValidUTF8(text[len(text)-half:], "")
	return fmt.Sprintf("%s … (%d bytes) … %s", head, len(text)-2*half, tail)
}

func (e *FileError) Unwrap() error { return e.Err }

// CycleError is a chain of outputs that ends where it begins.
type CycleError struct {
	Path []Ref  // the first is also the last
	Kind string // of the links of the chain: "dependencies" or "version_from"
}

func (e *CycleError) Error() string {
	names := make([]string, len(e.Path))
	for i, r := range e.Path {
		names[i] = r.String()
	}
	return fmt.Sprintf("cycle of %s: %s", e.Kind, strings.Join(names, " -> "))
}

// UnknownTargetError is a selector that matches nothing.
type UnknownTargetError struct {
	Name        string
	Suggestions []string // the nearest selectors that match
	Reason      string   // "" is "no such target"
	Hidden      []string // folders that cannot be read and may contain it
}

func (e *UnknownTargetError) Error() string {
	return fmt.Sprintf("selecting %q: %s%s%s", e.Name, cmp.Or(e.Reason, "no such target"), didYouMean(e.Suggestions), mayHave(e.Hidden))
}

// UnknownDependencyError is a reference to an output that no definition has.
type UnknownDependencyError struct {
	Name        string // "core-rsut"
	Suggestions []string
	Skipped     string   // the folder that would have it, and why it is skipped; "" if there is none
	Hidden      []string // folders that cannot be read and may have it
}

func (e *UnknownDependencyError) Error() string {
	if e.Skipped != "" {
		return fmt.Sprintf("unknown output %q: %s", e.Name, e.Skipped)
	}
	return fmt.Sprintf("unknown output %q%s%s", e.Name, didYouMean(e.Suggestions), mayHave(e.Hidden))
}

// mayHave returns the end of a message about hidden folders; "" if there are none.
func mayHave(folders []string) string {
	if len(folders) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s cannot be read and may have it", printable(strings.Join(folders, ", ")))
}

// sortErrors sorts errs by file, line and text, and removes duplicates.
func sortErrors(errs []*FileError) []*FileError {
	slices.SortFunc(errs, func(a, b *FileError) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			strings.Compare(a.Err.Error(), b.Err.Error()))
	})
	return slices.CompactFunc(errs, func(a, b *FileError) bool { return a.Error() == b.Error() })
}

// printable escapes every character of a text of the tree that could act on a terminal.
func printable(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch _, size := utf8.DecodeRuneInString(text[i:]); {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// joinDistinct sorts errs by their text and removes duplicates.
func joinDistinct(errs []error) error {
	slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(slices.CompactFunc(errs, func(a, b error) bool { return a.Error() == b.Error() })...)
}

// noPackageTOML is why a definition without package.toml, as in trees of 2024, is
// skipped.
const noPackageTOML = "has no package.toml"

// allWarnings returns those about folders, sorted, and one of each kind about the
// contents of package.toml.
func (l *loader) allWarnings() []string {
	slices.Sort(l.warnings)
	return append(l.warnings,
		slices.Concat(
			l.noted(noteUnknown, "%s", "key"),
			l.noted(noteNewer, "%s: upstream's parser, of TOML 1.0, refuses the file", "such line"),
		)...)
}

// noted returns the first note of a kind, and the number of the others.
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

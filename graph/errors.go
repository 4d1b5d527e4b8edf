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
	Line int    // from 1; 0 when it is about the whole file
	Err  error
}

// maxMessage is how many bytes of a message are printed. What a definition holds
// may be a thousand times as long.
const maxMessage = 1000

// Error is one line, with nothing in it that could paint on a terminal. Of a long
// one the middle is left out.
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
	Kind string // what the chain is made of: "dependencies" or "version_from"
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
	Suggestions []string // the nearest that would have matched
	Reason      string   // "" is "no such target"
	Hidden      []string // folders that cannot be read and may have it
}

func (e *UnknownTargetError) Error() string {
	return fmt.Sprintf("selecting %q: %s%s%s", e.Name, cmp.Or(e.Reason, "no such target"), didYouMean(e.Suggestions), mayHave(e.Hidden))
}

// UnknownDependencyError is a reference to an output that no definition has.
type UnknownDependencyError struct {
	Name        string // "core-rsut"
	Suggestions []string
	Skipped     string   // the folder that would have it, and why it is passed over; "" where none would
	Hidden      []string // folders that cannot be read and may have it
}

func (e *UnknownDependencyError) Error() string {
	if e.Skipped != "" {
		return fmt.Sprintf("unknown output %q: %s", e.Name, e.Skipped)
	}
	return fmt.Sprintf("unknown output %q%s%s", e.Name, didYouMean(e.Suggestions), mayHave(e.Hidden))
}

// mayHave ends a message; it is empty if there are no such folders.
func mayHave(folders []string) string {
	if len(folders) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s cannot be read and may have it", printable(strings.Join(folders, ", ")))
}

// sortErrors sorts errs by file, line and text, and tells equal ones once.
func sortErrors(errs []*FileError) []*FileError {
	slices.SortFunc(errs, func(a, b *FileError) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			strings.Compare(a.Err.Error(), b.Err.Error()))
	})
	return slices.CompactFunc(errs, func(a, b *FileError) bool { return a.Error() == b.Error() })
}

// printable is text of the tree with every character escaped that could paint on
// a terminal.
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

// joinDistinct sorts errs by their text and tells equal ones once.
func joinDistinct(errs []error) error {
	slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(slices.CompactFunc(errs, func(a, b error) bool { return a.Error() == b.Error() })...)
}

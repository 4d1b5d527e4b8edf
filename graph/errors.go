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

// FileError says where in the tree something is wrong. Load joins all of them
// that do not follow from one another, sorted by file, line and text.
type FileError struct {
	File string // relative to the tree, slashes
	Line int    // from 1; 0 when it is about the whole file
	Err  error
}

// Error is one line, with nothing in it that could paint on a terminal.
func (e *FileError) Error() string {
	if e.Line == 0 {
		return printable(fmt.Sprintf("%s: %v", e.File, e.Err))
	}
	return printable(fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err))
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
}

func (e *UnknownTargetError) Error() string {
	return fmt.Sprintf("selecting %q: %s%s", e.Name, cmp.Or(e.Reason, "no such target"), didYouMean(e.Suggestions))
}

// UnknownDependencyError is a reference to an output that no definition has.
type UnknownDependencyError struct {
	Name        string // "core-rsut"
	Suggestions []string
	Skipped     string // the folder that would have it, and why it is passed over; "" where none would
}

func (e *UnknownDependencyError) Error() string {
	if e.Skipped != "" {
		return fmt.Sprintf("unknown output %q: %s", e.Name, e.Skipped)
	}
	return fmt.Sprintf("unknown output %q%s", e.Name, didYouMean(e.Suggestions))
}

// joinErrors is nil for none. Equal errors are told once.
func joinErrors(errs []*FileError) error {
	slices.SortFunc(errs, func(a, b *FileError) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			strings.Compare(a.Err.Error(), b.Err.Error()))
	})
	errs = slices.CompactFunc(errs, func(a, b *FileError) bool { return a.Error() == b.Error() })
	joined := make([]error, len(errs))
	for i, e := range errs {
		joined[i] = e
	}
	return errors.Join(joined...)
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

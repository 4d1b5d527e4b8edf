package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/checkout"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/gpg"
	"codeberg.org/stagex/sx/cmd/internal/imagediff"
	"codeberg.org/stagex/sx/cmd/internal/load"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/preseed"
)

// The exit codes, documented in `sx --help` and README.md.
const (
	exitOK        = 0
	exitFailed    = 1 // a build failed, or sx itself
	exitUsage     = 2 // wrong flags, selectors, settings, definitions or digests/
	exitMismatch  = 3
	exitUnsigned  = 4 // too few people signed
	exitFetch     = 5 // a source or an image cannot be fetched
	exitMachine   = 6 // this machine lacks something
	exitDisk      = 7 // the disk is full, or about to be
	exitUnproven  = 8 // neither all MATCH nor any MISMATCH, or a source is damaged
	exitInterrupt = 130
	exitTerm      = 143
)

// usageError is an error in the command line, the settings or a definition.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// codeError carries an exit code whose reason was already printed.
type codeError int

func (e codeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// signalError is the cause of a context that a signal cancelled.
type signalError struct{ code int }

func (e signalError) Error() string {
	if e.code == exitTerm {
		return "terminated"
	}
	return "interrupted"
}

// exitOrder lists the exit codes in order of precedence.
var exitOrder = []int{
	exitInterrupt, exitTerm, exitDisk, exitMachine, exitMismatch, exitFailed, exitUsage, exitFetch, exitUnsigned, exitUnproven, exitOK,
}

// worst returns the code that a command exits with if all of codes apply.
func worst(codes ...int) int {
	for _, code := range exitOrder {
		if slices.Contains(codes, code) {
			return code
		}
	}
	if len(codes) > 0 {
		return codes[0]
	}
	return exitOK
}

// exitCode maps an error to its documented code. For joined errors it is the code with
// the highest precedence.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	return worst(codesIn(err, true)...)
}

// joined is the type that errors.Join returns. It holds independent errors; the errors
// that another type wraps are reasons of one error.
var joined = reflect.TypeOf(errors.Join(errors.ErrUnsupported))

// codesIn collects the codes of err and of the errors that it wraps. whole means that err
// is not just a reason of another error; it is then exitFailed if it has no code.
func codesIn(err error, whole bool) (codes []int) {
	if code, ok := ownCode(err); ok {
		codes = append(codes, code)
		whole = false
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return append(codes, codesIn(inner, whole)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			codes = append(codes, codesIn(inner, whole && reflect.TypeOf(err) == joined)...)
		}
	}
	if codes == nil && whole {
		return []int{exitFailed}
	}
	return codes
}

// ownCode returns the code of the type of err, whatever err wraps.
func ownCode(err error) (int, bool) {
	switch e := err.(type) {
	case codeError:
		return int(e), true
	case signalError:
		return e.code, true
	case usageError, *panel.SourceError, *tree.NoTreeError, *tree.OldTreeError, *driver.NoDefinitionsError, *tree.PublishedError, *driver.PlatformsError,
		*imagediff.ImageError:
		return exitUsage, true
	case *buildkit.UnfitError, *buildkit.EngineError, *driver.EngineGoneError, *driver.NoEngineError, *driver.OtherProbeError, *disk.UnsafeError, *cache.ReadOnlyError, *load.MissingError, *gpg.MissingError,
		*diffoscopeError:
		return exitMachine, true
	case *tree.DiskFullError, *driver.FloorError, *fetch.DiskError:
		return exitDisk, true
	case *fetch.Error, *fetch.OfflineError, *fetch.DocumentError, *preseed.Error, *preseed.PushError, *preseed.HubError, *buildkit.HubError, *driver.SourceError, *driver.ImageError, *driver.ForeignError, *unpublishedError, *remoteError, *checkout.Error:
		return exitFetch, true
	case *driver.DifferError:
		return exitMismatch, true
	case *publish.RefusedError:
		return refusedCode(e), true
	case *unsignedError:
		return e.code(), true
	}
	return exitInterrupt, err == context.Canceled
}

// refusedCode returns the code of the worst refusal: a MISMATCH, then a missing or
// damaged output, then one that is not proven.
func refusedCode(e *publish.RefusedError) int {
	codes := []int{exitUnproven}
	for _, r := range e.Refusals {
		switch {
		case r.Word == verdict.Mismatch:
			codes = append(codes, exitMismatch)
		case r.Final && r.Word != "":
			codes = append(codes, exitFailed)
		}
	}
	return worst(codes...)
}

// fullDisk makes a *tree.DiskFullError of each joined error that means a full disk.
func fullDisk(err error) error {
	if reflect.TypeOf(err) != joined {
		return tree.FullDisk(err)
	}
	var all []error
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		all = append(all, fullDisk(e))
	}
	return errors.Join(all...)
}

// untold returns err without its codeErrors, whose reasons are printed already; nil if
// nothing else is left.
func untold(err error) error {
	if _, told := err.(codeError); told || err == nil {
		return nil
	}
	all, ok := err.(interface{ Unwrap() []error })
	if !ok || reflect.TypeOf(err) != joined {
		return err
	}
	var rest []error
	for _, e := range all.Unwrap() {
		rest = append(rest, untold(e))
	}
	return errors.Join(rest...)
}

// maxErrorLines is the maximum number of lines of one message.
const maxErrorLines = 500

// printError writes err as one message, with foreign text in it escaped.
func printError(w io.Writer, err error) {
	if err = untold(err); err == nil {
		return
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		if i == maxErrorLines {
			fmt.Fprintf(w, "    … and %d more lines\n", len(lines)-i)
			break
		}
		lead := "sx: "
		if i > 0 {
			lead = "    "
		}
		fmt.Fprintln(w, lead+text.Field(line))
	}
	var sources *fetch.Error
	var images *preseed.Error
	if errors.As(err, &sources) && len(sources.Failures) > 1 { // for one, the message is complete
		printMirrors(w, sources)
	}
	if errors.As(err, &images) && len(images.Failures) > 1 {
		printRegistries(w, images)
	}
}

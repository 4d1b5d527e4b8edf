package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/load"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/preseed"
)

// The exit codes, documented in `sx --help` and README.md.
const (
	exitOK        = 0
	exitFailed    = 1 // a build failed, or sx itself
	exitUsage     = 2 // wrong flags, selectors, settings or definitions
	exitMismatch  = 3
	exitFetch     = 5 // a source or an image cannot be had
	exitMachine   = 6 // this machine lacks something
	exitDisk      = 7 // the disk is full, or about to be
	exitUnproven  = 8 // neither all MATCH nor any MISMATCH
	exitInterrupt = 130
	exitTerm      = 143
)

const exitHelp = `Exit codes:
  0  done                          6  this machine lacks something
  1  a build failed                7  the disk is full, or build.disk_floor reached
  2  usage, settings, definitions  8  not proven (verify: not all MATCH)
  3  MISMATCH                      130, 143  interrupted, terminated
  5  a source or a published image cannot be had`

// usageError marks what the user typed or wrote wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// codeError carries an exit code whose reason was already printed.
type codeError int

func (e codeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// signalError is the cause of a context that a signal ended.
type signalError struct{ code int }

func (e signalError) Error() string {
	if e.code == exitTerm {
		return "terminated"
	}
	return "interrupted"
}

// exitCode maps an error to its documented code.
func exitCode(err error) int {
	var (
		code   codeError
		usage  usageError
		signal signalError
		unfit  *buildkit.UnfitError
		engine *buildkit.EngineError
		disk   *build.DiskFullError
		floor  *build.FloorError
		gone   *build.EngineGoneError
		fdisk  *fetch.DiskError
		failed *fetch.Error
		off    *fetch.OfflineError
		images *preseed.Error
		unlist *unpublishedError
		refuse *build.RefusedError
		noTree *build.NoTreeError
		empty  *build.NoDefinitionsError
		listed *build.PublishedError
		unsafe *cache.UnsafeError
		ro     *cache.ReadOnlyError
		noTool *load.MissingError
		many   *build.PlatformsError
		push   *preseed.PushError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &signal):
		return signal.code
	case errors.Is(err, context.Canceled):
		return exitInterrupt
	case errors.As(err, &usage), errors.As(err, &noTree), errors.As(err, &empty), errors.As(err, &listed), errors.As(err, &many):
		return exitUsage
	case errors.As(err, &unfit), errors.As(err, &engine), errors.As(err, &gone), errors.As(err, &unsafe), errors.As(err, &ro), errors.As(err, &noTool):
		return exitMachine
	case errors.As(err, &disk), errors.As(err, &floor), errors.As(err, &fdisk):
		return exitDisk
	case errors.As(err, &failed), errors.As(err, &off), errors.As(err, &images), errors.As(err, &unlist), errors.As(err, &push):
		return exitFetch
	case errors.As(err, &refuse):
		return exitUnproven
	}
	return exitFailed
}

// printError writes err as one message. What sx did not write is escaped.
func printError(w io.Writer, err error) {
	var code codeError
	if errors.As(err, &code) {
		return
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lead := "sx: "
		if i > 0 {
			lead = "    "
		}
		fmt.Fprintln(w, lead+text.Field(line))
	}
	printMirrors(w, err)
	printRegistries(w, err)
}

// printMirrors writes what each mirror answered, where err is about sources.
func printMirrors(w io.Writer, err error) {
	var failed *fetch.Error
	if errors.As(err, &failed) {
		table := text.NewLogWriter(w) // reasons may quote a server
		failed.Table(table)
		table.Close()
	}
}

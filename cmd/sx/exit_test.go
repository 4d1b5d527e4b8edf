package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/preseed"
)

func TestExitCode(t *testing.T) {
	failed := errors.New("a build failed")
	disk := &tree.DiskFullError{Err: failed}
	mirrors := &fetch.Error{Failures: []fetch.Failure{{Attempts: transfer.Attempts{{Reason: failed}}}}}
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, exitOK},
		{"no type", failed, exitFailed},
		{"wrapped", fmt.Errorf("opening: %w", usagef("no such flag")), exitUsage},
		{"reasons of one error", fmt.Errorf("%w: %w", usagef("no such flag"), failed), exitUsage},
		{"reasons of one type", usageError{errors.Join(failed, failed)}, exitUsage},
		{"a mirror's reason", mirrors, exitFetch},
		{"what stopped the downloads", &fetch.Error{Stopped: &fetch.DiskError{Err: failed}}, exitDisk},
		{"sources of a step", &driver.SourceError{Err: errors.New("is missing")}, exitFetch},
		{"cancelled", fmt.Errorf("reading: %w", context.Canceled), exitInterrupt},

		{"a failure beside a MISMATCH", errors.Join(failed, codeError(exitMismatch)), exitMismatch},
		{"a push beside a failure", errors.Join(&preseed.PushError{Err: failed}, failed), exitFailed},
		{"a push beside a MISMATCH", errors.Join(codeError(exitMismatch), &preseed.PushError{Err: failed}), exitMismatch},
		{"an engine beside a MISMATCH", errors.Join(codeError(exitMismatch), &buildkit.EngineError{}), exitMachine},
		{"a disk beside an engine", errors.Join(&buildkit.EngineError{}, disk), exitDisk},
		{"a signal beside a disk", errors.Join(disk, signalError{exitTerm}), exitTerm},
		{"usage beside a failure", errors.Join(usagef("no such output"), failed), exitFailed},
		{"a source beside usage", errors.Join(mirrors, usagef("no such output")), exitUsage},
		{"not proven beside a source", errors.Join(codeError(exitUnproven), mirrors), exitFetch},
		{"joined in a wrapped error", fmt.Errorf("two: %w", errors.Join(failed, mirrors)), exitFailed},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%s: exit code %d, want %d", test.name, got, test.want)
		}
	}
}

// Of two codes the one that comes first in the README's order wins, whatever their
// order of appearance.
func TestWorst(t *testing.T) {
	order := []int{130, 143, 7, 6, 3, 1, 2, 5, 4, 8, 0}
	for i, first := range order {
		for _, second := range order[i:] {
			if got := worst(first, second); got != first {
				t.Errorf("worst(%d, %d) = %d, want %d", first, second, got, first)
			}
			if got := worst(second, first); got != first {
				t.Errorf("worst(%d, %d) = %d, want %d", second, first, got, first)
			}
		}
	}
}

// What a code stands for was printed; what stands beside it was not.
func TestPrintErrorBesideACode(t *testing.T) {
	var out bytes.Buffer
	printError(&out, errors.Join(codeError(exitMismatch), errors.New("no\x1b room")))
	if got, want := out.String(), "sx: no\\x1b room\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	out.Reset()
	printError(&out, errors.Join(codeError(exitMismatch), codeError(exitFailed)))
	printError(&out, nil)
	if out.Len() > 0 {
		t.Errorf("printed %q of what was printed", out.String())
	}
}

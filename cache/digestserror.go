package cache

import (
	"fmt"
	"strings"
)

// wrongLines is how many lines of one file may be wrong before none of them counts.
const wrongLines = 100

// DigestsError is about something of a tree's digests/ that cannot be read: a line, a
// file, or the folder.
type DigestsError struct {
	File string // "digests/core.txt", or "digests"
	Line int    // 0: the whole of it
	Err  error

	stage  string // of the file; "" for the folder
	output string // that the line is about; "" if that cannot be told
}

func wholeFile(stage string, err error) *DigestsError {
	return &DigestsError{File: digestsFile(stage), stage: stage, Err: err}
}

func (e *DigestsError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *DigestsError) Unwrap() error { return e.Err }

// Concerns reports whether the published digest of an output that [Published] does not
// list may be in what cannot be read.
func (e *DigestsError) Concerns(output string) bool {
	if e.output != "" {
		return output == e.output
	}
	return e.stage == "" || strings.HasPrefix(output, e.stage+"-")
}

// IsIn reports whether the file of a stage cannot be read whole.
func (e *DigestsError) IsIn(stage string) bool { return e.stage == "" || e.stage == stage }

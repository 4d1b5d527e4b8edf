package tree

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"codeberg.org/stagex/sx/fetch"
)

// AsDiskFull makes a *DiskFullError of an error that comes from a full disk; the
// engine's own errors arrive as text.
func AsDiskFull(err error) error {
	var full *DiskFullError
	if err == nil || errors.As(err, &full) {
		return err
	}
	if isFull(err) || strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return &DiskFullError{Err: err}
	}
	return err
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// FullDisk makes a *DiskFullError of an error that comes from a full disk of this
// machine, or from the user's quota on it, unless it says so itself. It does not go by
// words, which may be a server's.
func FullDisk(err error) error {
	if err == nil || errors.As(err, new(*DiskFullError)) || errors.As(err, new(*fetch.DiskError)) || !isFull(err) {
		return err
	}
	return &DiskFullError{Err: err}
}

// DiskFullError says that the disk is full: everything finished is kept.
type DiskFullError struct {
	Err    error
	Engine string // whose disk it is, "" for this machine's
}

func (e *DiskFullError) Error() string {
	if e.Engine != "" {
		return fmt.Sprintf("the disk of the engine (%s) is full (%v); free some space there and run the same command again", e.Engine, e.Err)
	}
	return fmt.Sprintf("the disk is full (%v); free some space (sx gc) and run the same command again", e.Err)
}

func (e *DiskFullError) Unwrap() error { return e.Err }

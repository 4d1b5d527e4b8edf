package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// LocalError is a failure of this machine, such as a full disk.
type LocalError struct{ Err error }

func (e *LocalError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *LocalError) Unwrap() error { return e.Err }

// HashError reports that a whole body has other bytes than the wanted ones.
type HashError struct {
	What      string // "file"
	Got, Want [32]byte
	// Hint is what the answer's headers say about it, such as that it is a web page.
	Hint string
}

func (e *HashError) Error() string {
	return fmt.Sprintf("wrong %s: sha256 %x, want %x%s", e.What, e.Got, e.Want, e.Hint)
}

// SizeError reports a size above a limit.
type SizeError struct {
	What      string // "file", "partial files"
	Size, Max int64  // bytes; the size is Size or more
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s of %d bytes or more, above the limit of %d", e.What, e.Size, e.Max)
}

// StatusError is an HTTP error status.
type StatusError struct {
	Code  int
	After time.Duration // of Retry-After; 0 if there was none
	Said  string        // the server's message, shortened
}

func (e *StatusError) Error() string {
	said := strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", e.Code, http.StatusText(e.Code)))
	if e.Said != "" {
		said += ": " + e.Said
	}
	return said
}

// AnswerError is an answer that breaks the protocol, or a request that is not sent
// because it could only get such an answer.
type AnswerError struct{ Reason string }

func (e *AnswerError) Error() string { return e.Reason }

// Answerf makes an *AnswerError.
func Answerf(format string, args ...any) error { return &AnswerError{fmt.Sprintf(format, args...)} }

// RedirectError is a redirect that is not followed.
type RedirectError struct{ Reason string }

func (e *RedirectError) Error() string { return "redirect refused: " + e.Reason }

// StallError reports how a server was too slow, and for how long.
type StallError struct {
	What string // "no answer", "no byte", "5 bytes per second on average"
	For  time.Duration
}

func (e *StallError) Error() string { return fmt.Sprintf("%s for %s", e.What, e.For) }

// TriedError is the last failure of a request that was retried.
type TriedError struct{ Err error }

func (e *TriedError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *TriedError) Unwrap() error { return e.Err }

// errClosed replaces io.EOF, which net/http returns in this case.
var errClosed = errors.New("the connection was closed without an answer")

// Plain removes the URL, which may contain credentials, from an error. If ctx has ended
// it returns ctx's cause.
func Plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	if err == io.EOF {
		return errClosed
	}
	return err
}

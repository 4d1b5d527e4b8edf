package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Part is a partly downloaded file on this machine.
type Part interface {
	Size() int64
	Write(p []byte) (int, error) // appends
	Reset() error                // discards all bytes
	// Check returns nil if the bytes are the whole file, a *HashError if they are not.
	Check() error
}

// Download fills a Part from one place. Only the hash decides whether it is the file:
// neither the status and headers of an answer nor the way in which a transfer ends do.
type Download struct {
	Part Part
	What string // "file"
	Size int64  // of the whole; -1 if only the server knows
	Max  int64  // a file above this limit is refused
	// Unknown says that the hash of the file is not known: a body that is complete by the rules
	// of HTTP is the file, and Part.Check must return a *HashError with its hash.
	Unknown bool
	// Ask sends the request for the bytes from offset on. Its errors are Client's.
	Ask func(ctx context.Context, offset int64) (*http.Response, error)
	// Begin is called when bytes begin to arrive, with their offset and the size of the
	// whole file, or -1.
	Begin func(resp *http.Response, from, size int64)
	// Advance is called with the number of further bytes; it is negative if bytes were
	// discarded.
	Advance func(n int64)

	last [32]byte // hash of the last bytes that may have been cut
	dry  int      // requests for a part that brought no byte, though they may be repeated
}

// maxDry is how many such requests are made before the whole file is requested.
const maxDry = 2

// rangeError means that a server refused a request's range.
type rangeError struct{ reason string }

func (e *rangeError) Error() string { return e.reason }

// spoiledError means that the bytes received so far cannot become the file.
type spoiledError struct{ reason string }

func (e *spoiledError) Error() string { return e.reason }

// Run requests the missing bytes. It returns nil if the Part is the whole file. If a
// request for a range fails, the range may be the cause, so Run requests the whole file
// once. It discards bytes that cannot become the file.
func (d *Download) Run(ctx context.Context) error {
	had := d.Part.Size()
	offset := had
	if d.dry >= maxDry {
		offset = 0
	}
	err := d.once(ctx, offset)
	if offset > 0 && d.Part.Size() == had {
		d.dry++
	}
	if offset > 0 && d.blamesRange(ctx, err, had) {
		if err := d.clear(err); err != nil {
			return err
		}
		err = d.once(ctx, 0)
	}
	if failed := d.clear(err); failed != nil {
		return failed
	}
	return err
}

// clear discards the bytes if err means that they cannot become the file.
func (d *Download) clear(err error) error {
	if !is[*HashError](err) && !is[*SizeError](err) && !is[*spoiledError](err) || OutcomeOf(err) == Ends {
		return nil
	}
	return d.reset()
}

func (d *Download) reset() error {
	had := d.Part.Size()
	if had == 0 {
		return nil
	}
	if err := d.Part.Reset(); err != nil {
		return &LocalError{err}
	}
	d.Advance(-had)
	return nil
}

// blamesRange reports whether a request without Range may succeed after err, the failure
// of a request for the bytes after the first had. It may not if the server said when to
// retry, nor if the connection failed and may be retried.
func (d *Download) blamesRange(ctx context.Context, err error, had int64) bool {
	if err == nil || ctx.Err() != nil || OutcomeOf(err) == Ends {
		return false
	}
	var status *StatusError
	if errors.As(err, &status) {
		return status.After == 0
	}
	if is[*rangeError](err) || is[*HashError](err) || is[*spoiledError](err) {
		return true
	}
	return d.Part.Size() == had && OutcomeOf(err) == Final
}

// once sends one request and checks the bytes received.
func (d *Download) once(ctx context.Context, offset int64) error {
	resp, err := d.Ask(ctx, offset)
	if err != nil {
		return Plain(ctx, err)
	}
	defer resp.Body.Close()
	from, size, err := d.begins(resp, offset)
	if err == nil && size > d.Max {
		err = &SizeError{d.What, size, d.Max}
	}
	if err == nil && from == 0 {
		err = d.reset()
	}
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		d.Begin(resp, from, size)
		err = Plain(ctx, d.copy(resp))
	}
	resp.Body.Close() // frees its slot while this file is checked and synced
	return d.judge(ctx, resp, size, err)
}

// begins returns the offset at which the body begins, and the size of the whole file, -1
// if it is not known.
func (d *Download) begins(resp *http.Response, offset int64) (from, size int64, err error) {
	header := resp.Header.Get("Content-Range")
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		if header == fmt.Sprintf("bytes */%d", offset) { // the file may end where ours does
			return offset, offset, nil
		}
		return 0, 0, &rangeError{fmt.Sprintf("no bytes after the first %d", offset)}
	}
	if resp.StatusCode != http.StatusPartialContent || header == "" && offset == 0 {
		return 0, d.sizeOr(resp.ContentLength), nil
	}
	from, size, ok := parseContentRange(header)
	if !ok || from != offset || d.Size >= 0 && size >= 0 && size != d.Size {
		said := fmt.Sprintf("wrong Content-Range %.80q for bytes from %d", header, offset)
		if offset == 0 {
			return 0, 0, &AnswerError{said}
		}
		return 0, 0, &rangeError{said}
	}
	return from, d.sizeOr(size), nil
}

// sizeOr returns the size, or what the server says of it.
func (d *Download) sizeOr(said int64) int64 {
	if d.Size >= 0 {
		return d.Size
	}
	return said
}

// parseContentRange reads "bytes 500-999/1000" (RFC 9110, 14.4); size is -1 for "*".
func parseContentRange(header string) (from, size int64, ok bool) {
	rest, ok1 := strings.CutPrefix(header, "bytes ")
	span, whole, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(span, "-")
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	size, err3 := strconv.ParseInt(whole, 10, 64)
	if whole == "*" {
		size, err3 = -1, nil
	}
	if !ok1 || !ok2 || !ok3 || errors.Join(err1, err2, err3) != nil || from < 0 || to < from || size >= 0 && to >= size {
		return 0, 0, false
	}
	return from, size, true
}

// copy appends the body to the Part, to its end or to the limit.
func (d *Download) copy(resp *http.Response) error {
	buf := make([]byte, 256<<10)
	limit := d.Max
	if d.Size >= 0 {
		limit = d.Size
	}
	for {
		n, err := resp.Body.Read(buf[:min(int64(len(buf)), limit-d.Part.Size()+1)])
		if size := d.Part.Size() + int64(n); size > limit {
			return d.tooLong(resp, size)
		}
		if n > 0 {
			d.Advance(int64(n))
			if _, err := d.Part.Write(buf[:n]); err != nil {
				return &LocalError{err}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d *Download) tooLong(resp *http.Response, size int64) error {
	if d.Size < 0 {
		return &SizeError{d.What, size, d.Max}
	}
	return &spoiledError{fmt.Sprintf("the %s does not end after its %d bytes%s", d.What, d.Size, Hint(resp))}
}

// judge returns nil if the bytes are the file, else why not, after a transfer that ended
// with err.
func (d *Download) judge(ctx context.Context, resp *http.Response, size int64, err error) error {
	if ctx.Err() != nil || err != nil && OutcomeOf(err) != Passes {
		return err
	}
	wrong := d.Part.Check()
	var sum *HashError
	if wrong != nil && !errors.As(wrong, &sum) {
		return &LocalError{wrong}
	}
	if wrong == nil {
		return nil
	}
	switch have := d.Part.Size(); {
	case err == nil && have < d.Size && IsWebPage(resp):
		return &spoiledError{strings.TrimPrefix(Hint(resp), "; ")}
	case err == nil && have < size, errors.Is(err, io.ErrUnexpectedEOF) && size >= 0:
		return fmt.Errorf("the %s breaks off after %d of its %d bytes: %w", d.What, have, size, io.ErrUnexpectedEOF)
	case err != nil:
		return err
	case endsByClosing(resp) && sum.Got != d.last:
		d.last = sum.Got
		return fmt.Errorf("the connection was closed after %d bytes, which are not the %s: %w", have, d.What, io.ErrUnexpectedEOF)
	case !isUsual(resp.StatusCode):
		return &StatusError{Code: resp.StatusCode}
	case d.Unknown:
		return nil
	}
	sum.What, sum.Hint = d.What, Hint(resp)
	if sum.Hint == "" && resp.ContentLength > 0 { // which may be too small: then the rest is not read
		sum.Hint = fmt.Sprintf("; it ends after %d bytes, as the server's Content-Length says", d.Part.Size())
	}
	return sum
}

// endsByClosing reports whether the body ends only with the connection, so that it may
// have been cut off.
func endsByClosing(resp *http.Response) bool {
	return resp.ProtoMajor == 1 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0
}

// isUsual reports whether servers send files with that status.
func isUsual(code int) bool {
	switch code {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusPartialContent, http.StatusIMUsed, http.StatusRequestedRangeNotSatisfiable:
		return true
	}
	return false
}

// MediaType returns an answer's media type, "" if it is missing or malformed.
func MediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// IsWebPage reports whether an answer is a web page, such as that of a captive portal.
func IsWebPage(resp *http.Response) bool {
	t := MediaType(resp)
	return t == "text/html" || t == "application/xhtml+xml"
}

// Hint returns why an answer may not be the requested file, beginning with a semicolon.
func Hint(resp *http.Response) (said string) {
	if IsWebPage(resp) {
		said = fmt.Sprintf("; it answered with a web page (%s): is there a proxy or a login page in between?", MediaType(resp))
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		said += fmt.Sprintf("; it answered with Content-Encoding %.20q, which was not asked for", e)
	}
	return said
}

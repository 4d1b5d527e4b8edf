package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/hashicorp/go-retryablehttp"
)

// protocolError is an answer that breaks HTTP's rules or ours.
type protocolError struct{ reason string }

func (e *protocolError) Error() string { return e.reason }

// rangeError is a refusal of the range asked for; the whole file may be had.
type rangeError struct{ reason string }

func (e *rangeError) Error() string { return e.reason }

// get asks one mirror for what p lacks and appends it. A nil error says that
// the body ended where the server said, not that the file is right. began says
// that a body came at all.
func (r *run) get(ctx context.Context, m *mirror, p *part, show *progress, began *bool) error {
	resp, err := r.ask(ctx, m, p)
	if err != nil {
		return plain(ctx, err)
	}
	defer resp.Body.Close()
	size, err := r.agree(resp, p)
	p.from = p.size
	if err != nil || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return err
	}
	*began = true
	show.start(m.show, p.size, size)
	defer func() { show.finish(p.size) }()
	if p.size == 0 {
		p.meta = newMeta(m.url.String(), resp.Header.Get("ETag"), resp.Header.Get("Last-Modified"))
		p.temp.writeMeta(p.want, p.meta)
	}
	if err := r.receive(resp.Body, p, show); err != nil {
		return plain(ctx, err)
	}
	if size >= 0 && p.size < size {
		return io.ErrUnexpectedEOF // a 206 may end early
	}
	return nil
}

func (r *run) ask(ctx context.Context, m *mirror, p *part) (*http.Response, error) {
	ctx = context.WithValue(ctx, requestKey{}, &request{slot: m.slot, patient: m.patient, secret: m.url.User != nil})
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, m.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", r.opts.UserAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity") // also keeps net/http from unpacking
	if p.size > 0 && !m.whole {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
		if v := p.meta.matches(m.url.String()); v != "" {
			req.Header.Set("If-Range", v)
		}
	}
	return r.client.Do(req)
}

// agree looks at status and headers and makes p's end the place where the body
// begins. It gives the size of the whole file, -1 when unknown.
func (r *run) agree(resp *http.Response, p *part) (size int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		// The whole file, though a part was asked for: not every server can.
		if err := p.reset(); err != nil {
			return 0, err
		}
		size = resp.ContentLength
	case http.StatusPartialContent:
		size, err = r.agreePartial(resp, p.size)
	case http.StatusRequestedRangeNotSatisfiable:
		// The file ends where ours does; the hash tells whether it is it.
		if end, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes */"); p.size > 0 && ok && end == strconv.FormatInt(p.size, 10) {
			return p.size, nil
		}
		return 0, &rangeError{"no bytes after those of the partial file"}
	default:
		return 0, &StatusError{resp.StatusCode}
	}
	if err == nil && size > r.opts.MaxFile {
		err = &SizeError{What: "file", Size: size, Max: r.opts.MaxFile}
	}
	return size, err
}

// agreePartial wants exactly the range that was asked for, or a part from its
// beginning (RFC 9110, 15.3.7).
func (r *run) agreePartial(resp *http.Response, offset int64) (size int64, err error) {
	header := resp.Header.Get("Content-Range")
	refused := &rangeError{fmt.Sprintf("wrong Content-Range %q for bytes from %d", header, offset)}
	rest, ok := strings.CutPrefix(header, "bytes ")
	span, whole, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 || offset == 0 {
		return 0, refused
	}
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	size, err3 := strconv.ParseInt(whole, 10, 64)
	if whole == "*" {
		size, err3 = -1, nil
	}
	if errors.Join(err1, err2, err3) != nil || from != offset || to < from || whole != "*" && to >= size {
		return 0, refused
	}
	return size, nil
}

// receive copies to the end of body, or to the limit on files.
func (r *run) receive(body io.Reader, p *part, show *progress) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if p.size+int64(n) > r.opts.MaxFile {
			return &SizeError{What: "file", Size: p.size + int64(n), Max: r.opts.MaxFile}
		}
		if n > 0 {
			r.received(n)
			if _, err := p.Write(buf[:n]); err != nil {
				return err
			}
			show.advance(p.size)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// plain takes the URL off an error, which may hold credentials, and puts why
// ctx ended in place of that it did.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err
	}
	return err
}

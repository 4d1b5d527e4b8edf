package transfer

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// Client sends GET requests, and retries them after temporary failures.
type Client struct {
	HTTP    *http.Client
	Retries int                       // further tries
	Backoff func(n int) time.Duration // wait before try n+1, unless the server says
	Now     func() time.Time
	Said    func(*http.Response) string // reads the server's message from an error answer; nil: none is read
}

// Do sends req. An error status is a *StatusError, except 416 for a request with a Range,
// which is returned as an answer. Errors do not contain the URL. A failure after retries
// is a *TriedError.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	retrying := &retryablehttp.Client{
		HTTPClient: c.HTTP,
		RetryMax:   c.Retries,
		CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			return c.again(ctx, resp, err), nil
		},
		Backoff:      func(_, _ time.Duration, n int, resp *http.Response) time.Duration { return c.wait(n, resp) },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	} // without a logger, which would write URLs
	wrapped, err := retryablehttp.FromRequest(req)
	if err != nil {
		return nil, err
	}
	resp, err := retrying.Do(wrapped)
	if err == nil && brings(resp) {
		return resp, nil
	}
	if err == nil {
		err = c.refusal(resp)
		resp.Body.Close()
	} else {
		err = Plain(req.Context(), err)
	}
	if c.Retries > 0 && OutcomeOf(err) == Passes {
		err = &TriedError{err}
	}
	return nil, err
}

// brings reports whether the body of an answer may be the requested content.
func brings(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusNoContent, http.StatusResetContent:
		return false
	case http.StatusRequestedRangeNotSatisfiable:
		return resp.Request != nil && resp.Request.Header.Get("Range") != ""
	}
	return resp.StatusCode >= 200 && resp.StatusCode < 300
}

func (c *Client) refusal(resp *http.Response) *StatusError {
	e := &StatusError{Code: resp.StatusCode}
	e.After, _ = RetryAfter(resp.Header, c.Now())
	if c.Said != nil {
		e.Said = c.Said(resp)
	}
	return e
}

func (c *Client) again(ctx context.Context, resp *http.Response, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if err == nil {
		if brings(resp) {
			return false
		}
		after, _ := RetryAfter(resp.Header, c.Now())
		err = &StatusError{Code: resp.StatusCode, After: after}
	}
	return OutcomeOf(err) == Passes
}

func (c *Client) wait(n int, resp *http.Response) time.Duration {
	if resp != nil {
		if after, ok := RetryAfter(resp.Header, c.Now()); ok {
			return after
		}
	}
	return c.Backoff(n)
}

// maxBackoff is the longest wait of Exponential.
const maxBackoff = 30 * time.Second

// Exponential returns how long to wait before try n+1, n from 0: 1, 2, 4 … 30 seconds,
// each shortened by up to a quarter so that many clients do not retry at once.
func Exponential(n int) time.Duration {
	wait := min(time.Second<<min(n, 10), maxBackoff)
	return wait - time.Duration(rand.Int64N(int64(wait/4)))
}

// Pause waits for d. If ctx ends first it returns ctx's cause.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RetryAfter parses the header Retry-After: seconds or a date (RFC 9110, 10.2.3), or
// seconds since 1970, which Docker Hub sends.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 40); err == nil {
		if seconds > 1e9 {
			return max(time.Unix(int64(seconds), 0).Sub(now), 0), true
		}
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(now), 0), true
	}
	return 0, false
}

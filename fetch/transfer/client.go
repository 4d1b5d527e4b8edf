package transfer

import (
	"context"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// Client sends GET requests, and repeats one whose failure passes.
type Client struct {
	HTTP    *http.Client
	Retries int                       // further tries
	Backoff func(n int) time.Duration // before try n+1 if the server does not say
	Now     func() time.Time
	Said    func(*http.Response) string // reads the server's message of an answer that brings nothing; nil: none is read
}

// Do sends req. An answer that brings nothing is a *StatusError, except 416 for a
// request with a Range. Errors are without the URL. A failure after retries is a *TriedError.
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

// brings reports whether the body of an answer may be what was asked for.
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

package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// newClient is one client for a whole run, so that connections are reused.
// Retries of a request are the library's work; what is worth one, and after how
// long, is said here. Its logger stays silent: it would log URLs.
func newClient(o Options) *retryablehttp.Client {
	base := o.Transport
	if base == nil {
		base = newTransport(o)
	}
	if o.First != nil {
		base = &forked{base, o.First.scheme(), o.First.Client}
	}
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport:     &guard{base: base, header: o.HeaderTimeout, stall: o.Stall, minRate: o.MinRate, now: o.Now},
			CheckRedirect: checkRedirect,
		},
		RetryMax: o.Retries,
		CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			return o.retry(ctx, resp, err), nil
		},
		Backoff:      func(_, _ time.Duration, n int, resp *http.Response) time.Duration { return o.wait(n, resp) },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// closeIdle lets go of connections, if the transport is ours.
func closeIdle(c *retryablehttp.Client, o Options) {
	base := c.HTTPClient.Transport.(*guard).base
	if f, ok := base.(*forked); ok {
		base = f.RoundTripper
	}
	if t, ok := base.(*http.Transport); ok && o.Transport == nil {
		t.CloseIdleConnections()
	}
}

// forked gives the requests of one scheme to another transport.
type forked struct {
	http.RoundTripper
	scheme string
	other  http.RoundTripper
}

func (f *forked) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == f.scheme {
		return f.other.RoundTrip(req)
	}
	return f.RoundTripper.RoundTrip(req)
}

func newTransport(o Options) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone() // proxies from the environment
	t.DisableCompression = true
	t.DialContext = (&net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = o.ConnectTimeout
	t.MaxIdleConnsPerHost = o.PerHost
	t.MaxResponseHeaderBytes = 256 << 10
	return t
}

// request is what travels with a request's context.
type request struct {
	slot    *slot // told of hosts that it is redirected to
	patient bool  // there is no other mirror to try instead of waiting
	secret  bool  // the mirror's URL has credentials
}

type requestKey struct{}

// redirectError is a redirect that is not followed.
type redirectError struct{ reason string }

func (e *redirectError) Error() string { return "redirect refused: " + e.reason }

// checkRedirect follows ten redirects, to http and https only. From https to
// http is allowed, as real mirrors do it and the hash protects the bytes,
// unless there are credentials, which it would show to the network.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return &redirectError{fmt.Sprintf("more than %d", maxRedirects)}
	}
	if err := checkURL(req.URL); err != nil {
		return &redirectError{err.Error()}
	}
	r := req.Context().Value(requestKey{}).(*request)
	if r.secret && via[0].URL.Scheme == "https" && req.URL.Scheme == "http" {
		return &redirectError{"from https to http with credentials"}
	}
	r.slot.visit(hostOf(req.URL))
	return nil
}

// hostOf is what the limit counts: a machine, whatever the port.
func hostOf(u *url.URL) string { return strings.ToLower(u.Hostname()) }

func checkURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("scheme %q is neither http nor https", u.Scheme)
	}
	if u.Host == "" {
		return errors.New("URL without a host")
	}
	return nil
}

// retry is for what may be better in a moment. While another mirror is left
// nothing is retried: that one is better than waiting.
func (o Options) retry(ctx context.Context, resp *http.Response, err error) bool {
	r := ctx.Value(requestKey{}).(*request)
	switch {
	case ctx.Err() != nil || !r.patient:
		return false
	case err != nil:
		return transient(err)
	}
	after, ok := o.retryAfter(resp)
	return transientStatus(resp.StatusCode) && (!ok || after <= maxRetryAfter)
}

func (o Options) wait(n int, resp *http.Response) time.Duration {
	if after, ok := o.retryAfter(resp); ok {
		return after
	}
	return o.Backoff(n)
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, 10.2.3).
func (o Options) retryAfter(resp *http.Response) (time.Duration, bool) {
	if resp == nil {
		return 0, false
	}
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(o.Now()), 0), true
	}
	return 0, false
}

func transientStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return code >= 500
}

// transient says whether the same mirror may do better another time. What is
// not known to be final is transient: the network has many ways to fail.
func transient(err error) bool {
	var (
		status   *StatusError
		sum      *HashError
		size     *SizeError
		protocol *protocolError
		ranges   *rangeError
		redirect *redirectError
		dns      *net.DNSError
		cert     *tls.CertificateVerificationError
		host     x509.HostnameError
		record   tls.RecordHeaderError
		address  *url.Error
	)
	switch {
	case final(err):
		return false
	case errors.As(err, &status):
		return transientStatus(status.Code)
	case errors.As(err, &sum), errors.As(err, &size), errors.As(err, &protocol), errors.As(err, &ranges), errors.As(err, &redirect):
		return false
	case errors.As(err, &cert), errors.As(err, &host), errors.As(err, &record):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &address) && address.Op == "parse":
		return false
	}
	return true
}

package transfer

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxHeaders is the maximum size of an answer's headers, in bytes.
const maxHeaders = 256 << 10

// NewTransport returns the transport to use below a Transport, with proxies from the
// environment. config may be nil.
func NewTransport(l Limits, perHost int, config *tls.Config) *http.Transport {
	l = l.WithDefaults()
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	t.DialContext = (&net.Dialer{Timeout: l.Connect, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = l.Connect
	t.TLSClientConfig = config
	t.MaxIdleConnsPerHost = perHost
	t.MaxResponseHeaderBytes = maxHeaders
	return t
}

// Transport gives up on a server that does not answer or sends its body too slowly. It
// belongs below everything that retries requests, so that each try is watched.
type Transport struct {
	Base      http.RoundTripper
	Limits    Limits // with defaults
	UserAgent string
	Breaker   *Breaker // nil: each request is sent
}

var _ http.RoundTripper = (*Transport)(nil)

// RoundTrip implements http.RoundTripper. The time limits include name resolution,
// proxies and TLS.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.Breaker.check(t.Limits.Now()); err != nil {
		return nil, err
	}
	caller := req.Context()
	ctx, cancel := context.WithCancelCause(caller)
	wait := newAnswerTimer(t.Limits.Header, func() { cancel(&StallError{"no answer", t.Limits.Header}) })
	req = req.Clone(ctx)
	req.Header.Set("User-Agent", t.UserAgent)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &upload{ReadCloser: req.Body, wait: wait, cancel: cancel, pace: pace{limits: t.Limits}}
	}
	resp, err := t.Base.RoundTrip(req)
	wait.stop()
	if err != nil {
		err = because(ctx, err)
	}
	if caller.Err() == nil {
		t.Breaker.record(Hostname(req.URL), t.Limits.Now(), err)
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, pace: pace{limits: t.Limits}, ctx: ctx, cancel: cancel}
	return resp, nil
}

// MaxRedirects is how many redirects are followed, as by browsers and registry clients.
const MaxRedirects = 10

// CheckRedirect allows up to MaxRedirects redirects, to http and https URLs.
func CheckRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > MaxRedirects {
		return &RedirectError{fmt.Sprintf("more than %d", MaxRedirects)}
	}
	if err := CheckURL(req.URL); err != nil {
		return &RedirectError{err.Error()}
	}
	return nil
}

// CheckURL returns an *AnswerError unless u is an http or https URL with a host.
func CheckURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return Answerf("scheme %q is neither http nor https", u.Scheme)
	}
	if u.Host == "" {
		return Answerf("URL without a host")
	}
	return nil
}

// Hostname returns the host that a limit per host counts: without the port, in lower case.
func Hostname(u *url.URL) string { return strings.ToLower(u.Hostname()) }

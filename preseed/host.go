package preseed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// host has the connection to one registry, and its credentials.
type host struct {
	registry  name.Registry
	transport *hostTransport
	auth      *authorizer

	mu     sync.Mutex // held during the first request to the registry
	scheme string     // "" before it has answered
	clock  time.Time  // of the registry in its first answer; zero if that has none
}

// reach finds out, once, whether the registry answers, and by which scheme: GET /v2/
// (distribution-spec, "Determining support"). Any status counts as an answer.
func (h *host) reach(ctx context.Context) (scheme string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.scheme != "" {
		return h.scheme, nil
	}
	scheme, err = "https", h.ping(ctx, "https")
	switch {
	case err != nil && h.transport.plain && ctx.Err() == nil && certificate(err) == nil:
		scheme, err = "http", h.ping(ctx, "http")
	case errors.Is(err, http.ErrSchemeMismatch):
		err = &PlainHTTPError{h.registry.RegistryStr()}
	}
	if err == nil {
		h.scheme = scheme
	}
	return scheme, err
}

func (h *host) ping(ctx context.Context, scheme string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+h.registry.RegistryStr()+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := h.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	drain(resp)
	h.clock, _ = http.ParseTime(resp.Header.Get("Date"))
	if scheme == "http" && resp.StatusCode == http.StatusBadRequest { // the answer of a TLS server
		return errWantsTLS
	}
	h.auth.learn(parseChallenges(resp.Header))
	return nil
}

var errWantsTLS = transfer.Answerf("HTTP status 400 for GET /v2/ by plain http, and no TLS")

// drain reads a short rest of a body and closes it, so that the connection can be reused.
func drain(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 16<<10)
	resp.Body.Close()
}

// hostTransport is the transport of all requests to one registry and to the hosts that
// it redirects to. It refuses plain HTTP, and gives up on a server that does not answer
// or sends too slowly.
type hostTransport struct {
	base     http.RoundTripper
	opts     ClientOptions
	loopback bool // the registry is on this machine
	plain    bool // the registry may be contacted without TLS
}

var _ http.RoundTripper = (*hostTransport)(nil)

func newHostTransport(base http.RoundTripper, opts ClientOptions, registry string) *hostTransport {
	local := isLoopback(registry) && !opts.OnlyTLS
	limited := &transfer.Transport{Base: base, Limits: opts.Limits, UserAgent: opts.UserAgent}
	return &hostTransport{base: limited, opts: opts, loopback: local, plain: local || hostIn(opts.PlainHTTP, registry)}
}

// allowed returns an error if a request may not be sent. A registry that is contacted
// with TLS cannot lead to plain HTTP, not even on this machine or to a host of
// registries.plain_http.
func (t *hostTransport) allowed(req *http.Request) error {
	switch {
	case req.URL.Scheme == "https":
		return nil
	case req.URL.Scheme != "http":
		return &transfer.RedirectError{Reason: fmt.Sprintf("scheme %q is neither http nor https", req.URL.Scheme)}
	case t.plain && (t.loopback && isLoopback(req.URL.Host) || hostIn(t.opts.PlainHTTP, req.URL.Host)):
		return nil
	}
	return &PlainHTTPError{req.URL.Host}
}

func (t *hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.allowed(req); err != nil {
		return nil, err
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return t.limited(req, resp)
}

// limited turns status 429 of any server into a *LimitError, with the time and quota of
// the headers.
func (t *hostTransport) limited(req *http.Request, resp *http.Response) (*http.Response, error) {
	quota, ok := quotaOf(resp.Header)
	if ok {
		t.opts.OnQuota(req.URL.Host, quota)
	}
	if resp.StatusCode != http.StatusTooManyRequests {
		return resp, nil
	}
	after, _ := transfer.RetryAfter(resp.Header, t.opts.Limits.Now())
	resp.Body.Close()
	return nil, &LimitError{Host: req.URL.Host, After: after, Quota: quota}
}

// checkRedirect refuses redirects from https to http. Redirected requests carry no
// credentials: the authorizer adds them only for the registry's own host.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if err := transfer.CheckRedirect(req, via); err != nil {
		return err
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return &transfer.RedirectError{Reason: fmt.Sprintf("from https to %s", req.URL.Scheme)}
	}
	if req.URL.User != nil {
		return &transfer.RedirectError{Reason: "its URL has credentials"}
	}
	req.Header.Del("Referer")
	return nil
}

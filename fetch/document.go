package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// MaxDocument is the maximum size of a document, in bytes.
const MaxDocument = 1 << 20

// documentTime is how long reading one document may take, with all retries.
const documentTime = 30 * time.Second

// Documents downloads small files from servers that a user named: signatures, lists of
// digests. It uses only https, follows no redirect to another host, and checks no hash:
// the caller decides whether to trust a document. After [maxSilent] requests in a row
// that were not answered in time it makes none. It is safe for concurrent use.
type Documents struct {
	client transfer.Client
	base   *http.Transport
	slots  *transfer.Slots
	time   time.Duration
	silent atomic.Int32 // requests in a row that were not done in time
}

// maxSilent is how many requests in a row may not be done in time before no further one
// is made. The signatures of a whole tree are thousands of documents.
const maxSilent = 8

// documentsAtOnce is how many requests Documents makes at once.
const documentsAtOnce = 8

// NewDocuments returns a Documents without connecting.
func NewDocuments(userAgent string) *Documents {
	limits := transfer.Limits{}.WithDefaults()
	base := transfer.NewTransport(limits, documentsAtOnce, nil)
	return &Documents{
		base: base,
		client: transfer.Client{
			HTTP: &http.Client{
				Transport:     &transfer.Transport{Base: base, Limits: limits, UserAgent: userAgent},
				CheckRedirect: sameHost,
			},
			Retries: 2, Backoff: transfer.Exponential, Now: time.Now,
		},
		slots: transfer.NewSlots(documentsAtOnce, documentsAtOnce),
		time:  documentTime,
	}
}

// Close closes idle connections.
func (d *Documents) Close() { d.base.CloseIdleConnections() }

// sameHost refuses redirects to another host.
func sameHost(req *http.Request, via []*http.Request) error {
	if err := transfer.CheckRedirect(req, via); err != nil {
		return err
	}
	if req.URL.Scheme != "https" || req.URL.Host != via[0].URL.Host {
		return &transfer.RedirectError{Reason: "to another host, or away from https: " + req.URL.Redacted()}
	}
	return nil
}

// DocumentError reports that a document could not be read.
type DocumentError struct {
	URL string
	Err error
}

func (e *DocumentError) Error() string { return e.URL + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *DocumentError) Unwrap() error { return e.Err }

// NoDocument reports whether the server answered that it has no such document.
func NoDocument(err error) bool {
	var status *transfer.StatusError
	return errors.As(err, &status) && (status.Code == http.StatusNotFound || status.Code == http.StatusGone)
}

// CheckDocumentURL returns an error unless text is an https URL with a host, without a
// password and a fragment.
func CheckDocumentURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("want an address such as %q, not %.200q", "https://example.org/path", text)
	}
	return nil
}

// Get returns the bytes of a document. The error is a *DocumentError, or ctx's cause.
func (d *Documents) Get(ctx context.Context, address string) ([]byte, error) {
	if err := CheckDocumentURL(address); err != nil {
		return nil, &DocumentError{address, err}
	}
	slot, err := d.slots.Acquire(ctx, "", 0, nil)
	if err != nil {
		return nil, err
	}
	defer slot.Release()
	if d.silent.Load() >= maxSilent {
		return nil, &DocumentError{address, fmt.Errorf("not asked: %d requests in a row were not answered in time", maxSilent)}
	}
	bounded, cancel := context.WithTimeoutCause(ctx, d.time, &transfer.StallError{What: "not done", For: d.time})
	defer cancel()
	data, err := d.get(bounded, address)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, new(*transfer.StallError)):
		d.silent.Add(1)
		return nil, &DocumentError{address, err}
	}
	d.silent.Store(0)
	if err != nil {
		return nil, &DocumentError{address, err}
	}
	return data, nil
}

func (d *Documents) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxDocument+1))
	switch {
	case err != nil:
		return nil, transfer.Plain(ctx, err)
	case len(data) > MaxDocument:
		return nil, transfer.Answerf("more than %d bytes", MaxDocument)
	}
	return data, nil
}

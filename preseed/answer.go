package preseed

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// refusal returns an error with a remedy for the statuses "not found" and "denied", and
// err for any other.
func refusal(repo name.Repository, e *transfer.StatusError, what string, err error) error {
	switch e.Code {
	case http.StatusNotFound, http.StatusGone:
		return &NotFoundError{what}
	case http.StatusUnauthorized, http.StatusForbidden:
		return &DeniedError{Host: repo.RegistryStr(), Repository: repo.RepositoryStr(), Code: e.Code, Said: e.Said}
	}
	return err
}

// maxSaid is how many bytes of a registry's message are quoted.
const maxSaid = 200

// said reads the message of a registry's error (distribution-spec, "Error codes").
func said(resp *http.Response) string {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(data, &body) != nil || len(body.Errors) == 0 {
		return ""
	}
	return shorten(strings.TrimSpace(body.Errors[0].Code + " " + body.Errors[0].Message))
}

func shorten(s string) string { return transfer.Shorten(s, maxSaid) }

// explain turns an error of the transport into one of this package. It removes URLs,
// which may contain signatures or tokens.
func explain(ctx context.Context, repo name.Repository, err error) error {
	if cert := certificate(err); cert != nil && ctx.Err() == nil {
		return cert // rather than the error of the later attempt by plain HTTP
	}
	var refused *transport.Error
	if errors.As(err, &refused) {
		var words string
		if len(refused.Errors) > 0 {
			words = shorten(strings.TrimSpace(string(refused.Errors[0].Code) + " " + refused.Errors[0].Message))
		}
		status := &transfer.StatusError{Code: refused.StatusCode, Said: words}
		return refusal(repo, status, "the repository "+repo.RepositoryStr(), status)
	}
	var http *PlainHTTPError
	if errors.As(err, &http) && ctx.Err() == nil {
		return http
	}
	return transfer.Plain(ctx, err)
}

// certificate returns why a registry's certificate is not trusted; nil if err is another
// error.
func certificate(err error) error {
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return fmt.Errorf("%w; registries.ca_file names a file of certificates to trust", cert)
	}
	return nil
}

// quotaOf reads Docker Hub's headers, "ratelimit-limit: 100;w=21600".
func quotaOf(h http.Header) (Quota, bool) {
	limit, window, ok := quotaPart(h.Get("RateLimit-Limit"))
	left, _, ok2 := quotaPart(h.Get("RateLimit-Remaining"))
	return Quota{Limit: limit, Remaining: left, Window: window}, ok && ok2
}

func quotaPart(s string) (n int, window time.Duration, ok bool) {
	number, rest, _ := strings.Cut(s, ";")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if seconds, isWindow := strings.CutPrefix(strings.TrimSpace(rest), "w="); isWindow {
		if w, err := strconv.ParseUint(seconds, 10, 31); err == nil {
			window = time.Duration(w) * time.Second
		}
	}
	return n, window, err == nil && n >= 0
}

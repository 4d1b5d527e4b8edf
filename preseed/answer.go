package preseed

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"codeberg.org/stagex/sx/cache"
)

// agree looks at a blob's status and headers and says where its body begins.
func (r *Repository) agree(resp *http.Response, d cache.Descriptor, offset int64) (from int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK: // the whole blob, though a part was asked for: not every registry can
		if resp.ContentLength >= 0 && resp.ContentLength != d.Size {
			if page := webPage(resp); page != nil {
				return 0, page
			}
			return 0, answerf("the blob %s is said to have %d bytes, its descriptor says %d", d.Digest, resp.ContentLength, d.Size)
		}
	case http.StatusPartialContent:
		if err := checkRange(resp.Header.Get("Content-Range"), offset, d.Size); err != nil {
			return 0, err
		}
		from = offset
	case http.StatusRequestedRangeNotSatisfiable:
		return 0, &rangeError{"no bytes after those of the partial blob"}
	default:
		return 0, r.refused(resp, "the blob "+d.Digest.String())
	}
	return from, checkEncoding(resp)
}

// checkRange wants the range that was asked for (RFC 9110, 15.3.7).
func checkRange(header string, offset, size int64) error {
	if offset > 0 && header == fmt.Sprintf("bytes %d-%d/%d", offset, size-1, size) {
		return nil
	}
	return &rangeError{fmt.Sprintf("wrong Content-Range %q for bytes from %d of %d", header, offset, size)}
}

// checkEncoding refuses bytes that would have to be unpacked before they are
// hashed: a few could become any number.
func checkEncoding(resp *http.Response) error {
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return answerf("it answers with Content-Encoding %q, which was not asked for", e)
	}
	return nil
}

func mediaTypeOf(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// webPage is an answer for people, such as a captive portal's.
func webPage(resp *http.Response) error {
	if t := mediaTypeOf(resp); t == "text/html" || t == "application/xhtml+xml" {
		return answerf("it answers with a web page (%s): is there a proxy or a login page in between?", t)
	}
	return nil
}

// refused makes an error of a status that brings nothing.
func (r *Repository) refused(resp *http.Response, what string) error {
	return refusal(r.name, resp.StatusCode, what, said(resp))
}

func refusal(repo name.Repository, code int, what, said string) error {
	switch code {
	case http.StatusNotFound, http.StatusGone:
		return &NotFoundError{what}
	case http.StatusUnauthorized, http.StatusForbidden:
		return &DeniedError{Host: repo.RegistryStr(), Repository: repo.RepositoryStr(), Code: code, Said: said}
	}
	return &StatusError{code, said}
}

// maxSaid bounds what is repeated of a registry's own words.
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

func shorten(s string) string {
	if len(s) > maxSaid {
		s = strings.ToValidUTF8(s[:maxSaid], "") + "…"
	}
	return s
}

// explain turns an error of the transport into one of this package: without URLs,
// which may hold signatures or tokens, and typed where somebody acts on it.
func (c *Client) explain(ctx context.Context, repo name.Repository, err error) error {
	if cert := certificate(err); cert != nil && ctx.Err() == nil {
		return cert // and not what plain HTTP said when it was tried on this machine
	}
	var refused *transport.Error
	if errors.As(err, &refused) {
		var words string
		if len(refused.Errors) > 0 {
			words = shorten(strings.TrimSpace(string(refused.Errors[0].Code) + " " + refused.Errors[0].Message))
		}
		return refusal(repo, refused.StatusCode, "the repository "+repo.RepositoryStr(), words)
	}
	return plain(ctx, err)
}

// certificate finds the reason why a registry's certificate is not believed.
func certificate(err error) error {
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return fmt.Errorf("%w; registries.ca_file names a file of certificates to trust", cert)
	}
	return nil
}

// errClosed is what net/http calls EOF.
var errClosed = errors.New("the connection was closed without an answer")

// plain takes the URL off an error and puts why ctx ended in place of that it did.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var http *PlainHTTPError
	if errors.As(err, &http) {
		return http
	}
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err
	}
	if err == io.EOF {
		return errClosed
	}
	return err
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, 10.2.3),
// or, as Docker Hub sends it, seconds since 1970.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
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

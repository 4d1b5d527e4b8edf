package fetch

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
)

// mirror is one URL for one download.
type mirror struct {
	url  *url.URL
	show string         // without credentials
	slot *transfer.Slot // held while it is asked
	err  error          // why it is not asked at all

	client   *transfer.Client
	download *transfer.Download // nil before it is asked
}

func newMirror(raw string) *mirror {
	m := &mirror{show: redact(raw)}
	m.url, m.err = url.Parse(raw)
	switch {
	case m.err != nil && strings.Contains(raw, "@"):
		m.err = transfer.Answerf("not a URL") // the reason could quote a password
	case m.err != nil:
		m.err = transfer.Answerf("%v", transfer.Plain(context.Background(), m.err))
	default:
		m.err = transfer.CheckURL(m.url)
	}
	return m
}

// request returns a request for the file from offset on. With the validator of began the
// server sends a part only if the file has not changed since.
func (m *mirror) request(ctx context.Context, offset int64, began meta) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity") // also keeps net/http from unpacking
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		if v := began.matches(m.url.String()); v != "" {
			req.Header.Set("If-Range", v)
		}
	}
	return req, nil
}

var userinfo = regexp.MustCompile(`^([^/]*//)[^/]*@`)

func redact(raw string) string {
	shown := userinfo.ReplaceAllString(raw, "${1}xxxxx@")
	if _, err := url.Parse(raw); err != nil {
		shown = shown[strings.LastIndex(shown, "@")+1:]
	}
	return printable(shown)
}

// First is a place that has sources by their hash, such as a registry. It is asked
// before a source's own mirrors. Only Options can name one: no URL of a definition is
// sent to Client.
type First struct {
	// Prefix is the start of a source's URL, "oci://registry/repository@sha256:". The
	// source's sha256, 64 hexadecimal digits, follows.
	Prefix string
	// Client carries the requests for the scheme of Prefix and follows redirects
	// itself. transfer.OutcomeOf classes its errors.
	Client http.RoundTripper
}

// mirror returns the mirror for a source.
func (f *First) mirror(hash graph.Hash) *mirror {
	raw := f.Prefix + hash.String()
	m := &mirror{show: redact(raw)}
	m.url, m.err = url.Parse(raw)
	return m
}

// scheme returns the URL scheme of Prefix.
func (f *First) scheme() string {
	if u, err := url.Parse(f.Prefix); err == nil {
		return u.Scheme
	}
	return ""
}

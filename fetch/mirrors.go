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

// request asks for the file from offset on, if it still is the one that began is of.
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

// First is a place that has sources by their hash, such as a registry. It is
// asked before a source's own mirrors. Options alone can name one: no definition
// reaches Client.
type First struct {
	// Prefix, with a source's sha256 in 64 hexadecimal digits behind it, is the
	// URL that it has there: "oci://registry/repository@sha256:".
	Prefix string
	// Client carries the requests for Prefix's scheme, and follows redirects by
	// itself. Its errors are classed by transfer.OutcomeOf.
	Client http.RoundTripper
}

// mirror is a source's place there.
func (f *First) mirror(hash graph.Hash) *mirror {
	raw := f.Prefix + hash.String()
	m := &mirror{show: redact(raw)}
	m.url, m.err = url.Parse(raw)
	return m
}

// scheme is what Client is for.
func (f *First) scheme() string {
	if u, err := url.Parse(f.Prefix); err == nil {
		return u.Scheme
	}
	return ""
}

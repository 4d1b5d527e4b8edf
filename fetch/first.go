package fetch

import (
	"net/http"
	"net/url"

	"codeberg.org/stagex/sx/graph"
)

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

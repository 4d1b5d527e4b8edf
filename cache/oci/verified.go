package oci

import (
	"io"

	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/umoci/pkg/hardening"
)

// Verified reads r as the bytes that d names: the Read that reaches the end fails
// where they are others. Closing it closes r and nothing else.
func Verified(r io.ReadCloser, d Descriptor) io.ReadCloser {
	return &verified{&hardening.VerifiedReadCloser{
		Reader:         r,
		ExpectedDigest: godigest.Digest(d.Digest.String()),
		ExpectedSize:   d.Size,
	}, r}
}

// verified passes by the library's Close, which would read the rest, and log.
type verified struct {
	io.Reader
	io.Closer
}

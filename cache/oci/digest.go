package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

const digestPrefix = "sha256:"

// Digest is the sha256 of an OCI blob: a layer, a config, a manifest or an image
// index. It is comparable; the zero value stands for "none" and has empty text.
type Digest struct{ sum [sha256.Size]byte }

// ParseDigest parses "sha256:" and 64 lower-case hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if !ok {
		return Digest{}, fmt.Errorf("parsing digest %.100q: want %q and 64 hexadecimal digits", s, digestPrefix)
	}
	d, err := ParseHexDigest(digits)
	if err != nil {
		return Digest{}, fmt.Errorf("parsing digest %.100q: %w", s, err)
	}
	return d, nil
}

// DigestOf returns the digest of data.
func DigestOf(data []byte) Digest { return Digest{sha256.Sum256(data)} }

// DigestFromSum returns the digest with the given sha256.
func DigestFromSum(sum [sha256.Size]byte) Digest { return Digest{sum} }

// String returns "sha256:<64 hex>", or "" for the zero digest.
func (d Digest) String() string {
	var room [len(digestPrefix) + 2*sha256.Size]byte
	return string(d.append(room[:0]))
}

func (d Digest) append(b []byte) []byte {
	if d.IsZero() {
		return b
	}
	return hex.AppendEncode(append(b, digestPrefix...), d.sum[:])
}

// Hex returns the 64 hexadecimal digits alone, as digests/ lists them.
func (d Digest) Hex() string {
	if d.IsZero() {
		return ""
	}
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], d.sum[:])
	return string(text[:])
}

// Sum returns the 32 bytes.
func (d Digest) Sum() [sha256.Size]byte { return d.sum }

// IsZero reports whether d is the zero digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText is String.
func (d Digest) MarshalText() ([]byte, error) {
	return d.append(make([]byte, 0, len(digestPrefix)+2*sha256.Size)), nil
}

// AppendText appends String.
func (d Digest) AppendText(b []byte) ([]byte, error) { return d.append(b), nil }

// UnmarshalText is ParseDigest, with empty text for the zero digest.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	parsed, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// ParseHexDigest parses the 64 lower-case hexadecimal digits alone.
func ParseHexDigest(s string) (Digest, error) {
	sum, err := ParseSum(s)
	return Digest{sum}, err
}

// ParseSum parses a sha256 in lower-case hexadecimal. It refuses all zeros, which
// mean "none".
func ParseSum(s string) (sum [sha256.Size]byte, err error) {
	if len(s) != hex.EncodedLen(len(sum)) {
		return sum, fmt.Errorf("want 64 hexadecimal digits, got %d characters", len(s))
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return sum, fmt.Errorf("want lower-case hexadecimal digits, got %q", c)
		}
	}
	if _, err := hex.Decode(sum[:], []byte(s)); err != nil {
		return sum, err
	}
	if sum == [sha256.Size]byte{} {
		return sum, fmt.Errorf("all zeros are not a hash")
	}
	return sum, nil
}

// DigestMismatchError reports that bytes are not those that a digest names.
type DigestMismatchError struct {
	Ref       string // where the bytes were: an output and a part of it, or a path
	Got, Want Digest // Got is zero if reading stopped early
}

func (e *DigestMismatchError) Error() string {
	if e.Got.IsZero() {
		return fmt.Sprintf("checking %s: not the bytes of %s", e.Ref, e.Want)
	}
	return fmt.Sprintf("checking %s: digest is %s, want %s", e.Ref, e.Got, e.Want)
}

package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"codeberg.org/stagex/sx/cache/oci"
)

// Key is the sha256 of the inputs that decide an output's bytes. It is comparable;
// the zero value means "unknown" and has empty text.
type Key struct{ sum [sha256.Size]byte }

// NewKey returns the sha256 of v's canonical JSON: encoding/json's compact form
// without HTML escapes and without a newline at the end, the members of each object
// sorted by name as bytes. A nil slice or map is null and differs from an empty one:
// callers must choose one.
//
// NewKey refuses numbers that are not 64-bit integers, strings that are not UTF-8 and
// objects that name a member twice, because two different values could share a key.
func NewKey(v any) (Key, error) {
	data, err := canonical(v)
	if err != nil {
		return Key{}, fmt.Errorf("hashing a key: %w", err)
	}
	return Key{sha256.Sum256(data)}, nil
}

// ParseKey parses 64 lower-case hexadecimal digits.
func ParseKey(s string) (Key, error) {
	sum, err := oci.ParseSum(s)
	if err != nil {
		return Key{}, fmt.Errorf("parsing key %q: %w", s, err)
	}
	return Key{sum}, nil
}

// String returns 64 hexadecimal digits, or "" for the zero key.
func (k Key) String() string {
	if k.IsZero() {
		return ""
	}
	return hex.EncodeToString(k.sum[:])
}

// IsZero reports whether k is the zero key.
func (k Key) IsZero() bool { return k == Key{} }

// Sum returns the 32 bytes.
func (k Key) Sum() [sha256.Size]byte { return k.sum }

// MarshalText is String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is ParseKey, with empty text for the zero key.
func (k *Key) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = Key{}
		return nil
	}
	parsed, err := ParseKey(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}

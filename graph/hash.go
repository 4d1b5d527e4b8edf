package graph

import (
	"encoding/hex"
	"fmt"
)

// Hash is the sha256 of a source: of an input. Digests of what is built are
// another type, in package cache, so that one is never taken for the other.
type Hash [32]byte

// ParseHash reads 64 lower-case hexadecimal digits. Upper case is refused,
// because upstream compares the text.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != hex.EncodedLen(len(h)) {
		return Hash{}, fmt.Errorf("parsing sha256 %q: want 64 hexadecimal digits, got %d characters", s, len(s))
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Hash{}, fmt.Errorf("parsing sha256 %q: %q is no lower-case hexadecimal digit", s, c)
		}
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		panic("graph: internal error: " + err.Error())
	}
	return h, nil
}

// String is 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is ParseHash.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}

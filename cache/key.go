package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"codeberg.org/stagex/sx/cache/oci"
)

// Key is a hash of all that decides an output's bytes. It is comparable; the
// zero value stands for "unknown" and has empty text.
type Key struct{ sum [sha256.Size]byte }

// NewKey returns the sha256 of v's canonical JSON: what encoding/json makes of v,
// compact, members of every object sorted by name as bytes, no HTML escapes,
// numbers as integers, no newline at the end. A nil slice or map is null, which
// is not what an empty one is: callers must choose one.
//
// Refused, because two different values could share a key: numbers that are no
// integers, strings that are not UTF-8, an object that names a member twice.
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

// IsZero reports whether k is no key.
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

func canonical(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if err := refuseReplaced(buf.Bytes()); err != nil {
		return nil, err
	}
	c := canonicalizer{in: buf.Bytes(), out: make([]byte, 0, buf.Len())}
	if err := c.value(); err != nil {
		return nil, err
	}
	return c.out, nil
}

// refuseReplaced finds the escape that encoding/json puts, and puts only, where a
// string was not UTF-8 (a genuine U+FFFD is written unescaped), and escaped
// surrogates, half of which would be replaced alike.
func refuseReplaced(data []byte) error {
	for i := 0; i < len(data)-1; i++ {
		if data[i] != '\\' {
			continue
		}
		escape := data[i:min(i+6, len(data))]
		if bytes.Equal(escape, []byte(`\ufffd`)) || isSurrogate(escape) {
			return fmt.Errorf("a string is not UTF-8")
		}
		i++ // the escaped character
	}
	return nil
}

// isSurrogate recognises \ud800 to \udfff.
func isSurrogate(escape []byte) bool {
	return len(escape) == 6 && escape[1] == 'u' && escape[2]|0x20 == 'd' &&
		(escape[3] == '8' || escape[3] == '9' || escape[3]|0x20 >= 'a')
}

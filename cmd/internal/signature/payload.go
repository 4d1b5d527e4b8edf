package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
)

// A Payload is what a signature says: that the image of a repository has a digest.
type Payload struct {
	Reference  string // as it stands there
	Repository string // its path below the host: "stagex/core-musl"
	Tag        string // "" if the payload names none
	Digest     string // of the image manifest, 64 hexadecimal digits
	Old        bool   // the form published up to 2025.06.0: an array, no tag
}

// The two types of payload: containers-signature(5), and what StageX published up to 2025.06.0.
const (
	typeAtomic = "atomic container signature"
	typeOld    = "pgp container image signature"
)

// NewPayload returns what upstream's sign.sh signs, byte for byte: output is "core-musl", digest 64 hexadecimal digits.
func NewPayload(output, tag, digest string) []byte {
	return fmt.Appendf(nil,
		`{"critical":{"identity":{"docker-reference":"stagex/%s:%s"},"image":{"docker-manifest-digest":"sha256:%s"},"type":"%s"},"optional":{}}`,
		output, tag, digest, typeAtomic)
}

// ParsePayload reads either form. A key that it does not know, or one that stands twice, is an error: whoever signed it
// meant something that is not understood here.
func ParsePayload(data []byte) (Payload, error) {
	value, err := decodeJSON(data)
	if err != nil {
		return Payload{}, fmt.Errorf("the payload is not understood: %w", err)
	}
	var p Payload
	if list, ok := value.([]any); ok {
		if len(list) != 1 {
			return Payload{}, fmt.Errorf("the payload's array holds %d elements, not exactly one", len(list))
		}
		value, p.Old = list[0], true
	}
	if err := p.fill(value); err != nil {
		return Payload{}, fmt.Errorf("the payload is not understood: %w", err)
	}
	return p, nil
}

func (p *Payload) fill(value any) error {
	top, err := object(value, "the payload", "critical", "optional")
	if err != nil {
		return err
	}
	critical, err := object(top["critical"], "critical", "identity", "image", "type")
	if err != nil {
		return err
	}
	want, prefix := typeAtomic, "sha256:"
	if p.Old {
		want, prefix = typeOld, ""
	}
	if kind := critical["type"]; kind != want {
		return fmt.Errorf("its type is %.100q, not %q", fmt.Sprint(kind), want)
	}
	image, err := object(critical["image"], "image", "docker-manifest-digest")
	if err != nil {
		return err
	}
	digest, _ := image["docker-manifest-digest"].(string)
	hex, ok := strings.CutPrefix(digest, prefix)
	if !ok || !isDigest(hex) {
		return fmt.Errorf("docker-manifest-digest is %.100q", digest)
	}
	p.Digest = hex
	identity, err := object(critical["identity"], "identity", "docker-reference")
	if err != nil {
		return err
	}
	p.Reference, _ = identity["docker-reference"].(string)
	return p.parseReference()
}

func (p *Payload) parseReference() error {
	named, err := reference.ParseNormalizedNamed(p.Reference)
	if err != nil {
		return fmt.Errorf("docker-reference is %.100q", p.Reference)
	}
	if digested, ok := named.(reference.Digested); ok && digested.Digest().String() != "sha256:"+p.Digest {
		return errors.New("docker-reference and docker-manifest-digest name two digests")
	}
	if tagged, ok := named.(reference.Tagged); ok {
		p.Tag = tagged.Tag()
	}
	p.Repository = reference.Path(named)
	return nil
}

// isDigest reports that text is a sha256 as it stands in digests/.
func isDigest(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// object returns value if it is an object with exactly these keys. What optional holds is the signer's own business.
func object(value any, name string, keys ...string) (map[string]any, error) {
	m, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not an object", name)
	}
	for _, key := range keys {
		if _, ok := m[key]; !ok {
			return nil, fmt.Errorf("%s has no %q", name, key)
		}
	}
	if len(m) != len(keys) {
		return nil, fmt.Errorf("%s has a key beside %q", name, keys)
	}
	return m, nil
}

// decodeJSON is json.Unmarshal, but a key that stands twice in one object is an error: readers differ in which they take.
func decodeJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	value, err := decodeValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return value, nil
}

// maxDepth bounds the recursion: both forms need five.
const maxDepth = 20

func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	switch {
	case err != nil:
		return nil, errors.New("not JSON")
	case depth > maxDepth:
		return nil, errors.New("nested too deeply")
	case t == json.Delim('{'):
		return decodeObject(d, depth)
	case t == json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := decodeValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, closing(d)
	}
	return t, nil
}

func decodeObject(d *json.Decoder, depth int) (any, error) {
	m := map[string]any{}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("not JSON")
		}
		if _, twice := m[key]; twice {
			return nil, fmt.Errorf("the key %.100q stands twice", key)
		}
		if m[key], err = decodeValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	return m, closing(d)
}

// closing reads the bracket that ends an array or object.
func closing(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return errors.New("not JSON")
	}
	return nil
}

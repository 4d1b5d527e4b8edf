package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// encoding/json takes a member for a field whatever its case, and of two the
// last. Other readers of a layout do neither, so a document could name one image
// to sx and another to docker. Such a document is refused.

// fieldNames are the members that somebody may act on, here or in another reader.
var fieldNames = []string{
	"schemaVersion", "mediaType", "artifactType", "manifests", "config", "layers", "fsLayers", "subject",
	"digest", "size", "urls", "data", "annotations", "platform",
	"architecture", "os", "os.version", "os.features", "variant", "features", "imageLayoutVersion",
}

// DecodeDocument decodes an index, a manifest or an oci-layout file.
func DecodeDocument(data []byte, into any) error {
	return decodeStrict(data, into, func(member string) bool { return member == "annotations" })
}

// decodeConfig decodes an image config: what lies below its members is the
// image's own affair (two volumes may differ in case only).
func decodeConfig(data []byte, into any) error {
	return decodeStrict(data, into, func(string) bool { return true })
}

// decodeStrict decodes exactly one JSON value. It refuses an object that names a
// member twice and a field in another case, the latter not below members that
// free accepts.
func decodeStrict(data []byte, into any, free func(member string) bool) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	if err := CheckBounds(data); err != nil {
		return err
	}
	// First, because it refuses what follows the value.
	if err := json.Unmarshal(data, into); err != nil {
		return err
	}
	return checkValue(json.NewDecoder(bytes.NewReader(data)), false, free)
}

func checkValue(dec *json.Decoder, inFree bool, free func(string) bool) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	delim, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		below := inFree
		if delim == '{' {
			name, err := checkMember(dec, seen, inFree)
			if err != nil {
				return err
			}
			below = inFree || free(name)
		}
		if err := checkValue(dec, below, free); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

func checkMember(dec *json.Decoder, seen map[string]bool, inFree bool) (string, error) {
	token, err := dec.Token()
	if err != nil {
		return "", err
	}
	name := token.(string)
	if seen[name] {
		return "", fmt.Errorf("it names %.100q twice", name)
	}
	seen[name] = true
	field := slices.IndexFunc(fieldNames, func(field string) bool { return strings.EqualFold(field, name) })
	if field >= 0 && fieldNames[field] != name && !inFree {
		return "", fmt.Errorf("it names %.100q, which some read as %q", name, fieldNames[field])
	}
	return name, nil
}

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

// encoding/json matches members with fields regardless of case, and takes the last
// of two equal members. Other readers of a layout do neither, so a document could
// name one image to sx and another to docker. sx refuses such a document.

// fieldNames are the members that sx or another reader uses.
var fieldNames = []string{
	"schemaVersion", "mediaType", "artifactType", "manifests", "config", "layers", "fsLayers", "subject",
	"digest", "size", "urls", "data", "annotations", "platform",
	"architecture", "os", "os.version", "os.features", "variant", "features", "imageLayoutVersion",
}

// DecodeDocument decodes an index, a manifest or an oci-layout file into the value
// that into points to.
func DecodeDocument(data []byte, into any) error {
	return decodeStrict(data, into, func(member string) bool { return member == "annotations" })
}

// decodeConfig decodes an image config. The names below its members are free: two
// volumes may differ in case only.
func decodeConfig(data []byte, into any) error {
	return decodeStrict(data, into, func(string) bool { return true })
}

// decodeStrict decodes exactly one JSON value. It refuses an object with two equal
// members, and a field name in another case, except below members for which free
// reports true.
func decodeStrict(data []byte, into any, free func(member string) bool) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	if err := CheckBounds(data); err != nil {
		return err
	}
	// Unmarshal first: it refuses bytes after the value.
	if err := json.Unmarshal(data, into); err != nil {
		return err
	}
	return checkValue(json.NewDecoder(bytes.NewReader(data)), false, free)
}

// checkValue checks the members in the next value of dec.
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

// checkMember reads and checks the next member's name.
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

package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	return decodeStrict(data, into, func(member []byte) bool { return string(member) == "annotations" })
}

// decodeConfig decodes an image config. The names below its members are free: two
// volumes may differ in case only.
func decodeConfig(data []byte, into any) error {
	return decodeStrict(data, into, func([]byte) bool { return true })
}

// decodeStrict decodes exactly one JSON value. It refuses an object with two equal
// members, and a field name in another case, except below members for which free
// reports true.
func decodeStrict(data []byte, into any, free func(member []byte) bool) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	if err := CheckBounds(data); err != nil {
		return err
	}
	// Unmarshal first: it refuses bytes after the value, and what is not JSON.
	if err := json.Unmarshal(data, into); err != nil {
		return err
	}
	c := nameCheck{text: data, free: free}
	return c.value(false)
}

// nameCheck checks the names of members in a valid JSON text, which it reads once.
type nameCheck struct {
	text []byte
	at   int // in text, what comes next
	free func(member []byte) bool
}

// next skips white space, and returns the byte that follows without skipping it.
func (c *nameCheck) next() byte {
	for {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\r', '\n':
			c.at++
		default:
			return b
		}
	}
}

// skip skips white space and then b, and reports whether b was there.
func (c *nameCheck) skip(b byte) bool {
	found := c.next() == b
	if found {
		c.at++
	}
	return found
}

func (c *nameCheck) value(inFree bool) error {
	switch c.next() {
	case '{':
		return c.object(inFree)
	case '[':
		return c.array(inFree)
	case '"':
		c.str()
		return nil
	}
	start := c.at
	for c.at < len(c.text) && bytes.IndexByte([]byte(",]} \t\r\n"), c.text[c.at]) < 0 {
		c.at++
	}
	return checkNumber(c.text[start:c.at])
}

// checkNumber refuses a number that no float64 can hold, which readers treat in
// different ways. Only an exponent makes one: see [CheckBounds]. A word with an e, such
// as true, is none.
func checkNumber(word []byte) error {
	if c := word[0]; c != '-' && (c < '0' || c > '9') || !bytes.ContainsAny(word, "eE") {
		return nil
	}
	_, err := strconv.ParseFloat(string(word), 64)
	return err
}

func (c *nameCheck) array(inFree bool) error {
	for c.at++; c.next() != ']'; c.skip(',') {
		if err := c.value(inFree); err != nil {
			return err
		}
	}
	c.at++
	return nil
}

func (c *nameCheck) object(inFree bool) error {
	var room [16][]byte
	names := room[:0]
	for c.at++; c.next() != '}'; c.skip(',') {
		name, err := c.name(inFree)
		if err != nil {
			return err
		}
		names = append(names, name)
		if err := c.value(inFree || c.free(name)); err != nil {
			return err
		}
	}
	c.at++
	slices.SortFunc(names, bytes.Compare)
	for i := 1; i < len(names); i++ {
		if bytes.Equal(names[i-1], names[i]) {
			return fmt.Errorf("it names %.100q twice", names[i])
		}
	}
	return nil
}

// name reads and checks a member's name, and skips the colon.
func (c *nameCheck) name(inFree bool) ([]byte, error) {
	name, err := unquote(c.str())
	if err != nil {
		return nil, err
	}
	c.skip(':')
	if inFree || slices.Contains(fieldNames, string(name)) {
		return name, nil
	}
	for _, field := range fieldNames {
		if strings.EqualFold(field, string(name)) {
			return nil, fmt.Errorf("it names %.100q, which some read as %q", name, field)
		}
	}
	return name, nil
}

// str skips a string and returns it, with its quotes.
func (c *nameCheck) str() []byte {
	start := c.at
	for c.at++; c.text[c.at] != '"'; c.at++ {
		if c.text[c.at] == '\\' {
			c.at++
		}
	}
	c.at++
	return c.text[start:c.at]
}

// unquote decodes a string of a text that is UTF-8.
func unquote(quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var s string
	err := json.Unmarshal(quoted, &s)
	return []byte(s), err
}

package cache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// canonicalizer copies compact JSON, as encoding/json makes it, in the form that
// NewKey documents. It looks at each byte once and decodes next to nothing: keys
// are made of thousands of outputs.
type canonicalizer struct {
	in  []byte // what is left
	out []byte
}

func (c *canonicalizer) value() error {
	switch c.in[0] {
	case '{':
		return c.object()
	case '[':
		return c.array()
	case '"':
		_, err := c.text()
		return err
	}
	n := bytes.IndexAny(c.in, ",]}\n")
	word := string(c.in[:n])
	c.in = c.in[n:]
	switch word {
	case "true", "false", "null":
	case "-0":
		word = "0"
	default:
		if _, err := strconv.ParseInt(word, 10, 64); err != nil {
			return fmt.Errorf("number %s is not a 64-bit integer", word)
		}
	}
	c.out = append(c.out, word...)
	return nil
}

func (c *canonicalizer) array() error {
	for c.put(); c.in[0] != ']'; {
		if c.in[0] == ',' {
			c.put()
		}
		if err := c.value(); err != nil {
			return err
		}
	}
	c.put()
	return nil
}

// put copies one byte of punctuation.
func (c *canonicalizer) put() {
	c.out = append(c.out, c.in[0])
	c.in = c.in[1:]
}

// member is one of an object: where it is in out.
type member struct {
	name     string
	from, to int
}

func (c *canonicalizer) object() error {
	start := len(c.out)
	var members []member
	for c.put(); c.in[0] != '}'; {
		if c.in[0] == ',' {
			c.put()
		}
		from := len(c.out)
		name, err := c.text()
		if err != nil {
			return err
		}
		c.put() // the colon
		if err := c.value(); err != nil {
			return err
		}
		members = append(members, member{name, from, len(c.out)})
	}
	c.put()
	return c.sort(start, members)
}

// sort puts the members of the object that begins at start in order.
func (c *canonicalizer) sort(start int, members []member) error {
	byName := func(a, b member) int { return strings.Compare(a.name, b.name) }
	if !slices.IsSortedFunc(members, byName) {
		was := slices.Clone(c.out[start:])
		slices.SortFunc(members, byName)
		c.out = append(c.out[:start], '{')
		for i, m := range members {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			c.out = append(c.out, was[m.from-start:m.to-start]...)
		}
		c.out = append(c.out, '}')
	}
	for i := range members {
		if i > 0 && members[i].name == members[i-1].name {
			return fmt.Errorf("object names %q twice", members[i].name)
		}
	}
	return nil
}

// text copies a string and returns what it says. One that is plain ASCII is written
// in one way only; others are decoded and encoded again.
func (c *canonicalizer) text() (string, error) {
	plain, n := true, 1
	for ; c.in[n] != '"'; n++ {
		if c.in[n] == '\\' {
			plain = false
			n++
		}
		plain = plain && c.in[n] < 0x80
	}
	raw := c.in[:n+1]
	c.in = c.in[n+1:]
	if plain {
		c.out = append(c.out, raw...)
		return string(raw[1:n]), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	var again bytes.Buffer
	enc := json.NewEncoder(&again)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return "", err
	}
	c.out = append(c.out, bytes.TrimSuffix(again.Bytes(), []byte("\n"))...)
	return s, nil
}

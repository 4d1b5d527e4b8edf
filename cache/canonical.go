package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
)

// canonical encodes v in the form that [NewKey] documents.
func canonical(v any) ([]byte, error) {
	s := sorters.Get().(*sorter)
	defer sorters.Put(s)
	once, err := compactJSON(&s.buf, v)
	if err != nil {
		return nil, err
	}
	s.text, s.at, s.out = once, 0, make([]byte, 0, len(once))
	if s.value() && s.at == len(once) {
		return s.out, nil
	}
	return canonicalTwice(once)
}

// canonicalTwice encodes compact JSON again, from maps, whose members encoding/json
// sorts. A member that is named twice, or an escape that is not needed, makes the
// second text shorter: both can only come from a MarshalJSON method or a string that
// is not UTF-8.
func canonicalTwice(once []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(once))
	dec.UseNumber()
	var plain any
	if err := dec.Decode(&plain); err != nil {
		return nil, err
	}
	if err := checkIntegers(plain); err != nil {
		return nil, err
	}
	sorted, err := compactJSON(new(bytes.Buffer), plain)
	if err == nil && len(sorted) != len(once) {
		err = errors.New("a string is not UTF-8 or is escaped without need, or an object names a member twice")
	}
	return sorted, err
}

// compactJSON encodes v into buf, which is emptied first.
func compactJSON(buf *bytes.Buffer, v any) ([]byte, error) {
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// checkIntegers refuses numbers that could be written in several ways.
func checkIntegers(v any) error {
	switch v := v.(type) {
	case json.Number:
		if !isInteger(v.String()) {
			return fmt.Errorf("number %s is not a 64-bit integer", v)
		}
	case []any:
		for _, element := range v {
			if err := checkIntegers(element); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, member := range v {
			if err := checkIntegers(member); err != nil {
				return err
			}
		}
	}
	return nil
}

// isInteger reports whether text is how Go writes a 64-bit integer.
func isInteger(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == text
}

// sorter sorts the members of compact JSON without decoding it. Its methods report false
// for all that is not plain: a string with an escape or a character that is not printable
// ASCII, a number that is not a 64-bit integer, a member that is named twice. Then
// [canonicalTwice] decides. A plain string has one form only.
type sorter struct {
	text []byte // compact and valid
	at   int    // in text, what comes next
	out  []byte

	buf bytes.Buffer // has text
	was []byte       // the members that sort puts in order
}

// sorters spare each key the buffers of the one before.
var sorters = sync.Pool{New: func() any { return new(sorter) }}

// member is a member of an object in out: name, colon and value.
type member struct {
	name       []byte // with the quotes
	start, end int
}

// value copies the next value to out, its members sorted.
func (s *sorter) value() bool {
	switch s.text[s.at] {
	case '{':
		return s.object()
	case '[':
		return s.array()
	case '"':
		return s.str()
	}
	start := s.at
	for s.at < len(s.text) && bytes.IndexByte([]byte(",]}"), s.text[s.at]) < 0 {
		s.at++
	}
	word := s.text[start:s.at]
	s.out = append(s.out, word...)
	switch string(word) {
	case "true", "false", "null":
		return true
	}
	return isInteger(string(word))
}

// str copies a string.
func (s *sorter) str() bool {
	for i, c := range s.text[s.at+1:] {
		switch {
		case c == '"':
			end := s.at + 1 + i + 1
			s.out = append(s.out, s.text[s.at:end]...)
			s.at = end
			return true
		case c < ' ' || c > '~' || c == '\\':
			return false
		}
	}
	return false
}

func (s *sorter) array() bool {
	for s.copyByte(); s.text[s.at] != ']'; {
		if s.text[s.at] == ',' {
			s.copyByte()
		}
		if !s.value() {
			return false
		}
	}
	s.copyByte()
	return true
}

func (s *sorter) object() bool {
	var room [12]member
	members := room[:0]
	s.copyByte()
	first := len(s.out)
	for s.text[s.at] != '}' {
		if s.text[s.at] == ',' {
			s.copyByte()
		}
		m, named := member{start: len(s.out)}, s.at
		if !s.str() {
			return false
		}
		m.name = s.text[named:s.at]
		s.copyByte() // the colon
		if !s.value() {
			return false
		}
		m.end = len(s.out)
		members = append(members, m)
	}
	if !s.sort(first, members) {
		return false
	}
	s.copyByte()
	return true
}

// sort puts the members of an object, whose first is at first in out, in order.
func (s *sorter) sort(first int, members []member) bool {
	byName := func(a, b member) int { return bytes.Compare(a.name[1:len(a.name)-1], b.name[1:len(b.name)-1]) }
	if !slices.IsSortedFunc(members, byName) {
		s.was = append(s.was[:0], s.out[first:]...)
		slices.SortFunc(members, byName)
		s.out = s.out[:first]
		for i, m := range members {
			if i > 0 {
				s.out = append(s.out, ',')
			}
			s.out = append(s.out, s.was[m.start-first:m.end-first]...)
		}
	}
	for i := 1; i < len(members); i++ {
		if bytes.Equal(members[i-1].name, members[i].name) {
			return false
		}
	}
	return true
}

func (s *sorter) copyByte() {
	s.out = append(s.out, s.text[s.at])
	s.at++
}

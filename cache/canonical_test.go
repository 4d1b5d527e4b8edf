package cache

// plainCanonical writes canonical JSON token by token. It gives the keys of every
// earlier version of sx: canonical must give the same, or each output is stale once.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// canonicalValue copies one JSON value from dec to out in the form that NewKey
// documents.
func canonicalValue(dec *json.Decoder, out *bytes.Buffer) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '[' {
			return canonicalArray(dec, out)
		}
		return canonicalObject(dec, out)
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err != nil {
			return fmt.Errorf("number %s is not a 64-bit integer", v)
		}
		if v == "-0" {
			v = "0"
		}
		out.WriteString(v.String())
	case string:
		return canonicalString(v, out)
	case bool:
		out.WriteString(strconv.FormatBool(v))
	case nil:
		out.WriteString("null")
	}
	return nil
}

func canonicalArray(dec *json.Decoder, out *bytes.Buffer) error {
	out.WriteByte('[')
	for first := true; dec.More(); first = false {
		if !first {
			out.WriteByte(',')
		}
		if err := canonicalValue(dec, out); err != nil {
			return err
		}
	}
	out.WriteByte(']')
	_, err := dec.Token()
	return err
}

func canonicalObject(dec *json.Decoder, out *bytes.Buffer) error {
	members := map[string][]byte{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name := token.(string)
		if _, twice := members[name]; twice {
			return fmt.Errorf("object names %q twice", name)
		}
		var value bytes.Buffer
		if err := canonicalValue(dec, &value); err != nil {
			return err
		}
		members[name] = value.Bytes()
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	return writeMembers(members, out)
}

func writeMembers(members map[string][]byte, out *bytes.Buffer) error {
	out.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := canonicalString(name, out); err != nil {
			return err
		}
		out.WriteByte(':')
		out.Write(members[name])
	}
	out.WriteByte('}')
	return nil
}

func canonicalString(s string, out *bytes.Buffer) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // Encode's newline
	return nil
}

func plainCanonical(data []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var out bytes.Buffer
	err := canonicalValue(dec, &out)
	return out.Bytes(), err
}

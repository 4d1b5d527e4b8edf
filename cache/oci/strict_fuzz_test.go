package oci

// checkTokens is what nameCheck was before it read a text itself: slower, and without a
// byte of a text in its hands. Both must refuse the same.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func checkTokens(dec *json.Decoder, inFree bool, free func([]byte) bool) error {
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
			below = inFree || free([]byte(name))
		}
		if err := checkTokens(dec, below, free); err != nil {
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

func FuzzNames(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,{"b":"\"","b\\":true,"\u0062x":null,"é":-1e5}],"":{"":""}, "size" : 1e999 }`,
		`{"annotations":{"Size":1,"size":2,"sub":[{"OS":1}]},"manifeſts":0}`,
		`{"annotations":{"a":1,"a":2}}`, `{"m\u0061nifests":1,"manifests":2}`, `{"\ud800":1,"\udc00":2}`,
		`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":0,"k":1,"l":2,"m":3,"n":4,"o":5,"p":6,"q":7,"a":8}`,
		` [ ] `, `{ }`, "\n{ \"x\" :\t[ { } ,\r[ ] ] }\n", `1E-999`, `-0`, `true`, `"x"`, `[1e400]`, `[{"Digest":1}]`, `{"Kind":1,"K":2,"oſ":3}`,
	} {
		f.Add([]byte(text))
	}
	freedom := map[string]func([]byte) bool{
		"none":        func([]byte) bool { return false },
		"all":         func([]byte) bool { return true },
		"annotations": func(member []byte) bool { return string(member) == "annotations" },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) || !json.Valid(data) || CheckBounds(data) != nil {
			return
		}
		for name, free := range freedom {
			c := nameCheck{text: data, free: free}
			got, want := c.value(false), checkTokens(json.NewDecoder(bytes.NewReader(data)), false, free)
			if (got == nil) != (want == nil) {
				t.Errorf("with free %s: got %v, want %v", name, got, want)
			}
			if got == nil && len(bytes.TrimSpace(data[c.at:])) > 0 {
				t.Errorf("with free %s it read only %d bytes", name, c.at)
			}
		}
	})
}

func BenchmarkReadIndex(b *testing.B) {
	index, _, err := ImageIndex(Manifest{Digest: DigestOf(nil), Size: 5, Platform: "linux/amd64"})
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string][]byte{"plain": index, "other": bytes.Replace(index, []byte("linux"), []byte(`\u006cinux`), 1)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ReadIndex(text, MediaTypeIndex); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

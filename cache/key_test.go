package cache

import (
	"crypto/sha256"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

func TestCanonical(t *testing.T) {
	type inner struct {
		Z int    `json:"z"`
		A string `json:"a"`
	}
	for _, c := range []struct {
		in   any
		want string
	}{
		{inner{1, "<&>"}, `{"a":"<&>","z":1}`},
		{map[string]any{"b": nil, "a": []string{}, "": true}, `{"":true,"a":[],"b":null}`},
		{[]any{"é", "\u2028", "\x01", `\ufffd`, "\ufffd"}, `["é","\u2028","\u0001","\\ufffd","` + "\ufffd" + `"]`},
		{json.RawMessage(" { \"b\" : 0, \"a\":[ 1 ,2 ] } "), `{"a":[1,2],"b":0}`},
		{int64(math.MinInt64), "-9223372036854775808"},
		{1.0, "1"},
		{oci.DigestOf(nil), `"` + oci.DigestOf(nil).String() + `"`},
	} {
		got, err := canonical(c.in)
		if err != nil || string(got) != c.want {
			t.Errorf("got %s, %v, want %s", got, err, c.want)
		}
	}
}

// TestCanonicalSorts checks that texts without escapes are sorted as they stand, and others
// are left to [canonicalTwice].
func TestCanonicalSorts(t *testing.T) {
	for text, plain := range map[string]bool{
		`{"b":{"z":1,"a!":[{"y":0,"x":null},[]],"a":{}},"a":-1}`: true,
		`{"a":1,"b":{"a":true,"a":false}}`:                       false,
		`["` + "\u00e9" + `"]`:                                   false,
		`{"é":1}`:                                                false,
		`[1e3]`:                                                  false,
		`[9223372036854775808]`:                                  false,
	} {
		s := sorter{text: []byte(text)}
		if got := s.value(); got != plain {
			t.Errorf("%s: got %v, want %v", text, got, plain)
		}
		if want, err := plainCanonical([]byte(text)); plain && (err != nil || string(s.out) != string(want)) {
			t.Errorf("got %s, want %s, %v", s.out, want, err)
		}
	}
}

func TestKeyRefuses(t *testing.T) {
	for name, v := range map[string]any{
		"not a number":    math.NaN(),
		"infinity":        math.Inf(1),
		"a fraction":      0.5,
		"a large number":  uint64(math.MaxUint64),
		"minus zero":      json.RawMessage(`-0`),
		"an exponent":     json.RawMessage(`1e3`),
		"a function":      func() {},
		"bytes":           "a\xff",
		"bytes in a key":  map[string]int{"\xff": 1},
		"after an escape": []string{`\`, "\"\xff"},
		"half a pair":     json.RawMessage(`"\uD800"`),
		"a member twice":  json.RawMessage(`{"a":1,"a":2}`),
	} {
		if k, err := NewKey(v); err == nil || !k.IsZero() {
			t.Errorf("%s: got %v, %v, want an error", name, k, err)
		}
	}
}

func TestKey(t *testing.T) {
	k, err := NewKey(map[string]int{"b": 1, "a": 2})
	if err != nil {
		t.Fatal(err)
	}
	if k.sum != sha256.Sum256([]byte(`{"a":2,"b":1}`)) {
		t.Error("a key is the sha256 of canonical JSON")
	}
	parsed, err := ParseKey(k.String())
	if err != nil || parsed != k {
		t.Errorf("got %v, %v, want %v", parsed, err, k)
	}
	for _, s := range []string{"", "sha256:" + k.String(), k.String()[1:], strings.ToUpper(k.String()), zeros} {
		if k, err := ParseKey(s); err == nil || !k.IsZero() {
			t.Errorf("parsing %q: got %v, %v, want an error", s, k, err)
		}
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func FuzzKeyText(f *testing.F) {
	f.Add(oci.DigestOf(nil).Hex())
	f.Add(zeros)
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil && !k.IsZero() || err == nil && k.String() != s {
			t.Errorf("got key %q, %v of %q", k, err, s)
		}
	})
}

// Two different documents never have the same canonical form, and the canonical form
// of a canonical form is itself.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"a":[1,null,true,{"b":"\ud800"}],"":"\\ufffd"}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Add([]byte(` { "b" : [ { "z":-0, "\u0061":"<\u003c\u2028" } , 12 ], "\\\"":true, "é" : "\/\t\u0009" , "Z":{} , "e":[] } `))
	f.Add([]byte(`{"zz":1,"z":{"y":[],"x":null},"":false}`))
	f.Add([]byte(`"\ud83d\ude00"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		once, err := canonical(json.RawMessage(data))
		if err != nil {
			return
		}
		if plain, err := plainCanonical(data); err != nil || string(plain) != string(once) {
			t.Errorf("got %s, token by token %s, %v", once, plain, err)
		}
		twice, err := canonical(json.RawMessage(once))
		if err != nil || string(twice) != string(once) {
			t.Errorf("got %s, %v, want %s again", twice, err, once)
		}
	})
}

// goldenInputs has what the inputs of a build have: a struct whose members are not
// in order, maps, empty and nil slices, and strings of all kinds.
func goldenInputs() []any {
	type file struct {
		Path string `json:"path"`
		Mode string `json:"mode"`
		Sum  string `json:"sum"`
	}
	type request struct {
		Target    string            `json:"target"`
		Args      map[string]string `json:"args"`
		Platforms []string          `json:"platforms"`
		Network   bool              `json:"network,omitempty"`
	}
	type parts struct {
		Format  int                        `json:"format"`
		Request request                    `json:"request"`
		Context []file                     `json:"context"`
		Sources map[string]string          `json:"sources"`
		Deps    map[string]map[string]bool `json:"deps"`
		Probe   string                     `json:"probe"`
	}
	return []any{
		parts{},
		parts{
			Format:  3,
			Request: request{"package", map[string]string{"VERSION": "1.2.3", "A<&>": "\u2028é\ufffd\x01\x7f", "": "\\\"\t\n/"}, []string{"linux/amd64"}, true},
			Context: []file{{"Containerfile", "-rw-r--r--", zeros}, {"a b/ü😀", "Lrwxrwxrwx", ""}},
			Sources: map[string]string{"gcc-13.tar.xz": zeros, "B": "", "a": "b"},
			Deps:    map[string]map[string]bool{"core-z": {"linux/amd64 sha256:" + zeros: true}, "core-a": {}, "core-b": nil},
			Probe:   "runc 1.2 <overlayfs> & more",
		},
		parts{Format: -1, Context: []file{}, Sources: map[string]string{}, Deps: map[string]map[string]bool{}},
		map[string]any{"b": nil, "a": []string{}, "": true, "é": 1, "Z": int64(-1 << 63), "\U0001f600": "x", "\uffff": "y"},
	}
}

// TestKeysStay checks that keys do not change with sx: that would make every output
// stale.
func TestKeysStay(t *testing.T) {
	for i, want := range []string{
		"e08c5296038436bed03edc69b8b67ccec7f8654af36b65cacc600466a904dcfe",
		"1d16ba10e2a39e2518b6e61401a65e7890e915413b4f903793f38b666b1123f9",
		"35f8138c4c5f71ac914a9168b5e067fe971551fa685a6a1c0d9f974888042c63",
		"19852a30d0d00de7d789c691c05c4199aec27e9c3158a9ed7f8bc5735e74f1a8",
	} {
		if got, err := NewKey(goldenInputs()[i]); err != nil || got.String() != want {
			t.Errorf("%d: got %s, %v, want %s", i, got, err, want)
		}
	}
}

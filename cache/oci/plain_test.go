package oci

import (
	"reflect"
	"strings"
	"testing"
)

const (
	someDigest   = `"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`
	someIndex    = `{"schemaVersion":2,"mediaType":"` + MediaTypeIndex + `","manifests":[{"mediaType":"x",` + someDigest + `,"size":5,"annotations":{"a":"b","Size":""},"platform":{"architecture":"arm64","os":"linux","variant":"v8"}}]}`
	someManifest = `{"schemaVersion":2,"config":{` + someDigest + `,"size":0},"layers":[{` + someDigest + `,"size":999999999999999999},{}],"annotations":{}}`
)

// TestPlain says what is read without encoding/json.
func TestPlain(t *testing.T) {
	for text, want := range map[string]bool{
		someIndex:    true,
		someManifest: true,
		strings.NewReplacer(":", " :\t", ",", "\n, ", "{", " {\r", "}", " } ", "[", " [ ", "]", " ] ", "sha256:", "sha256:").Replace(`{"layers":[],"manifests":[{}]}`): true,
		`{}`: true,
		strings.Replace(someIndex, `"size":5`, `"size":05`, 1):                    false,
		strings.Replace(someIndex, `"size":5`, `"size":5.0`, 1):                   false,
		strings.Replace(someIndex, `"size":5`, `"size":-5`, 1):                    false,
		strings.Replace(someIndex, `"size":5`, `"size":1234567890123456789`, 1):   false,
		strings.Replace(someIndex, `"size":5`, `"size":5,"size":5`, 1):            false,
		strings.Replace(someIndex, `"size":5`, `"Size":5`, 1):                     false,
		strings.Replace(someIndex, `"size":5`, `"size":5,"urls":[]`, 1):           false,
		strings.Replace(someIndex, `"a":"b"`, `"a":"b","a":"b"`, 1):               false,
		strings.Replace(someIndex, `"a":"b"`, `"a":null`, 1):                      false,
		strings.Replace(someIndex, `"a":"b"`, `"a":"\u0062"`, 1):                  false,
		strings.Replace(someIndex, `"a":"b"`, `"a":"é"`, 1):                       false,
		strings.Replace(someIndex, `"a":"b"`, `"a":"b",`, 1):                      false,
		strings.Replace(someIndex, "e3b0", "E3B0", 1):                             false,
		strings.Replace(someManifest, `"annotations":{}`, `"annotations":[]`, 1):  false,
		strings.Replace(someManifest, `"annotations":{}`, `"annotations":{,}`, 1): false,
		strings.Replace(someManifest, `,{}]`, `,{}}`, 1):                          false,
		someIndex + "\n":             true,
		someIndex + "\x00":           false,
		someIndex + "{}":             false,
		someIndex[:len(someIndex)-1]: false,
		"":                           false,
		"null":                       false,
		`[]`:                         false,
	} {
		if _, ok := readPlain([]byte(text)); ok != want {
			t.Errorf("%s: got %v, want %v", text, ok, want)
		}
		wantPlain(t, []byte(text))
	}
}

// wantPlain fails if readPlain and DecodeDocument read a plain document differently.
func wantPlain(t *testing.T, data []byte) {
	t.Helper()
	if CheckBounds(data) != nil {
		return
	}
	got, ok := readPlain(data)
	if !ok {
		return
	}
	var want document
	if err := DecodeDocument(data, &want); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v, %v", data, got, want, err)
	}
}

func FuzzPlain(f *testing.F) {
	for _, text := range []string{someIndex, someManifest, " { \"layers\" : [ { } , {\t}\r] } \n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(wantPlain)
}

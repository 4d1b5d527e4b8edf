package cache

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
)

// wantMarshalled compares appendRecord with json.Marshal.
func wantMarshalled(t *testing.T, r Record) {
	t.Helper()
	want, werr := json.Marshal(r)
	got, err := appendRecord(nil, r)
	if (err == nil) != (werr == nil) || err == nil && string(got) != string(want) {
		t.Errorf("got %s, %v\nwant %s, %v", got, err, want, werr)
	}
}

func TestRecordWriter(t *testing.T) {
	wantMarshalled(t, Record{})
	wantMarshalled(t, sample("core-x", BuiltHere, "one"))
	wantMarshalled(t, Record{Started: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
	wantMarshalled(t, Record{Manifests: []oci.Manifest{}, Deps: Deps{{"b", nil}, {"a", []oci.Manifest{}}, {"b", []oci.Manifest{{Size: -1}}}}})
	source := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var r Record
		fillAny(source, reflect.ValueOf(&r).Elem())
		slices.SortFunc(r.Deps, func(a, b Dep) int { return strings.Compare(a.Output, b.Output) })
		wantMarshalled(t, r)
	}
}

// fillAny gives v, whatever fields it has, any value; a third of the time none.
func fillAny(source *rand.Rand, v reflect.Value) {
	if source.IntN(3) == 0 {
		return
	}
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = time.Unix(source.Int64N(1<<33), source.Int64N(1e9)).UTC()
		return
	case *oci.Digest:
		*at = oci.DigestOf([]byte{byte(source.Int())})
		return
	case *Key:
		at.sum[source.IntN(32)] = byte(source.Int())
		return
	}
	switch v.Kind() {
	case reflect.String:
		words := []string{"linux/amd64", "<", "é", "\xff", "\"", "\\", "\n", "\u2028", "a", "&", "~", "\x7f", " "}
		for range 1 + source.IntN(3) {
			v.SetString(v.String() + words[source.IntN(len(words))])
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), source.IntN(4), 4))
		for i := range v.Len() {
			fillAny(source, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fillAny(source, v.Field(i))
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(source.Int64() - source.Int64())
	default:
		panic("a field of a record has a kind that fillAny does not know: " + v.Kind().String())
	}
}
